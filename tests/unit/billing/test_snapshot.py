"""Which snapshot of a period counts, and that none is lost."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl

from costops.transforms.billing.bill import Input
from costops.transforms.billing.snapshot import content_id, corrections
from tests.unit.billing.bills import costs_page, decided, write

LINE = "gpt-4o-2024-08-06, input"


def _month(days: int, dollars: str = "1") -> dict[str, list[tuple[str, str]]]:
    return {f"2026-10-{day:02d}": [(LINE, dollars)] for day in range(1, days + 1)}


def _status(made: pl.DataFrame) -> list[tuple[str, Decimal]]:
    return list(made.sort("as_of").select("status", "billed_cost").iter_rows())


def test_the_newest_counts_and_the_older_is_kept(tmp_path: Path) -> None:
    pages = [costs_page(tmp_path, "2026-11-01", _month(10)), costs_page(tmp_path, "2026-11-05", _month(10, "1.01"))]
    made = decided("openai.costs", pages)
    assert _status(made.snapshots) == [("superseded", Decimal(10)), ("current", Decimal("10.1"))]
    assert made.billing["BilledCost"].sum() == Decimal("10.1")
    assert made.history["BilledCost"].sum() == Decimal(10)


def test_the_same_snapshot_again_is_no_new_one(tmp_path: Path) -> None:
    pages = [costs_page(tmp_path, "2026-11-01", _month(3)), costs_page(tmp_path, "2026-11-05", _month(3))]
    made = decided("openai.costs", pages)
    assert _status(made.snapshots) == [("current", Decimal(3))]
    assert made.history.height == 0


def test_a_pull_of_the_last_days_leaves_the_days_before_in_force(tmp_path: Path) -> None:
    late = {"2026-10-09": [(LINE, "1.5")], "2026-10-10": [(LINE, "1")], "2026-10-11": [(LINE, "2")]}
    pages = [costs_page(tmp_path, "2026-10-11", _month(10)), costs_page(tmp_path, "2026-10-12", late)]
    made = decided("openai.costs", pages)
    assert made.billing["BilledCost"].sum() == Decimal("12.5")
    assert made.billing.height == 11


def test_a_shrunk_or_empty_snapshot_is_refused_with_a_finding(tmp_path: Path) -> None:
    gone: dict[str, list[tuple[str, str]]] = {f"2026-10-{day:02d}": [] for day in range(1, 9)}
    pages = [costs_page(tmp_path, "2026-11-01", _month(10)), costs_page(tmp_path, "2026-11-05", gone),
             costs_page(tmp_path, "2026-11-06", {"2026-10-10": [(LINE, "3")]})]
    made = decided("openai.costs", pages)
    assert [status for status, _ in _status(made.snapshots)] == ["superseded", "refused", "current"]
    assert made.billing["BilledCost"].sum() == Decimal(12)
    assert made.findings.select("reason", "severity").rows() == [("snapshot_refused", "error")]


def test_a_snapshot_may_shrink_as_much_as_the_source_allows(tmp_path: Path) -> None:
    pages = [costs_page(tmp_path, "2026-11-01", _month(10)), costs_page(tmp_path, "2026-11-05", _month(10, "0.5"))]
    assert decided("openai.costs", pages).billing["BilledCost"].sum() == Decimal(10)
    assert decided("openai.costs", pages, max_shrink=Decimal("0.6")).billing["BilledCost"].sum() == Decimal(5)


def test_a_closed_period_is_not_rewritten_and_the_difference_becomes_corrections(tmp_path: Path) -> None:
    first, second = costs_page(tmp_path, "2026-11-01", _month(4)), costs_page(tmp_path, "2026-11-20", _month(4, "1.25"))
    closed = decided("openai.costs", [first])
    lock = closed.snapshots["snapshot_id"][0]
    made = decided("openai.costs", [first, second], closed={"2026-10": lock})
    assert [status for status, _ in _status(made.snapshots)] == ["current", "late"]
    assert made.billing.drop("snapshot_id").equals(closed.billing.drop("snapshot_id"))
    assert made.findings["reason"].to_list() == ["closed_period_changed"]
    delta = corrections(made.billing, made.history, date(2026, 11, 1))
    assert delta["BilledCost"].sum() == Decimal(1)
    assert set(delta["ChargeClass"]) == {"Correction"}
    assert set(delta["billing_period"]) == {"2026-11"}
    assert delta["ChargePeriodStart"].min() == made.billing["ChargePeriodStart"].min()


def test_a_repeated_bucket_in_two_pages_counts_once_the_later_page(tmp_path: Path) -> None:
    one = costs_page(tmp_path / "a", "2026-11-01", {"2026-10-01": [(LINE, "1")]})
    two = costs_page(tmp_path / "b", "2026-11-01", {"2026-10-01": [(LINE, "2")], "2026-10-02": [(LINE, "4")]})
    pages = [Input("costs/as_of=2026-11-01/1.json", one.path), Input("costs/as_of=2026-11-01/2.json", two.path)]
    made = decided("openai.costs", pages)
    assert made.billing["BilledCost"].sum() == Decimal(6)
    assert made.findings["reason"].to_list() == ["restated_bucket"]
    assert sum(tally.duplicates for tally in made.tallies) == 1


def test_the_content_id_does_not_hang_on_order(tmp_path: Path) -> None:
    made = decided("openai.costs", [costs_page(tmp_path, "2026-11-01", _month(9))]).billing
    assert content_id(made) == content_id(made.reverse())
    assert content_id(made) != content_id(made.head(8))


CUR = "identity_line_item_id,line_item_line_item_type,line_item_product_code,line_item_usage_type," \
      "line_item_usage_start_date,line_item_usage_end_date,line_item_usage_amount,line_item_unblended_cost," \
      "line_item_currency_code,bill_billing_period_start_date,pricing_unit"


def _cur(root: Path, run: str, costs: list[str], *, listed: int | None = None) -> list[Input]:
    lines = [f"li{n},Usage,AmazonBedrock,USE1-NovaLite-input-tokens,2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,1,{cost},"
             "USD,2026-10-01T00:00:00Z,1K tokens" for n, cost in enumerate(costs)]
    data = f"cur/as_of={run}/data/BILLING_PERIOD=2026-10"
    files = [f"s3://bucket/cur/data/BILLING_PERIOD=2026-10/cur-{n + 1:05d}.csv" for n in range(listed or 1)]
    manifest = f"cur/as_of={run}/metadata/BILLING_PERIOD=2026-10/cur-Manifest.json"
    return [write(root, f"{data}/cur-00001.csv", "\n".join([CUR, *lines]) + "\n"),
            write(root, f"{data}/cur-00009.csv", CUR + "\n" + lines[0] + "\n"),
            write(root, manifest, json.dumps({"dataFiles": files}))]


def test_only_what_the_manifest_lists_is_read(tmp_path: Path) -> None:
    made = decided("aws.cur2", _cur(tmp_path, "2026-11-01", ["1", "2"]))
    assert made.billing["BilledCost"].sum() == Decimal(3)
    assert made.findings["reason"].to_list() == ["not_in_manifest"]


def test_a_manifest_with_a_missing_file_makes_an_incomplete_snapshot(tmp_path: Path) -> None:
    files = _cur(tmp_path, "2026-11-01", ["1", "2"]) + _cur(tmp_path, "2026-11-02", ["1", "3"], listed=2)
    made = decided("aws.cur2", files)
    assert made.billing["BilledCost"].sum() == Decimal(3)
    assert sorted(made.snapshots["status"]) == ["current", "incomplete"]


def test_rows_in_another_order_or_twice_give_the_same_bill(tmp_path: Path) -> None:
    files = _cur(tmp_path, "2026-11-01", ["1", "2", "3"])
    want = decided("aws.cur2", files)
    path = files[0].path
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(lines), lines[0]]) + "\n")
    made = decided("aws.cur2", files)
    assert made.billing["BilledCost"].sum() == want.billing["BilledCost"].sum()
    assert sum(tally.duplicates for tally in made.tallies) == 1


def test_an_azure_blob_of_another_size_is_not_there_whole(tmp_path: Path) -> None:
    text = "Date,Cost,BillingCurrency,MeterName\n10/01/2026,1.5,USD,x\n"
    blob = write(tmp_path, "exp/20261001-20261031/part_0.csv", text)
    for size, want in ((len(text), "current"), (999, "incomplete")):
        manifest = write(tmp_path, "exp/20261001-20261031/manifest.json", json.dumps({
            "exportConfig": {"exportName": "exp", "type": "ActualCost"},
            "runInfo": {"submittedTime": "2026-11-03T06:00:00Z", "startDate": "2026-10-01T00:00:00"},
            "blobs": [{"blobName": "exp/20261001-20261031/part_0.csv", "byteCount": size}]}))
        assert decided("azure.cost_export", [blob, manifest]).snapshots["status"].to_list() == [want]
