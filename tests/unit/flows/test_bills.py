from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.flows.tasks import sorting
from costops.flows.tasks.snapshots import take_snapshots
from costops.transforms.billing.bill import Options
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import read_bill
from costops.transforms.tables import CORE_BILL_SNAPSHOT, CORE_BILLING, CORE_BILLING_HISTORY, Table
from tests.conftest import shared_data
from tests.unit.billing.bills import inputs
from tests.unit.flows.conftest import Workspace

PERIOD_KINDS = {
    "bedrock": ("aws.cur2", "bedrock/cur2/as_of=*/**/*", None),
    "vertex": ("gcp.billing_export", "vertex/billing/as_of=*/*.jsonl", None),
    "azure": ("azure.cost_export", "azure/cost_export/as_of=*/**/*", None),
    "litellm": ("generic.bill", "litellm/invoice/as_of=*/*.csv", "mistral_ai"),
}
FIRST, RESTATED = {"gpt-4o": "10.00", "gpt-5": "20.00"}, {"gpt-4o": "11.00", "gpt-5": "20.00"}
SHRUNK, BACK = {"gpt-4o": "1.00", "gpt-5": "2.00"}, FIRST


class Bills(Workspace):
    """A workspace whose only source is a bill."""

    def __init__(self, home: Path, pattern: str = "bills/*.csv") -> None:
        super().__init__(home)
        self.sources = (f'[[sources]]\nname = "acme"\nkind = "generic.bill"\nuri = "{pattern}"\nissuer = "openai"\n'
                        'account_id = "acme"\n')
        self.configure()

    def bill(self, lines: dict[str, str], name: str = "bill.csv") -> Path:
        path = self.home / "bills" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("month,model,meter,tokens,amount_usd\n" + "".join(
            f"2026-10,{model},input,1000000,{amount}\n" for model, amount in lines.items()))
        return path

    def times(self) -> dict[str, int]:
        root = Path(self.lake_uri)
        return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns
                for path in root.rglob("*.parquet") if "run_ledger" not in path.parts}

    def statuses(self) -> list[tuple[str, Decimal]]:
        rows = self.read("core_bill_snapshot").sort("status", "billed_cost")
        return list(rows.select("status", "billed_cost").iter_rows())

    def billed(self) -> Decimal:
        return sum(self.read("core_billing")["BilledCost"], Decimal(0))


@pytest.fixture
def bills(tmp_path: Path) -> Bills:
    return Bills(tmp_path)


@pytest.fixture
def dated(tmp_path: Path) -> Bills:
    return Bills(tmp_path, "bills/as_of=*/*.csv")


# -- the same rows, however they were sorted ----------------------------------------------------------------------

@pytest.mark.parametrize("tree", ["clean_october", "faulty_fortnight"])
@pytest.mark.parametrize("source", PERIOD_KINDS)
def test_staged_bills_give_the_partitions_that_bills_in_memory_give(
        tree: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "PIECE", 40)
    monkeypatch.setattr(sorting, "_FILES", 3)
    kind, pattern, issuer = PERIOD_KINDS[source]
    files, options = inputs(shared_data() / "provider_logs" / tree, pattern), Options(source, issuer=issuer)
    staged, whole = (Lake(open_store(str(tmp_path / name)), tmp_path / f"{name}-scratch") for name in ("a", "b"))
    take_snapshots(staged, BILL_FORMAT[kind], files, options, closed={})
    made = read_bill(BILL_FORMAT[kind], files, options)
    for table, rows in ((CORE_BILLING, made.billing), (CORE_BILLING_HISTORY, made.history),
                        (CORE_BILL_SNAPSHOT, made.snapshots)):
        whole.write(table, rows)
        assert hashes(tmp_path / "a", table) == hashes(tmp_path / "b", table)
    assert made.billing.height


def hashes(root: Path, table: Table) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((root / table.name).rglob("*.parquet"))}


