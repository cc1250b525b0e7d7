"""The command line from outside: exit codes, one document on stdout, and nothing but the lake to read."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from tests.unit.flows.conftest import NOON, Workspace, body

DAY = 86_400


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with three days of two teams, read only."""
    made = Workspace(tmp_path_factory.mktemp("filled"))
    made.log("a.jsonl", [body(number, at=NOON + number % 3 * DAY, team=("search", "=cmd|'/c calc'!A1")[number % 2])
                         for number in range(30)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSTOPS_NOW", "2026-11-05T06:00:00+00:00")
        assert made.run() == 0
    return made


def ask(workspace: Workspace, *words: str) -> int:
    return main([*words, "--config", str(workspace.home / "costops.toml")])


def outside(workspace: Workspace, *words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "costops.flows.command", *words, "--config",
                           str(workspace.home / "costops.toml")], capture_output=True, check=False, **more)


# -- exit code 2 --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("words", "said"), [
    (["run", "--source", "opnai"], "did you mean 'openai'?"),
    (["run", "--stage", "ingset"], "did you mean 'ingest'?"),
    (["run", "--from", "yesterday"], "a day is written YYYY-MM-DD"),
    (["run", "--from", "2026-10-02", "--to", "2026-10-01"], "swap them"),
    (["backfill", "--from", "2026-10-02"], "needs --from DAY and --to DAY"),
    (["backfill", "--from", "2026-10-02", "--to", "2026-10-01"], "swap them"),
    (["backfill", "--from", "1900-01-01", "--to", "2026-10-01"], "at most"),
    (["reprice"], "needs --from DAY and --to DAY"),
    (["query"], "give either SQL, or a rollup"),
    (["query", "SELECT 1", "--range", "24h"], "give either SQL, or a rollup"),
    (["query", "SELEC 1"], "the query was refused"),
    (["query", "SELECT * FROM no_such_view"], "the query was refused"),
    (["query", "SELECT 1; SELECT 2"], "one SELECT"),
    (["query", "--range", "1 week"], "write hours or days"),
    (["query", "--range", "24h", "--by", "modle"], "is no column of the rollup"),
    (["summary", "--by", "nothing"], "is no column of the rollup"),
    (["summary", "--by", "provider,model"], "one key"),
    (["summary", "--by", ","], "name each column once"),
    (["export", "out_spend"], "is no dataset"),
    (["export", "core_price", "--from", "2026-10-01"], "has no column `day`"),
    (["export", "out_spend_daily", "--format", "parquet"], "needs --out FILE"),
    (["export", "out_spend_daily", "--out", "/no/such/folder/x.csv"], "cannot be written"),
])
def test_wrong_usage_is_2_and_one_sentence(filled: Workspace, capsys: pytest.CaptureFixture[str], words: list[str],
                                           said: str) -> None:
    before = filled.digest()
    assert ask(filled, *words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.startswith("cost-ops: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert filled.digest() == before


def test_a_missing_configuration_is_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["run"], ["summary"], ["query", "SELECT 1"], ["config", "validate"], ["doctor"]):
        assert main(words) == 2
        assert "no such file; `cost-ops init DIR` writes one" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# -- queries read the lake and nothing else -----------------------------------------------------------------------

def test_a_query_reads_no_other_file_and_writes_none(filled: Workspace, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\nCANARY\n")
    part = next(Path(filled.lake_uri).rglob("core_charge/**/*.parquet"))
    before = part.read_bytes()
    for sql in (f"SELECT * FROM read_csv('{secret}')", f"SELECT * FROM read_text('{secret}')", f"FROM '{secret}'",
                f"SELECT * FROM glob('{tmp_path}/*')", f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
                f"COPY (SELECT 1) TO '{part}' (FORMAT parquet)", f"ATTACH '{tmp_path / 'x.db'}'", "INSTALL httpfs",
                "SET enable_external_access = true", f"EXPORT DATABASE '{tmp_path}'",
                "SELECT * FROM read_text('/proc/self/environ')", "SELECT * FROM read_csv('https://example.com/x')",
                f"SELECT * FROM read_text('{filled.lake_uri}/../costops.toml')"):
        assert ask(filled, "query", sql) == 2, sql
        shown = capsys.readouterr()
        assert "CANARY" not in shown.out + shown.err
        assert "AWS_" not in shown.out
    assert part.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


# -- what is printed ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", [
    ["query", "SELECT team, sum(list_cost_usd) AS usd FROM core_charge GROUP BY team ORDER BY team"],
    ["query", "--range", "30d", "--by", "provider,model"], ["query", "--range", "9999h"],
    ["query", "SELECT 'nan'::DOUBLE AS a, [1.5::DECIMAL(4,2)] AS b, NULL AS c, '1'::BLOB AS d"],
    ["query", "SELECT * FROM core_charge WHERE false"],
    ["summary", "--by-team"], ["summary", "--by", "day"], ["config", "show"], ["doctor"],
    ["run", "--stage", "ingest", "--stage", "spend"],
])
def test_json_is_one_document_on_stdout(filled: Workspace, capsys: pytest.CaptureFixture[str],
                                        words: list[str]) -> None:
    assert ask(filled, *words, "--format", "json") == 0
    shown = capsys.readouterr().out

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    json.loads(shown, parse_constant=refuse)


