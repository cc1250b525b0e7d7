"""Bills and months that go wrong: restated, shrunk, cut, closed, opened again, killed in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.faults.kills import MONTH_LATER
from tests.faults.scene import Nursery, Scene

pytestmark = [pytest.mark.slow]
STAGES = ["ingest", "price", "spend", "reconcile", "publish"]
MONTH = "2026-09"
NIGHTLY = ["run", *(word for name in STAGES for word in ("--stage", name))]
QUIETLY = NIGHTLY[:-2]
"""The same without its report."""
CLOSE = ["close", "--month", MONTH, "--by", "A. Controller"]
CUR = ("identity_line_item_id,line_item_line_item_type,line_item_product_code,line_item_usage_type,"
       "line_item_usage_start_date,line_item_usage_end_date,line_item_usage_amount,line_item_unblended_cost,"
       "line_item_currency_code,bill_billing_period_start_date,pricing_unit\n")


class Month:
    """A scene whose month has ended, and its bill."""

    def __init__(self, scene: Scene, nursery: Nursery) -> None:
        self.scene, self.nursery = scene, nursery
        self.lake = scene.folder / "lake"

    def do(self, *words: str, fault: str = "") -> int:
        env = {**self.scene.env, "COSTOPS_NOW": MONTH_LATER, **({"COSTOPS_FAULT": fault} if fault else {})}
        self.nursery.start("command", env, words=[*words, "--config", self.scene.config, "-q"])
        return self.nursery.wait()

    def read(self, dataset: str) -> pl.DataFrame:
        paths = sorted((self.lake / dataset).rglob("*.parquet"))
        return pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in paths], how="diagonal_relaxed")

    def billed(self) -> Decimal:
        return sum(self.read("core_billing")["BilledCost"], Decimal(0))

    def reasons(self) -> set[str]:
        return set(self.read("core_finding")["reason"])

    def failed(self) -> list[str]:
        """Gates that failed, as the report tells them."""
        told = json.loads((self.scene.folder / "reports/latest/report.json").read_text())
        return [gate["name"] for gate in told["gates"] if gate["failed"]]

    def lock(self) -> bytes:
        return (self.lake / "locks" / f"{MONTH}.json").read_bytes()


@pytest.fixture
def month(tmp_path: Path, nursery: Nursery) -> Month:
    return Month(Scene(tmp_path / "w", days=1, bill=True), nursery)


def touch(path: Path, hours: int) -> None:
    """A delivery that many hours after the first."""
    os.utime(path, (1_790_000_000 + hours * 3600,) * 2)


def test_a_restated_bill_counts_until_the_month_is_closed_and_then_alarms(month: Month) -> None:
    assert month.do(*QUIETLY) in (0, 1)
    touch(month.scene.bill({"gpt-5-mini": "1.30", "gpt-4o": "3.60"}), 1)
    assert month.do(*QUIETLY) in (0, 1)
    assert month.billed() == Decimal("4.90"), "before the close the newest bill counts"
    assert month.do(*CLOSE) in (0, 1)
    sealed, rows = month.lock(), month.read("out_reconciliation")
    assert set(rows["status"]) == {"locked"}
    touch(month.scene.bill({"gpt-5-mini": "1.30", "gpt-4o": "3.90"}), 2)
    assert month.do(*QUIETLY) == 4
    assert month.billed() == Decimal("4.90"), "the closed figures stand"
    assert month.lock() == sealed
    assert month.read("out_reconciliation").equals(rows)
    assert "closed_period_changed" in month.reasons()
    assert month.do(*CLOSE[:3], "--reopen", "--by", "B. Auditor") in (0, 1)
    lock = json.loads(month.lock())
    assert [(one["event"], one["by"]) for one in lock["history"]] == [("reopened", "B. Auditor")]
    assert month.billed() == Decimal("5.20"), "opened again, the month takes the newest bill"
    assert lock["snapshots"] != json.loads(sealed)["snapshots"]
    assert month.do(*QUIETLY) in (0, 1)
    assert "closed_period_changed" not in month.reasons()


def test_a_close_that_is_killed_after_any_write_is_completed_by_the_next(tmp_path: Path, nursery: Nursery) -> None:
    whole, hit = (Month(Scene(tmp_path / name, days=1, bill=True), nursery) for name in ("whole", "hit"))
    assert whole.do(*NIGHTLY[:7]) in (0, 1)
    shutil.copytree(whole.lake, tmp_path / "kept")
    assert whole.do(*CLOSE) in (0, 1)
    expected = whole.scene.tree()
    kills = 0
    for write in range(1, 99) if os.environ.get("COSTOPS_LONG") else (4,):         # the lock is put
        shutil.rmtree(hit.lake, ignore_errors=True)
        shutil.rmtree(hit.scene.folder / "reports", ignore_errors=True)
        shutil.copytree(tmp_path / "kept", hit.lake)
        if hit.do(*CLOSE, fault=f"after_commit:{write}:kill") != -signal.SIGKILL:
            break
        kills += 1
        assert hit.do(*CLOSE) in (0, 1)
        found = hit.scene.tree()
        assert [key for key in {*found, *expected} if found.get(key) != expected.get(key)] == [], f"after write {write}"
    assert kills


def test_a_bill_that_shrinks_or_comes_empty_is_held_back_and_the_gate_says_so(month: Month) -> None:
    assert month.do(*NIGHTLY) in (0, 1)
    for hours, amounts in enumerate(({"gpt-5-mini": "1.25", "gpt-4o": "1.60"}, {}), start=1):    # by 40 %; nothing
        touch(month.scene.bill(amounts), hours)
        assert month.do(*NIGHTLY) == 1
        assert "bill_deliveries" in month.failed()
        assert month.billed() == Decimal("4.75"), "the figures of before stand"
        assert month.read("core_finding").filter(pl.col("reason") == "snapshot_refused").height == 1
    touch(month.scene.bill({"gpt-5-mini": "1.25", "gpt-4o": "3.50"}), 3)
    month.do(*NIGHTLY)
    assert "bill_deliveries" not in month.failed(), "a whole one ends it"


def test_a_manifest_that_names_a_missing_or_growing_file_is_skipped_until_it_is_whole(tmp_path: Path, nursery: Nursery
                                                                                      ) -> None:
    extra = '[[sources]]\nname = "cur"\nkind = "aws.cur2"\nuri = "cur/as_of=*"\n'
    month = Month(Scene(tmp_path / "w", days=1, extra=extra), nursery)
    root = month.scene.folder / "cur"
    cur(root / "as_of=2026-10-01", ["1", "2"])
    assert month.do(*QUIETLY) in (0, 1)
    assert month.billed() == 3
    cur(root / "as_of=2026-10-02", ["1", "3"], listed=2)
    assert month.do(*QUIETLY) == 1
    assert month.billed() == 3, "previous figures stand"
    assert {"incomplete_delivery", "snapshot_incomplete"} <= month.reasons()
    assert month.do(*QUIETLY) == 1, "and the gate stays until the file is there"
    growing = cur(root / "as_of=2026-10-02", ["5"], number=2)
    growing.write_text(growing.read_text()[:-60])
    month.do(*QUIETLY)
    assert month.billed() in (3, 4), "a row that is cut is a finding and never a figure"
    cur(root / "as_of=2026-10-02", ["5"], number=2)
    touch(growing, 9)
    month.do(*QUIETLY)
    assert month.billed() == 9
    assert not {"incomplete_delivery", "snapshot_incomplete"} & month.reasons()


def cur(root: Path, costs: list[str], *, listed: int = 0, number: int = 1) -> Path:
    """A file of an AWS export; with `listed` also the manifest that names so many."""
    lines = [f"li{number}{n},Usage,AmazonBedrock,USE1-NovaLite-input-tokens,2026-09-01T00:00:00Z,2026-09-01T01:00:00Z,1,"
             f"{cost},USD,2026-09-01T00:00:00Z,1K tokens" for n, cost in enumerate(costs)]
    path = root / f"data/BILLING_PERIOD={MONTH}/cur-{number:05d}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CUR + "\n".join(lines) + "\n")
    if number == 1:
        manifest = root / f"metadata/BILLING_PERIOD={MONTH}/cur-Manifest.json"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({"dataFiles": [
            f"s3://bucket/cur/data/BILLING_PERIOD={MONTH}/cur-{n + 1:05d}.csv" for n in range(listed or 1)]}))
    return path
