"""Pages of a provider that change while they are read, never end or never come: no gap, no double, exit code 3."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from pathlib import Path

import pytest

from costops.flows.command import main
from costops.flows.sources.api import openai_api
from costops.flows.sources.api.client import Api
from costops.flows.sources.api.landing import pull
from costops.transforms.billing.bill import Options
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import read_bill
from costops.transforms.window import Window
from tests.faults.proxy import proxied
from tests.replay.server import KEY, Provider, serving
from tests.replay.test_pull import Folder

pytestmark = [pytest.mark.server]
YEAR = Window(date(2025, 9, 25), date(2026, 10, 30))
FIRST, SECOND = datetime(2026, 11, 1, 6), datetime(2026, 11, 2, 6)
CONFIG = """[workspace]
lake = "lake"
[[sources]]
name = "pulled"
kind = "openai.costs"
base_url = "{url}/v1"
api_key_env = "TEST_ADMIN_KEY"
start = "2025-09-01"
[gates]
unpriced_share = "1"
quarantine_share = "1"
"""


def costs(address: str, store: Folder, at: datetime = FIRST) -> Counter[date]:
    """Pull the costs of a year; days that the pages in the store tell, each with the count of its lines."""
    pull(openai_api.costs(openai_api.connect(KEY, base_url=f"{address}/v1"), YEAR), store, at)
    rows = read_bill(BILL_FORMAT["openai.costs"], store.inputs("costs"), Options("costs")).billing
    return Counter(rows["x_Day"].to_list())


def test_pages_that_change_while_they_are_read_leave_no_gap_and_no_double(tmp_path: Path) -> None:
    """A day of a page that has been read and one of a page to come are restated between two calls."""
    before, between, after = (Folder(tmp_path / name) for name in ("before", "between", "after"))
    early, late = date(2025, 10, 3), date(2026, 10, 3)
    provider = Provider()

    def restate(method: str, path: str, number: int) -> None:
        if number == 1:
            provider.restated |= {early: 1, late: 1}

    with serving(provider) as address:
        told_before = costs(address, before)
        with proxied(address, restate) as proxy:
            told = costs(proxy.url, between)
        told_after = costs(address, after)
        assert told_before[early] != told_after[early], "the plant tells another number of lines"
        assert told == told_before | {late: told_after[late]}
        assert costs(address, between, SECOND) == told_after, "the next pull sets right what had been read before"


@pytest.mark.parametrize("plant", ["repeats", "fails"])
def test_a_run_whose_pages_never_end_or_never_come_is_3_and_the_next_has_the_same_bytes(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plant: str) -> None:
    monkeypatch.setenv("TEST_ADMIN_KEY", KEY)
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-20T06:00:00+00:00")
    with monkeypatch.context() as patch, serving(Provider(stuck=plant == "repeats")) as url:
        patch.setattr(Api, "_pause", lambda *_: None)
        if plant == "fails":
            patch.setattr(Provider, "fault", lambda *_: "500")
        assert run(tmp_path / "hit", url) == 3
        assert ("again and again" if plant == "repeats" else "after 8 attempts") in capsys.readouterr().err
    with serving(Provider()) as url:
        assert run(tmp_path / "hit", url) == run(tmp_path / "whole", url) == 0
    assert lake_of(tmp_path / "hit") == lake_of(tmp_path / "whole")


def run(home: Path, url: str) -> int:
    home.mkdir(exist_ok=True)
    (home / "costops.toml").write_text(CONFIG.format(url=url))
    return main(["run", "--config", str(home / "costops.toml"), "-q", "--stage", "ingest", "--stage", "spend"])


def lake_of(home: Path) -> dict[str, bytes]:
    """The lake without the ledger, the lock, and hints, which hold the times of files."""
    root = home / "lake"
    return {key: path.read_bytes() for path in root.rglob("*") if path.is_file()
            and not (key := path.relative_to(root).as_posix()).startswith(("run_ledger/", "_state/lock", "_state/hints/"))}
