"""Bills that nobody here wrote: every total to the last digit, every file in balance."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from costops.transforms.billing.bill import Input, Options
from costops.transforms.billing.columns import COST_AND_USAGE, INVOICE_DETAIL
from costops.transforms.billing.invoices import FORMAT as INVOICES
from costops.transforms.billing.invoices import newest
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.lint import MANDATORY, PRESENT, lint, published
from costops.transforms.billing.stage import stage_bill
from costops.transforms.buckets.feed import read_usage
from costops.transforms.buckets.kinds import USAGE_FORMAT
from costops.transforms.check import check
from costops.transforms.tables import (
    CORE_BILL_SNAPSHOT,
    CORE_BILLING,
    CORE_BILLING_HISTORY,
    CORE_FINDING,
    CORE_INVOICE,
    CORE_USAGE,
)
from tests.conftest import shared_data
from tests.unit.billing.bills import batches, decided, inputs, rows, total

SOURCES: dict[str, tuple[str, str, str | None]] = {
    "openai": ("openai.costs", "openai/costs/as_of=*/*.json", None),
    "anthropic": ("anthropic.cost_report", "anthropic/cost_report/as_of=*/*.json", None),
    "bedrock": ("aws.cur2", "bedrock/cur2/as_of=*/**/*", None),
    "vertex": ("gcp.billing_export", "vertex/billing/as_of=*/*.jsonl", None),
    "azure": ("azure.cost_export", "azure/cost_export/as_of=*/**/*", None),
    "litellm": ("generic.bill", "litellm/invoice/as_of=*/*.csv", "mistral_ai"),
    "otel": ("generic.bill", "otel/invoice/as_of=*/*.csv", "groq"),
}
TREES = ("clean_october", "faulty_fortnight")


def _truth(tree: Path) -> dict[str, list[tuple[str, bool, Decimal]]]:
    found: dict[str, list[tuple[str, bool, Decimal]]] = {}
    for bill in json.loads((tree / "truth.json").read_text())["bills"]:
        found.setdefault(bill["source"], []).append((bill["as_of"], bill["final"], Decimal(bill["total_usd"])))
    return found


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("source", SOURCES)
def test_the_bills_of_provider_logs_have_exactly_the_true_totals(tree: str, source: str) -> None:
    root = shared_data() / "provider_logs" / tree
    kind, pattern, issuer = SOURCES[source]
    files = inputs(root, pattern)
    made = decided(kind, files, options=Options(source, issuer=issuer))
    for frame, table in ((made.billing, CORE_BILLING), (made.history, CORE_BILLING_HISTORY),
                         (made.snapshots, CORE_BILL_SNAPSHOT), (made.findings, CORE_FINDING)):
        check(frame, table)
    assert made.findings.height == 0
    assert made.billing["x_MappingStatus"].unique().to_list() == ["mapped"]
    for as_of, final, want in _truth(root)[source]:
        if final:
            assert made.billing["BilledCost"].sum() == want
        else:
            early = decided(kind, [one for one in files if f"as_of={as_of}" in one.uri],
                            options=Options(source, issuer=issuer))
            assert early.billing["BilledCost"].sum() == want
            kept = pl.concat([made.billing, made.history]).filter(
                pl.col("snapshot_id").is_in(early.snapshots["snapshot_id"].implode()))
            assert kept["BilledCost"].sum() == want
    assert lint(made.billing).filter(pl.col("severity") == "error").rows() == []


@pytest.mark.parametrize("tree", TREES)
def test_tokens_of_the_usage_pages_are_those_billed(tree: str) -> None:
    root = shared_data() / "provider_logs" / tree
    truth = json.loads((root / "truth.json").read_text())["billed_by_source_model_day"]
    for source, kind, pattern in (("openai", "openai.usage", "openai/usage/*.json"),
                                  ("anthropic", "anthropic.usage_report", "anthropic/usage_report/*.json")):
        made = read_usage(USAGE_FORMAT[kind], inputs(root, pattern), Options(source))
        check(made.rows, CORE_USAGE)
        assert made.findings.height == 0
        billed = [row for row in truth if row["source"] == source]
        written = sum(row["cache_write_tokens"] for row in billed)
        assert made.rows["output_tokens"].sum() == sum(row["output_tokens"] for row in billed)
        assert made.rows["cache_read_tokens"].sum() == sum(row["cache_read_tokens"] for row in billed)
        assert made.rows["cache_write_5m_tokens"].sum() == written


_FILES = {
    "aws/aws_cur_legacy_anonymous.csv": ("aws.cur2", "lineItem/UnblendedCost"),
    "nise/aws_cur_2026-10.csv": ("aws.cur2", "lineItem/UnblendedCost"),
    "nise/azure_costreport_a.csv": ("azure.cost_export", "CostInBillingCurrency"),
    "nise/gcp_invoice_month_202610.csv": ("gcp.billing_export", "cost"),
    "azure/azure_ea_actual_anonymous.csv": ("azure.cost_export", "CostInBillingCurrency"),
    "azure/EA_ActualCost_Small.csv": ("azure.cost_export", "Cost"),
    "azure/header_variants/headersets_BOM.csv": ("azure.cost_export", "PreTaxCost"),
    "azure/header_variants/headersets_Enterprise.csv": ("azure.cost_export", "CostInBillingCurrency"),
    "azure/header_variants/headersets_German.csv": ("azure.cost_export", "PreTaxCost (PreTaxCost)"),
    "azure/header_variants/headersets_PayAsYouGo.csv": ("azure.cost_export", "PreTaxCost"),
    "oci/oci_cost_report.csv": ("focus", "cost/myCost"),
    "focus_sample/focus_1_0_sample.csv": ("focus", "BilledCost"),
    **{f"focus_spec/{name}.csv": ("focus", "BilledCost") for name in (
        "ai_cached_tokens_via_csp_marketplace", "ai_drawdown_via_prepayment", "ai_prompt_caching_a",
        "commitment_discount_purchase_scenario_2", "commitment_discount_usage_scenario_1",
        "commitment_discount_usage_scenario_2", "correction_closed_1_delta", "correction_closed_1_ledger",
        "correction_closed_1_original", "correction_open_1_original", "correction_open_1_replacement",
        "saas_spend_agreements_a1", "saas_spend_agreements_a2", "virtual_currency_pricing_model_a1",
        "virtual_currency_pricing_model_a2", "virtual_currency_pricing_model_b1")},
}


@pytest.mark.parametrize("name", _FILES)
def test_rows_in_are_rows_kept_and_findings_and_money_in_is_money_out(name: str) -> None:
    kind, column = _FILES[name]
    path = shared_data() / "billing" / name
    told = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    made = batches(kind, [Input(name, path)])
    sum_ = total(made)
    assert sum_.read == len(told)
    assert sum_.read == sum_.kept + sum_.duplicates + sum_.findings + sum_.non_billable
    want = sum((Decimal(row[column].strip()) for row in told if row[column].strip() not in ("", "NULL")), Decimal(0))
    found = pl.concat([batch.findings for batch in made])
    cut = sum((Decimal(text) for text in found.filter(pl.col("reason") == "amount_rounded")["actual"]), Decimal(0))
    frame = rows(made)
    assert Decimal(frame["BilledCost"].sum()) + cut == want
    assert frame["x_SourceRowId"].is_unique().all()
    assert not lint(frame).filter(pl.col("rule") == "account_has_type").height


def test_every_file_of_billing_data_is_covered() -> None:
    base = shared_data() / "billing"
    reference = ("finops_toolkit/", "focus_model/", "focus_spec/invoice_detail")
    here = {path.relative_to(base).as_posix() for path in base.rglob("*.csv")}
    assert {name for name in here if not name.startswith(reference)} <= set(_FILES)


@pytest.mark.parametrize("month", ["03", "04", "07", "08"])
def test_the_consoles_cost_months_come_in_under_each_header(month: str) -> None:
    path = shared_data() / "traces" / f"anthropic_console_cost_2024_{month}.csv"
    told = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    made = batches("anthropic.console_cost", [Input(path.name, path)])
    assert total(made).kept == len(told)
    frame = pl.concat([pl.DataFrame(schema=CORE_BILLING.schema), *(batch.rows for batch in made)])
    assert frame["BilledCost"].sum() == sum((Decimal(row["cost_usd"]) for row in told), Decimal(0))
    assert set(frame["x_MappingStatus"]) <= {"mapped"}


def test_corrections_of_the_specification_give_their_totals() -> None:
    base = shared_data() / "billing" / "focus_spec"

    def billed(*names: str) -> dict[str, Decimal]:
        made = [Input(name, base / f"{name}.csv") for name in names]
        frame = rows(batches("focus", made))
        return dict(frame.group_by("ResourceId").agg(pl.col("BilledCost").sum()).iter_rows())

    after = {"R-111": Decimal(1200), "R-222": Decimal(300)}
    assert billed("correction_closed_1_original", "correction_closed_1_delta") == after
    assert billed("correction_closed_1_original", "correction_closed_1_ledger") == after
    assert billed("correction_open_1_replacement") == after


def test_prepayment_and_consumption_of_the_specification_agree() -> None:
    path = shared_data() / "billing" / "focus_spec" / "ai_drawdown_via_prepayment.csv"
    frame = rows(batches("focus", [Input("x", path)]))
    assert frame["BilledCost"].sum() == Decimal(500_000)
    assert frame.filter(pl.col("ChargeCategory") == "Usage")["EffectiveCost"].sum() == Decimal(50)
    usage = frame.filter(pl.col("ChargeCategory") == "Usage").sort("EffectiveCost")
    assert usage["x_UnitName"].to_list() == ["uncached_input", "output"]


@pytest.mark.parametrize(("name", "want"), [
    ("invoice_detail_scenario_1", Decimal("1578.63")), ("invoice_detail_scenario_3", Decimal(100))])
def test_invoice_details_of_the_specification(name: str, want: Decimal) -> None:
    path = shared_data() / "billing" / "focus_spec" / f"{name}.csv"
    form, options = INVOICES, Options("invoices")
    made = list(form.read(form.plan([Input(name, path)], options)[0][0], options))
    frame = check(newest(made), CORE_INVOICE)
    assert frame["BilledCost"].sum() == want


def test_summaries_of_what_is_due_are_invoices() -> None:
    root = shared_data() / "provider_logs" / "faulty_fortnight"
    form, options = INVOICES, Options("invoices")
    made = list(form.read(form.plan(inputs(root, "invoices/*.csv"), options)[0][0], options))
    frame = check(newest(made), CORE_INVOICE)
    assert frame.filter(pl.col("provider") == "mistral_ai")["BilledCost"].to_list() == [Decimal("0.46"),
                                                                                      Decimal("0.06")]


def test_columns_are_those_of_the_foundations_model() -> None:
    path = shared_data() / "billing" / "focus_model" / "focus_1_4_columns.csv"
    model = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    for dataset, fields in (("CostAndUsage", COST_AND_USAGE), ("InvoiceDetail", INVOICE_DETAIL)):
        assert [row["column"] for row in model if row["dataset"] == dataset] == [field.name for field in fields]
    usage = [row for row in model if row["dataset"] == "CostAndUsage" and row["feature_level"] == "Mandatory"]
    assert {row["column"] for row in usage} == set(PRESENT)
    assert {row["column"] for row in usage if row["allows_nulls"] == "False"} == set(MANDATORY)


def test_a_published_file_has_no_conditional_column_without_a_value() -> None:
    root = shared_data() / "provider_logs" / "clean_october"
    made = decided("aws.cur2", inputs(root, "bedrock/cur2/**/*"))
    frame = published(made.billing)
    assert "PricingCurrency" not in frame.columns
    assert "ChargeClass" in frame.columns
    assert set(BILL_FORMAT) >= {"aws.cur2", "focus", "invoices"}


@pytest.mark.parametrize("source", ["bedrock", "vertex", "azure"])
def test_a_staged_bill_is_decided_as_one_in_memory(source: str, tmp_path: Path) -> None:
    root = shared_data() / "provider_logs" / "faulty_fortnight"
    kind, pattern, _ = SOURCES[source]
    files, options = inputs(root, pattern), Options(source, batch_bytes=1 << 16)
    want = decided(kind, files, options=options)
    made = stage_bill(BILL_FORMAT[kind], files, options, tmp_path)
    assert made.snapshots.sort("snapshot_id").equals(want.snapshots.sort("snapshot_id"))
    parts = [part for one in made.decided if one.status == "current" for part in one.parts]
    staged = pl.concat([pl.read_parquet(part) for part in parts]).sort("x_SourceRowId").drop("snapshot_id")
    assert staged.equals(want.billing.sort("x_SourceRowId").drop("snapshot_id"))
