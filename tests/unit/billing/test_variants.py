"""The same bill under other headers, codings and layouts is the same bill."""

from __future__ import annotations

import gzip
import re
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import zstandard

from costops.transforms.billing.bill import Input
from costops.transforms.billing.text import Damaged, Sheet, sheet_batches
from tests.conftest import shared_data
from tests.unit.billing.bills import batches, decided, rows, total, write

HEAD = "SubscriptionId,Date,MeterCategory,MeterName,Quantity,CostInBillingCurrency,BillingCurrencyCode,UnitOfMeasure," \
       "BillingAccountId,Tags,ChargeType"
ROW = 's1,10/02/2026,Foundry Models,gpt 4o 1120 Inp glbl Tokens,2,0.005,EUR,1K,b1,"""team"": ""search""",Usage'
GERMAN = "Abonnement-GUID (SubscriptionGuid),Nutzungstag (UsageDateTime),Kategorie (MeterCategory),Name (MeterName)," \
         "Menge (UsageQuantity),Kosten (PreTaxCost),Währung (Currency),Maßeinheit (UnitOfMeasure),Konto " \
         "(BillingAccountId),Tags (Tags),Art (ChargeType)"
SHOWN = ("BilledCost", "BillingCurrency", "x_Day", "x_ModelId", "x_UnitName", "ConsumedQuantity", "SubAccountId",
         "BillingAccountId", "Tags", "x_Team", "billing_period")


@pytest.mark.parametrize("head", [
    HEAD, "\ufeff" + HEAD, re.sub(r"(^|,)([A-Z])", lambda m: m[1] + m[2].lower(), HEAD), HEAD.upper(), GERMAN])
def test_azure_headers_in_any_spelling_are_one_bill(head: str, tmp_path: Path) -> None:
    made = rows(batches("azure.cost_export", [write(tmp_path, "a.csv", f"{head}\n{ROW}\n")]))
    day = made["x_Day"].cast(pl.String)[0]
    assert made.select(SHOWN).row(0) == (
        Decimal("0.005"), "EUR", made["x_Day"][0], "gpt-4o-2024-11-20", "uncached_input", Decimal(2000), "s1", "b1",
        '{"team": "search"}', "search", "2026-10")
    assert day == "2026-10-02"


@pytest.mark.parametrize("coding", ["plain", "gzip", "zstd", "two gzip members"])
def test_a_file_is_read_under_every_coding_whatever_its_name(coding: str, tmp_path: Path) -> None:
    text = f"{HEAD}\n{ROW}\n".encode()
    made = {"plain": text, "gzip": gzip.compress(text), "zstd": zstandard.compress(text),
            "two gzip members": gzip.compress(text[:40]) + gzip.compress(text[40:])}[coding]
    path = tmp_path / "a.csv"
    path.write_bytes(made)
    assert rows(batches("azure.cost_export", [Input("a.csv", path)]))["BilledCost"].sum() == Decimal("0.005")


def test_a_file_of_nothing_and_one_of_a_header_have_no_rows(tmp_path: Path) -> None:
    for text in ("", f"{HEAD}\n"):
        assert list(sheet_batches(write(tmp_path, "a.csv", text).path, Sheet())) == []
        assert total(batches("azure.cost_export", [write(tmp_path, "b.csv", text)])).read == 0


def test_bytes_that_are_no_text_are_damaged_or_read_as_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\x1f\x8bnot gzip at all")
    with pytest.raises(Damaged):
        list(sheet_batches(path, Sheet()))


def test_two_runs_without_manifests_are_two_deliveries_and_not_double_the_money(tmp_path: Path) -> None:
    name = "exp/20261001-20261031/{}/part_0_0001.csv"
    files = [write(tmp_path, name.format("202610050600"), f"{HEAD}\n{ROW}\n"),
             write(tmp_path, name.format("202610060600"), f"{HEAD}\n{ROW}\n{ROW.replace('10/02', '10/03')}\n")]
    made = decided("azure.cost_export", files)
    assert made.billing["BilledCost"].sum() == Decimal("0.010")
    assert sorted(made.snapshots["status"]) == ["current", "superseded"]


def test_focus_as_parquet_is_focus_as_csv(tmp_path: Path) -> None:
    source = shared_data() / "billing" / "focus_sample" / "focus_1_0_sample.csv"
    path = tmp_path / "f.parquet"
    pl.read_csv(source, infer_schema=False).write_parquet(path)
    one, two = (rows(batches("focus", [Input("f", at)])).drop("x_InputId") for at in (source, path))
    assert one.equals(two)


def test_a_bill_does_not_hang_on_the_size_of_batches(tmp_path: Path) -> None:
    from costops.transforms.billing.bill import Options

    source = shared_data() / "billing" / "nise" / "aws_cur_2026-10.csv"
    small = batches("aws.cur2", [Input("c", source)], Options("s", batch_bytes=1 << 16))
    whole = batches("aws.cur2", [Input("c", source)])
    assert len(small) > len(whole)
    drop = ("x_SourceRowId",)
    assert rows(small).drop(drop).equals(rows(whole).drop(drop))
    assert rows(small)["x_SourceRowId"].is_unique().all()


def test_a_report_told_twice_in_one_delivery_counts_once_whatever_the_batches(tmp_path: Path) -> None:
    from costops.transforms.billing.bill import Options

    head, *lines = (shared_data() / "billing" / "nise" / "aws_cur_2026-10.csv").read_text().splitlines()
    path = tmp_path / "c.csv"
    path.write_text("\n".join([head, *lines, *lines]) + "\n")
    for size in (1 << 20, 1 << 30):
        made = batches("aws.cur2", [Input("c.csv", path)], Options("s", batch_bytes=size))
        assert (total(made).kept, total(made).duplicates) == (len(lines), len(lines))