def test_decimals_leave_exact(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT sum(list_cost_usd) AS usd, count(*) AS n FROM core_charge"
    wanted = filled.read("core_charge")["list_cost_usd"].cast(pl.Decimal(38, 12)).sum()
    ask(filled, "query", sql, "--format", "json")
    assert Decimal(json.loads(capsys.readouterr().out)[0]["usd"]) == wanted
    ask(filled, "query", sql, "--format", "csv")
    assert Decimal(next(csv.DictReader(io.StringIO(capsys.readouterr().out)))["usd"]) == wanted


def test_usage_is_a_view_on_charges(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(filled, "query", "SELECT count(*) AS n FROM core_usage", "--format", "csv") == 0
    assert capsys.readouterr().out == "n\n30\n"


def test_an_exported_cell_cannot_run_in_a_spreadsheet(filled: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "spend.csv"
    assert ask(filled, "export", "out_spend_daily", "--out", str(out)) == 0
    cells = [cell for row in csv.reader(out.open(encoding="utf-8")) for cell in row]
    assert any("cmd|" in cell for cell in cells)
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)


@pytest.mark.parametrize("form", ["csv", "json", "parquet", "xlsx"])
def test_an_export_is_of_the_days_asked_for(filled: Workspace, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"x.{form}"
    assert ask(filled, "export", "core_charge", "--format", form, "--from", "2026-10-30", "--out", str(out)) == 0
    if form == "parquet":
        assert pl.read_parquet(out)["day"].unique().dt.to_string().to_list() == ["2026-10-30"]
    assert out.stat().st_size > 100


def test_an_empty_lake_says_what_to_do(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(workspace, "summary") == 0
    assert "`cost-ops run` reads the sources" in capsys.readouterr().err
    assert ask(workspace, "query", "SELECT count(*) AS n FROM core_charge", "--format", "csv") == 0
    assert capsys.readouterr().out == "n\n0\n"
    assert not (workspace.home / "lake").exists()


def test_doctor_names_what_to_mend(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    workspace.sources += ('[[sources]]\nname = "gone"\nkind = "openai.requests"\nuri = "gone/x.jsonl"\n'
                          'api_key_env = "NOT_SET_ANYWHERE"\n')
    workspace.configure()
    assert ask(workspace, "doctor", "--format", "json") == 2
    rows = {row["what"]: row["detail"] for row in json.loads(capsys.readouterr().out) if row["state"] == "mend"}
    assert set(rows) == {"secret NOT_SET_ANYWHERE", "source openai", "source gone"}


# -- how a process ends -------------------------------------------------------------------------------------------

def test_a_reader_that_hangs_up_is_no_failure(filled: Workspace) -> None:
    with subprocess.Popen([sys.executable, "-m", "costops.flows.command", "query",
                           "SELECT range AS a, repeat('x', 100) AS b FROM range(100000)", "--format", "csv", "--config",
                           str(filled.home / "costops.toml")], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        assert asked.stdout.readline() == b"a,b\n"
        asked.stdout.close()
        said = asked.stderr.read()
        assert asked.wait(30) == 0
        assert said == b""


def test_an_interrupted_run_ends_with_130_and_goes_on_later(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(number) for number in range(5)])
    env = {**os.environ, "COSTOPS_TESTING": "1", "COSTOPS_FAULT": "before_commit:2:sleep"}
    with subprocess.Popen([sys.executable, "-m", "costops.flows.command", "run", "--stage", "ingest", "--config",
                           str(workspace.home / "costops.toml")], stderr=subprocess.PIPE, env=env) as running:
        assert running.stderr is not None
        assert any(b"planted pause" in line for line in running.stderr)         # before the first table's commit
        running.send_signal(signal.SIGTERM)
        said = running.stderr.read().decode()
        assert running.wait(30) == 130, said
    assert "safe to run again" in said
    assert workspace.run() == 0
    assert workspace.read("core_charge").height == 5


def test_a_fault_of_the_program_is_70_and_hides_secrets(filled: Workspace, monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Bearer CANARY0123456789")

    monkeypatch.setattr("costops.flows.commands.workspace.load", broken)
    assert ask(filled, "config", "show") == 70
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert "CANARY" not in said


def test_a_wrong_clock_is_2(filled: Workspace) -> None:
    ended = outside(filled, "query", "--range", "24h", env={**os.environ, "COSTOPS_NOW": "noon"})
    assert ended.returncode == 2
    assert b"a time is written as in" in ended.stderr


# -- a workspace --------------------------------------------------------------------------------------------------

def test_init_writes_a_workspace_that_validates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new"
    assert main(["init", str(target)]) == 0
    assert main(["config", "validate", "--config", str(target / "costops.toml")]) == 0
    assert main(["init", str(target)]) == 2
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["init", str(tmp_path / "file")]) == 2


# -- one bad record, one bad moment -------------------------------------------------------------------------------

@pytest.mark.parametrize("at", [1_793_275_200_000_000, 1_793_275_200_000, -99_999_999_999, -62_135_596_800, 10**30])
def test_an_impossible_time_stops_no_other_record(workspace: Workspace, at: int) -> None:
    workspace.log("a.jsonl", [body(1), body(2, at=at), body(3)])
    assert workspace.run() == 0
    assert workspace.read("core_charge")["record_id"].to_list() == ["chatcmpl-1", "chatcmpl-3"]
    assert workspace.read("core_finding").select("reason", "field").rows()[0] in {
        ("missing_field", "used_at"), ("impossible_time", "used_at"), ("impossible_count", "created")}


@pytest.mark.parametrize("text", ["0044-03-15 (BC) 00:00:00", "0001-01-01T00:00:00Z", "-infinity", "infinity"])
def test_a_time_before_all_requests_is_a_finding(workspace: Workspace, text: str) -> None:
    workspace.sources = workspace.sources.replace("openai.requests", "anthropic.messages")
    workspace.configure()
    usage = {"input_tokens": 5, "output_tokens": 6}
    workspace.log("a.jsonl", [
        {"timestamp": when, "response": {"id": f"m{number}", "type": "message", "model": "claude-sonnet-4-5",
                                         "usage": usage}}
        for number, when in enumerate(["2026-10-01T00:00:00Z", text])])
    assert workspace.run() == 0
    assert workspace.read("core_charge")["record_id"].to_list() == ["m0"]
    assert workspace.read("core_finding")["reason"].to_list() in (["impossible_time"], ["future_record"])


def test_a_run_that_dies_between_two_stages_leaves_nothing_undone(workspace: Workspace) -> None:
    workspace.log("a.jsonl", [body(number) for number in range(5)])
    assert workspace.run(stages=("ingest",)) == 0
    assert workspace.run() == 0
    assert workspace.read("out_spend_daily")["requests"].sum() == 5


def test_a_run_that_dies_before_the_second_source_leaves_no_request_counted_twice(workspace: Workspace) -> None:
    workspace.sources += ('primary_over = ["second"]\n[[sources]]\nname = "second"\nkind = "openai.requests"\n'
                          'uri = "other/*.jsonl"\n')
    workspace.configure()
    (workspace.home / "other").mkdir()
    (workspace.home / "other" / "b.jsonl").write_text(json.dumps(body(1)) + "\n" + json.dumps(body(2)) + "\n")
    assert workspace.run() == 0
    workspace.log("late.jsonl", [body(1)])
    assert workspace.run("--source", "openai", stages=("ingest",)) == 0        # it tells one, and the run ends there
    assert workspace.run() == 0
    charges = workspace.read("core_charge").filter(pl.col("source") == "second").sort("record_id")
    assert charges["counted"].to_list() == [False, True]
    assert workspace.read("out_spend_daily")["requests"].sum() == 2
