"""The table of commands, and what starting the command line costs."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from costops.flows.command import COMMANDS, Command, main, parser
from costops.flows.commands.run import day_of
from costops.transforms.errors import Usage

CONTRACT = {"init", "demo", "run", "backfill", "reprice", "reconcile", "close", "query", "summary", "export",
            "forecast", "anomalies", "prices", "config", "doctor", "lake"}


def test_every_command_of_the_contract_is_there() -> None:
    assert {command.name for command in COMMANDS} >= CONTRACT


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
class TestCommand:
    """Of each command."""

    def test_it_says_what_it_does_with_an_example_that_parses(self, command: Command) -> None:
        assert command.help.endswith(".")
        words = shlex.split(command.example)
        assert words[:2] == ["cost-ops", command.name]
        assert parser().parse_args(words[1:]).command == command.name

    def test_help_ends_with_0_and_shows_the_example(self, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main([command.name, "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert f"Example:  {command.example}" in shown
        assert "--config FILE" in shown

    def test_every_option_says_what_it_does(self, command: Command) -> None:
        assert all(more.get("help") for _, more in command.options)

    def test_an_unknown_option_is_2(self, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main([*shlex.split(command.example)[1:], "--no-such-option"])
        assert ended.value.code == 2
        assert "--no-such-option" in capsys.readouterr().err

    def test_its_function_exists(self, command: Command) -> None:
        module, name = command.target.split(":")
        assert callable(getattr(importlib.import_module(f"costops.flows.commands.{module}"), name))


def test_no_command_shows_the_list_and_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert all(command.name in shown for command in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("cost-ops ")


def test_help_loads_nothing_heavy_and_takes_less_than_half_a_second() -> None:
    code = ("import contextlib, io, json, sys\nfrom costops.flows.command import main\n"
            "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main(['--help'])\n"
            "print(json.dumps([name for name in sys.modules if '.' not in name]))")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert not {"polars", "duckdb", "prefect", "pydantic", "pyarrow", "obstore"} & set(json.loads(ended.stdout))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_a_window_is_given_in_days_or_in_instants() -> None:
    assert day_of("2026-10-01", "--from") == day_of("2026-10-01T00:00:00Z", "--from") == date(2026, 10, 1)
    assert day_of("2026-10-01", "--to") == day_of("2026-10-02T00:00:00Z", "--to") == date(2026, 10, 1)
    assert day_of("2026-10-01T23:30:00-02:00", "--from") == date(2026, 10, 2)
    with pytest.raises(Usage, match="a day is written YYYY-MM-DD"):
        day_of("1.10.2026", "--from")


def test_rows_of_a_long_file_that_cannot_be_used_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "long.csv"
    days = [f"2026-03-{day:02d}" for day in range(1, 31)]
    path.write_text("unique_id,ds,y\n" + "".join(f"a,{day},{number}\n" for number, day in enumerate(days)) + "a,31.3.,5\n")
    for command in ("forecast", "anomalies"):
        assert main([command, "--input", str(path), "--format", "json"]) == 0
        printed = capsys.readouterr()
        json.loads(printed.out)
        assert f"{path}: a: 1 rows without a readable date left out (the first is row 31)" in printed.err
    path.write_text("unique_id,ds,y,y\na,2026-03-01,1,2\n")
    assert main(["forecast", "--input", str(path)]) == 2
    assert "the header names 'y' more than once" in capsys.readouterr().err