def test_a_row_id_that_stands_twice_is_refused_even_in_another_piece(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from costops.transforms.errors import Refused

    monkeypatch.setattr(sorting, "PIECE", 2)
    files = inputs(shared_data() / "provider_logs" / "clean_october", PERIOD_KINDS["litellm"][1])
    rows = read_bill(BILL_FORMAT["generic.bill"], files, Options("s")).billing
    twice = pl.concat([rows, rows.with_columns(pl.col("ChargePeriodStart").dt.offset_by("3d"))])
    twice.write_parquet(tmp_path / "part.parquet")
    lake = Lake(open_store(str(tmp_path / "lake")), tmp_path / "scratch")
    with pytest.raises(Refused, match="repeat the key"):
        sorting.encode_sorted(lake, CORE_BILLING, [tmp_path / "part.parquet"], twice.height, snapshot_id="x")


# -- through the command ------------------------------------------------------------------------------------------

def test_a_restated_bill_counts_and_the_one_before_is_history(dated: Bills) -> None:
    dated.bill(FIRST, "as_of=2026-11-02/bill.csv")
    dated.run()
    dated.bill(RESTATED, "as_of=2026-11-05/bill.csv")
    dated.run()
    assert dated.billed() == Decimal(31)
    assert dated.read("core_billing_history")["BilledCost"].sum() == Decimal(30)
    assert dated.statuses() == [("current", Decimal(31)), ("superseded", Decimal(30))]


def test_a_bill_overwritten_in_place_leaves_its_rows_in_history(bills: Bills) -> None:
    bills.bill(FIRST)
    bills.run()
    bills.bill(RESTATED)
    bills.run()
    assert (bills.billed(), bills.read("core_billing_history")["BilledCost"].sum()) == (Decimal(31), Decimal(30))


def test_a_bill_told_again_as_it_was_counts_again_and_stands_once(dated: Bills) -> None:
    for day, lines in (("02", FIRST), ("05", RESTATED), ("09", BACK)):
        dated.bill(lines, f"as_of=2026-11-{day}/bill.csv")
        dated.run()
    assert dated.statuses() == [("current", Decimal(30)), ("superseded", Decimal(31))]
    assert dated.read("core_billing_history")["snapshot_id"].n_unique() == 1


def test_a_file_that_is_gone_keeps_its_snapshot(dated: Bills) -> None:
    old = dated.bill(FIRST, "as_of=2026-11-02/bill.csv")
    dated.bill(RESTATED, "as_of=2026-11-05/bill.csv")
    dated.run()
    before = dated.digest()
    old.unlink()
    dated.run()
    after = dated.digest()
    assert dated.statuses() == [("current", Decimal(31)), ("superseded", Decimal(30))]
    assert {key for key in before if after.get(key) != before[key]} == {"_state/hints/acme.json"}


def test_a_source_that_did_not_change_is_not_read_again(bills: Bills, monkeypatch: pytest.MonkeyPatch) -> None:
    bills.bill(FIRST)
    bills.run()
    before = bills.times()

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("costops.flows.tasks.bills.take_snapshots", never)
    assert bills.run() == 0
    assert bills.times() == before


def test_the_same_bill_read_again_writes_nothing(bills: Bills) -> None:
    path = bills.bill(FIRST)
    bills.run()
    before = bills.times()
    path.write_text(path.read_text())
    bills.run()
    assert bills.times() == before


@pytest.mark.parametrize("in_place", [True, False])
def test_a_bill_that_shrinks_is_refused_with_a_finding(tmp_path: Path, *, in_place: bool) -> None:
    bills = Bills(tmp_path, "bills/**/*.csv")
    bills.bill(FIRST, "as_of=2026-11-02/bill.csv")
    bills.run()
    bills.bill(SHRUNK, f"as_of=2026-11-0{2 if in_place else 3}/bill.csv")
    bills.run()
    found = bills.read("core_finding").filter(pl.col("reason") == "snapshot_refused")
    assert bills.billed() == Decimal(30)
    assert bills.statuses() == [("current", Decimal(30)), ("refused", Decimal(3))]
    assert found.select("severity", "field", "amount_usd").row(0) == ("error", "2026-10", Decimal(-27))
    assert ("backfill" in found["mend"][0]) is in_place


def test_an_owner_who_deletes_the_larger_bill_has_the_smaller_one(dated: Bills) -> None:
    large = dated.bill(FIRST, "as_of=2026-11-02/bill.csv")
    dated.bill(SHRUNK, "as_of=2026-11-03/bill.csv")
    dated.run()
    large.unlink()
    dated.run()
    assert (dated.billed(), dated.read("core_billing_history")["BilledCost"].sum()) == (Decimal(3), Decimal(30))
