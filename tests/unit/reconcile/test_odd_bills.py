"""Bills and invoices that are out of the ordinary: each has one stated outcome."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.reconcile.contracts import contracts
from costops.reconcile.invoices import matched_invoices
from costops.reconcile.month import Options, Reconciled, reconcile_month
from costops.transforms.billing.bill import Input
from costops.transforms.billing.bill import Options as SourceOptions
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import corrections, read_bill
from costops.transforms.check import conform
from costops.transforms.tables import CORE_BILLING, CORE_CHARGE, CORE_INVOICE
from tests.unit.reconcile.plants import RATES
from tests.unit.reconcile.test_causes import sums_hold
from tests.unit.reconcile.world import MONTH, USD, World, bills, charges, clean, small_book


def reconciled(world: World, billing: pl.DataFrame | None = None, **more: Any) -> Reconciled:
    rates = more.pop("rates", RATES)
    invoices = more.pop("invoices", None)
    return reconcile_month(MONTH, charges(world), bills(world) if billing is None else billing, invoices,
                           options=Options(price_book=small_book(), rates=rates, **more))


def reasons(made: Reconciled) -> list[str]:
    return sorted(set(made.findings["reason"].to_list()))


def causes(made: Reconciled) -> dict[str, Decimal]:
    return dict(made.evidence.group_by("cause").agg(pl.col("cause_usd").sum()).iter_rows())


def invoice(issuer: str, number: str, amount: str, **more: Any) -> dict[str, Any]:
    at = datetime(2026, 11, 2)
    return {
        "source": "invoices", "billing_period": MONTH, "provider": issuer.lower(), "BilledCost": Decimal(amount),
        "BillingAccountId": "a", "BillingCurrency": "USD", "BillingPeriodStart": datetime(2026, 10, 1),
        "BillingPeriodEnd": datetime(2026, 11, 1), "ChargeCategory": "Usage", "InvoiceDetailCreated": at,
        "InvoiceDetailId": "1", "InvoiceDetailLastUpdated": at, "InvoiceId": number, "InvoiceIssueStatus": "Issued",
        "InvoiceIssuerName": issuer, "PaymentCurrency": "USD", "PaymentCurrencyBilledCost": Decimal(amount),
        "PaymentCurrencyInvoiceDetailId": "1", "PaymentTerms": "unknown", "ReferenceInvoiceId": number,
        "x_ChargeKind": "usage", "x_DocumentType": "invoice", **more}


def documents(*rows: dict[str, Any]) -> pl.DataFrame:
    return conform(pl.DataFrame(rows, schema_overrides={"BilledCost": USD, "PaymentCurrencyBilledCost": USD}),
                   CORE_INVOICE)


def total(world: World, scope: str) -> Decimal:
    return Decimal(world.bill.filter(pl.col("scope") == scope)["billed_usd"].sum())


def test_an_invoice_without_lines_is_compared_by_its_total_and_noted() -> None:
    world = clean(400, 12, 7)
    asked = f"{total(world, 'openai'):.2f}"
    made = reconciled(world, invoices=documents(invoice("OpenAI", "I-1", asked, x_ChargeKind="amount_due")))
    row = made.invoices.filter(pl.col("issuer") == "OpenAI").row(0, named=True)
    assert (row["outcome"], row["invoice_lines"]) == ("agrees", 0)
    assert "invoice_without_lines" in reasons(made)


def test_one_number_from_two_issuers_is_two_invoices() -> None:
    world = clean(400, 12, 7)
    told = documents(invoice("OpenAI", "INV-1", f"{total(world, 'openai'):.2f}"),
                     invoice("Anthropic", "INV-1", f"{total(world, 'anthropic') + 50:.2f}"))
    made = reconciled(world, invoices=told).invoices.filter(pl.col("invoice_id") == "INV-1")
    assert made.select("issuer", "outcome").sort("issuer").rows() == [("Anthropic", "differs"), ("OpenAI", "agrees")]


def test_tax_is_outside_of_the_tolerance_and_open_and_voided_invoices_are_exempt() -> None:
    world = clean(400, 12, 7)
    whole = f"{total(world, 'openai'):.2f}"
    taxed = documents(invoice("OpenAI", "I-1", whole),
                      invoice("OpenAI", "I-1", "19.00", InvoiceDetailId="2", ChargeCategory="Tax", x_ChargeKind="tax"),
                      invoice("Anthropic", "A-1", "1.00", InvoiceIssueStatus="Open"),
                      invoice("AWS", "B-1", "1.00", InvoiceIssueStatus="Voided"))
    made = matched_invoices(taxed, bills(world), MONTH)
    assert dict(made.filter(pl.col("invoice_id").is_not_null()).select("issuer", "outcome").iter_rows()) == {
        "OpenAI": "agrees", "Anthropic": "open", "AWS": "voided"}
    assert made.filter(pl.col("issuer") == "OpenAI")["tax_amount"].to_list() == [Decimal(19)]


def test_an_invoice_in_another_currency_than_the_bill_is_not_compared() -> None:
    world = clean(400, 12, 7)
    made = matched_invoices(documents(invoice("OpenAI", "I-1", "5.00", BillingCurrency="EUR")), bills(world), MONTH)
    assert made.filter(pl.col("invoice_id") == "I-1")["outcome"].to_list() == ["currency_differs"]


def test_a_negative_line_reduces_its_line_and_every_dollar_keeps_a_cause() -> None:
    world = clean(400, 12, 7)
    head = world.bill.filter(pl.col("scope") == "openai").row(3, named=True)
    back = {name: head[name] for name in ("scope", "provider", "bill", "issuer", "model_id", "unit", "tier", "project",
                                          "day")}
    made = reconciled(world.with_line(**back, billed_usd=-head["billed_usd"], quantity=-head["quantity"], kind="usage",
                                      category="Usage", status="mapped"))
    assert sums_hold(made)
    assert causes(made) == {"quantity": -head["billed_usd"]}


def test_a_credit_larger_than_the_bill_is_a_balance() -> None:
    world = clean(400, 12, 7)
    made = reconciled(world.with_line(scope="openai", provider="openai", bill="openai-costs", issuer="OpenAI",
                                      billed_usd=Decimal(-100_000), kind="credit", category="Credit", text="Grant"))
    assert causes(made) == {"credit": Decimal(-100_000)}
    assert reasons(made) == ["credit_exceeds_bill"]


def test_a_bill_in_two_currencies_is_matched_in_each_and_never_summed_across() -> None:
    world = clean(400, 12, 7)
    euros = (pl.col("scope") == "openai") & (pl.col("day") > date(2026, 10, 6))
    rate = pl.lit(Decimal("0.8")).cast(pl.Decimal(10, 4))
    names = ("list_usd", "billed_usd", "contracted_usd", "effective_usd")
    bill = world.bill.with_columns(
        currency=pl.when(euros).then(pl.lit("EUR")).otherwise("currency"),
        rate=pl.when(euros).then(rate.cast(USD)).otherwise("rate"),
        **{n: pl.when(euros).then((pl.col(n) * rate).cast(USD)).otherwise(pl.col(n)) for n in names})
    made = reconciled(world.with_bill(bill))
    assert reasons(made) == ["two_currencies"]
    assert set(causes(made)) == {"fx"}
    assert set(made.causes["currency"].to_list()) == {"EUR"}


def test_a_currency_without_a_rate_is_left_out_and_said() -> None:
    world = clean(400, 12, 7)
    bill = world.bill.with_columns(currency=pl.when(pl.col("scope") == "mistral_ai").then(pl.lit("CHF")).otherwise(
        "currency"))
    made = reconciled(world.with_bill(bill), rates=None)
    assert "missing_rate" in reasons(made)
    assert "mistral_ai" not in made.summary.filter("on_bill")["scope"].to_list()


def test_a_line_that_changes_its_sku_between_snapshots_is_the_same_line() -> None:
    world = clean(400, 12, 7)
    renamed = bills(world).with_columns(SkuId=pl.lit("NEW-SKU"), SkuPriceId=pl.lit("NEW-PRICE"),
                                        x_SourceRowId=pl.lit("n") + pl.col("x_SourceRowId"))
    assert reconciled(world, renamed).causes.is_empty()


def test_a_month_without_a_bill_says_so_at_the_full_amount() -> None:
    world = clean(400, 12, 7)
    made = reconciled(world, bills(world).filter(pl.col("source") != "openai-costs"))
    cost = total(world, "openai")
    assert causes(made) == {"extra_usage": -cost}
    assert made.summary.filter(pl.col("scope") == "openai")["outcome"].to_list() == ["no_bill"]
    assert made.evidence["detail"].unique().to_list() == ["no bill of this month yet"]
    assert reasons(made) == ["no_bill"]


def test_a_bill_without_logs_says_so_at_the_full_amount() -> None:
    world = clean(400, 12, 7)
    logs = World(world.usage.filter(pl.col("scope") != "aws"), world.bill)
    made = reconciled(logs)
    assert causes(made) == {"missing_usage": total(world, "aws")}
    assert made.summary.filter(pl.col("scope") == "aws")["outcome"].to_list() == ["no_logs"]
    assert reasons(made) == ["no_logs"]


def test_a_month_with_nothing_is_empty_and_noted() -> None:
    made = reconcile_month("2020-01", pl.DataFrame(schema=CORE_CHARGE.schema), pl.DataFrame(schema=CORE_BILLING.schema))
    assert made.causes.is_empty()
    assert reasons(made) == ["nothing_to_compare"]


def test_an_agreed_discount_is_marked_and_one_that_was_not_granted_is_claimed() -> None:
    world = clean(400, 12, 7)
    deal = contracts([{"name": "EDP", "kind": "discount", "provider": "openai", "valid_from": date(2026, 1, 1),
                       "discount_pct": Decimal(10), "period": "month"}])
    factor = pl.lit(Decimal("0.9")).cast(pl.Decimal(10, 4))
    here = pl.col("scope") == "openai"
    given = world.bill.with_columns(**{
        n: pl.when(here).then((pl.col(n) * factor).cast(USD)).otherwise(pl.col(n))
        for n in ("list_usd", "billed_usd", "contracted_usd", "effective_usd")})
    granted = reconciled(world.with_bill(given), contracts=deal)
    assert causes(granted) == {"discount": total(world.with_bill(given), "openai") - total(world, "openai")}
    assert granted.causes["agreed"].all()
    assert granted.causes["contract"].unique().to_list() == ["EDP"]
    refused = reconciled(world, contracts=deal)
    assert refused.causes.is_empty()
    owed = refused.learnings.filter(pl.col("kind") == "discount_not_granted")
    assert abs(Decimal(owed["amount_usd"].sum()) - total(world, "openai") / 10) < Decimal("0.000001")
    assert reasons(refused) == ["discount_not_granted"]


def test_explicit_pairs_keep_two_bills_of_one_provider_apart() -> None:
    world = clean(400, 12, 7)
    rows = charges(world).with_columns(source=pl.when(pl.col("project_id") == "proj_b").then(
        pl.lit("openai-b")).otherwise("source"))
    two = bills(world).with_columns(source=pl.when(pl.col("SubAccountId") == "proj_b").then(
        pl.lit("openai-costs-b")).otherwise("source"))
    made = reconcile_month(MONTH, rows, two, options=Options(
        price_book=small_book(), pairs={"openai-costs-b": ("openai-b",), "openai-costs": ("openai",)}))
    assert made.causes.is_empty()
    assert {"openai-costs", "openai-costs-b"} <= set(made.summary["scope"].to_list())


@pytest.mark.parametrize(("style", "expected"), [("delta", (-300, 300)), ("ledger", (-300, 300))])
def test_corrections_of_a_closed_period_give_the_printed_totals(shared: Path, style: str,
                                                                expected: tuple[int, int]) -> None:
    before, after = _focus(shared, "closed_1_original"), _focus(shared, f"closed_1_{style}")
    assert Decimal(before["BilledCost"].sum()) == 1500
    assert before["billing_period"].unique().to_list() == ["2025-05"]
    assert after["billing_period"].unique().to_list() == ["2025-06"]
    both = pl.concat([before, after]).group_by("ResourceId").agg(pl.col("BilledCost", "ListCost").sum()).sort(
        "ResourceId")
    assert [int(n) for n in after.group_by("ResourceId").agg(pl.col("BilledCost").sum()).sort("ResourceId")[
        "BilledCost"].to_list()] == list(expected)
    assert both.rows() == [("R-111", Decimal(1200), Decimal(1600)), ("R-222", Decimal(300), Decimal(400))]


def test_a_replacement_in_an_open_period_gives_the_printed_totals_and_its_own_delta(shared: Path) -> None:
    before, after = _focus(shared, "open_1_original"), _focus(shared, "open_1_replacement")
    assert Decimal(before["BilledCost"].sum()) == Decimal(after["BilledCost"].sum()) == 1500
    assert after.sort("ResourceId")["BilledCost"].to_list() == [Decimal(1200), Decimal(300)]
    late = corrections(before, after, date(2025, 8, 1))
    assert Decimal(late["BilledCost"].sum()) == 0
    assert late["ChargeClass"].unique().to_list() == ["Correction"]
    assert late["billing_period"].unique().to_list() == ["2025-08"]


def _focus(shared: Path, name: str) -> pl.DataFrame:
    path = shared / "data" / "billing" / "focus_spec" / f"correction_{name}.csv"
    options = SourceOptions("focus", issuer="Example", account="a", currency="USD")
    return read_bill(BILL_FORMAT["focus"], [Input(path.name, path)], options).billing


def test_console_months_without_logs_say_what_cannot_be_reconciled(shared: Path) -> None:
    files = sorted((shared / "data" / "traces").glob("anthropic_console_cost_*.csv"))
    bill = read_bill(BILL_FORMAT["anthropic.console_cost"], [Input(f.name, f) for f in files], SourceOptions("console"))
    billed = {"2024-03": "86.39", "2024-04": "296.66", "2024-08": "1.12"}
    for month, amount in billed.items():
        made = reconcile_month(month, pl.DataFrame(schema=CORE_CHARGE.schema), bill.billing,
                               options=Options(price_book=small_book()))
        assert causes(made) == {"missing_usage": Decimal(amount)}
        assert made.summary["outcome"].to_list() == ["no_logs"]
        note = made.findings.filter(pl.col("reason") == "no_logs").row(0, named=True)
        assert note["actual"] == f"a bill of {amount} USD, and no usage logs of {month}"
        assert "against its own prices" in note["mend"]
