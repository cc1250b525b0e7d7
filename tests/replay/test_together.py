"""Several sources pulled at once: the same bytes and ledger as one by one, the host's limits kept, quick to stop."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.flows.sources.api.client import Api
from costops.flows.sources.api.turns import Stopped, Turns
from costops.flows.tasks import pull
from costops.transforms.tables import RUN_LEDGER
from tests.replay.server import KEY, Provider, serving

SOURCE = """
[[sources]]
name = "{name}"
kind = "{kind}"
base_url = "{url}"
api_key_env = "TEST_ADMIN_KEY"
start = "2026-10-12"
"""
KINDS = {"a-usage": ("openai.usage", "/v1"), "b-costs": ("openai.costs", "/v1"), "c-report": ("anthropic.usage_report", ""),
         "d-cost": ("anthropic.cost_report", "")}


def _run(home: Path, url: str, *words: str) -> int:
    text = "".join(SOURCE.format(name=name, kind=kind, url=url + path) for name, (kind, path) in KINDS.items())
    (home / "costops.toml").write_text(text + '[gates]\nunpriced_share = "1"\nquarantine_share = "1"\n')
    return main(["run", "--config", str(home / "costops.toml"), "-q", "--stage", "ingest", *words])


def _landed(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for folder in ("raw", "core_billing", "core_charge")
            for path in (home / "lake" / folder).rglob("*.*") if path.is_file()}


def _ledger(home: Path) -> pl.DataFrame:
    lake = Lake(open_store(str(home / "lake")), home / "scratch")
    return lake.read(RUN_LEDGER).drop("run_id", "seconds").sort("number")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ADMIN_KEY", KEY)
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-20T06:00:00+00:00")


def test_bytes_and_ledger_do_not_depend_on_how_many_are_pulled_at_once(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Api, "_pause", lambda *_: None)
    monkeypatch.setattr(Turns, "rest", lambda *_: None)
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    with serving(Provider()) as url, monkeypatch.context() as alone:
        alone.setattr(pull, "AT_ONCE", 1)
        assert _run(tmp_path / "one", url) == 0
    rough = Provider(faults=0.1, slow=0.01)
    with serving(rough) as url:
        assert _run(tmp_path / "many", url) == 0
    assert rough.most_at_once == 2                                # four sources of one host, two requests at a time
    assert _landed(tmp_path / "many") == _landed(tmp_path / "one")
    assert _ledger(tmp_path / "many").equals(_ledger(tmp_path / "one"))


def test_what_one_pull_is_told_to_wait_all_pulls_of_the_host_wait() -> None:
    turns, began = Turns(), time.monotonic()
    turns.rest("host", 0.3)
    with turns.at("elsewhere"):
        assert time.monotonic() - began < 0.2
    with turns.at("host"):
        assert time.monotonic() - began >= 0.3


def test_a_stop_ends_every_wait_at_once() -> None:
    turns, seen = Turns(), list[str]()
    turns.rest("host", 600)

    def waits() -> None:
        try:
            with turns.at("host"):
                seen.append("a turn")
        except Stopped:
            seen.append("stopped")

    def sleeps() -> None:
        try:
            turns.sleep(600)
        except Stopped:
            seen.append("stopped")

    threads = [Thread(target=one) for one in (waits, sleeps)]
    for thread in threads:
        thread.start()
    turns.stop()
    for thread in threads:
        thread.join(5)
    assert seen == ["stopped", "stopped"]


def test_an_interrupted_run_ends_its_pulls_and_lands_whole_pages_only(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = list[Thread]()

    class Impatient(Thread):
        def join(self, timeout: float | None = None) -> None:
            threads.append(self)
            if timeout is None:
                super().join(0.3)
                raise KeyboardInterrupt
            super().join(timeout)

    monkeypatch.setattr(pull, "Thread", Impatient)
    with serving(Provider(slow=0.2)) as url:
        assert _run(tmp_path, url) == 130
        assert not any(thread.is_alive() for thread in threads)
        before = _landed(tmp_path)
        time.sleep(0.5)
        assert _landed(tmp_path) == before
        monkeypatch.undo()
        monkeypatch.setenv("TEST_ADMIN_KEY", KEY)
        monkeypatch.setenv("COSTOPS_NOW", "2026-10-20T07:00:00+00:00")
        assert _run(tmp_path, url, "--source", "b-costs") == 0
