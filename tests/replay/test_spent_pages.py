"""Retention of pulled pages: what no figure rests on goes, and the figures stay as they are without the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import load
from costops.flows.tasks import retention
from costops.flows.tasks.run import open_lake
from costops.transforms.tables import CORE_BILL_SNAPSHOT, CORE_BILLING, CORE_BILLING_HISTORY, CORE_CHARGE
from costops.transforms.window import Window
from tests.replay.server import KEY, Provider, serving

NIGHTS = ("2026-08-30", "2026-08-31", "2026-09-02", "2026-09-03", "2026-09-05")
TODAY = date(2026, 10, 20)
SOURCES = """
[[sources]]
name = "costs"
kind = "openai.costs"
base_url = "{url}/v1"
api_key_env = "TEST_KEY"
start = "2026-08-25"
restatement_days = 2
[[sources]]
name = "usage"
kind = "openai.usage"
base_url = "{url}/v1"
api_key_env = "TEST_KEY"
start = "2026-08-25"
restatement_days = 2
[[sources]]
name = "export"
kind = "gcp.billing_export"
base_url = "{url}/bigquery/v2"
api_key_env = "TEST_KEY"
options = {{ table = "p.d.t" }}
start = "2026-09-01"
[gates]
unpriced_share = "1"
quarantine_share = "1"
[retention]
raw_days = 30
archive = "archive"
"""


def _tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and "run_ledger" not in path.as_posix()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that was pulled five nights, with nights left out, from a provider that restates every day."""
    monkeypatch.setenv("TEST_KEY", KEY)
    with serving(Provider(changing=True)) as url:
        (tmp_path / "costops.toml").write_text(SOURCES.format(url=url))
        for night in NIGHTS:
            monkeypatch.setenv("COSTOPS_NOW", f"{night}T06:00:00+00:00")
            assert _ingest(tmp_path) in (0, 1)          # a month that begins with a day without cost is refused at first
    return tmp_path


def _ingest(home: Path, *words: str) -> int:
    return main(["run", "--config", str(home / "costops.toml"), "-q", "--stage", "ingest", *words])


@contextmanager
def _lake(home: Path) -> Iterator[Lake]:
    with open_lake(load(str(home / "costops.toml"))) as lake:
        yield lake


def _retain(home: Path, *, dry_run: bool = False) -> pl.DataFrame:
    with _lake(home) as lake:
        return retention.retain(lake, load(str(home / "costops.toml")), TODAY, dry_run=dry_run)


def _pulls(done: pl.DataFrame) -> set[tuple[str, str]]:
    return {(key.split("/")[1], key.split("as_of=")[1][:10]) for key in done["key"]}


def test_pages_go_that_no_figure_rests_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _tree(home / "lake")
    planned = _retain(home, dry_run=True)
    assert _tree(home / "lake") == before
    # the export tells its month whole every night: the last one will do. Of the days some page is the last to tell each
    assert _pulls(planned) == {("export", night) for night in ("2026-09-02", "2026-09-03")}
    assert _retain(home).equals(planned)
    assert _retain(home).is_empty()
    for key in planned["key"]:
        assert not (home / "lake" / key).exists()
        assert (home / "archive" / key).is_file()
    _pages_of_a_closed_month_go_and_its_figures_stay(home, monkeypatch)


def _pages_of_a_closed_month_go_and_its_figures_stay(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _lake(home) as lake:
        snapshots = lake.read(CORE_BILL_SNAPSHOT).filter(
            pl.col("status") == "current", pl.col("billing_period") == "2026-08")
        locked = {row["source"]: {"2026-08": row["snapshot_id"]} for row in snapshots.iter_rows(named=True)}
    assert "costs" in locked
    monkeypatch.setattr(retention, "closed_snapshots", lambda _: locked)
    figures = _figures(home)
    done = _retain(home)
    gone = _pulls(done)
    assert ("costs", "2026-08-31") in gone
    assert ("usage", "2026-08-31") in gone
    assert max(night for _, night in gone) == "2026-09-03"      # the night after told all of September again
    # read anew from the pages that are left, by a run with nothing to pull and by a backfill: the same figures
    monkeypatch.setattr("costops.flows.tasks.pull._window", lambda *_: Window(TODAY, TODAY))
    monkeypatch.setattr("costops.flows.tasks.stages.closed_snapshots", lambda _: locked)
    assert _ingest(home) == 0
    _same(figures, _figures(home))
    assert main(["backfill", "--config", str(home / "costops.toml"), "-q", "--stage", "ingest", "--from", "2026-08-27",
                 "--to", "2026-08-27"]) == 0
    _same(figures, _figures(home))


def _figures(home: Path) -> dict[str, pl.DataFrame]:
    """Rows of the lake, but for which of several equal tellings told them."""
    with _lake(home) as lake:
        return {table.name: lake.read(table).drop("x_AsOf", "x_InputId", "as_of", "uris", strict=False)
                for table in (CORE_BILLING, CORE_BILLING_HISTORY, CORE_BILL_SNAPSHOT, CORE_CHARGE)}


def _same(before: dict[str, pl.DataFrame], after: dict[str, pl.DataFrame]) -> None:
    for name, rows in before.items():
        assert rows.height
        assert after[name].equals(rows), name
