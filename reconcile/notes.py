"""What a person has to know about a month, as findings: what is missing, refused or to be claimed, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from costops.reconcile.billed import Billed
from costops.reconcile.tolerance import plain
from costops.transforms.finding import findings


def month_findings(month: str, billing: pl.DataFrame, bills: Billed, lines: pl.DataFrame, evidence: pl.DataFrame,
              invoices: pl.DataFrame, learnings: pl.DataFrame) -> pl.DataFrame:
    """What a person has to know about the month, each with what to do."""
    day = date.fromisoformat(f"{month}-01")
    told: list[dict[str, Any]] = []

    def note(reason: str, source: str | None, subject: str | None, actual: str, mend: str, **more: Any) -> None:
        told.append({"reason": reason, "source": source or "reconcile", "day": day, "field": subject, "actual": actual,
                     "mend": mend, "severity": "warning", "dataset": "out_reconciliation", **more})

    if lines.is_empty() and not bills.no_rate:
        note("nothing_to_compare", None, month, "neither usage nor a bill", "check the sources' paths and the month")
    for currency in bills.no_rate:
        rows = billing.filter((pl.col("BillingCurrency") == currency) & (pl.col("billing_period") == month))
        note("missing_rate", None, currency, f"{rows.height} bill rows in {currency} were left out",
             f"add a rate of USD to {currency} to a source of kind `fx_rates`", severity="error", records=rows.height)
    seen = set(lines.filter("on_bill")["scope"].to_list())
    logged = set(lines.filter("in_logs")["scope"].to_list())
    for scope in sorted(logged - seen):
        cost = Decimal(lines.filter(pl.col("scope") == scope)["computed_usd"].sum())
        note("no_bill", None, scope, f"{plain(cost)} USD of usage, and no bill of {month} yet",
             "add the bill as a source, or wait for it; until then the month is provisional", amount_usd=cost)
    for scope in sorted(seen - logged):
        cost = Decimal(lines.filter(pl.col("scope") == scope)["report_usd"].sum())
        note("no_logs", None, scope, f"a bill of {plain(cost)} USD, and no usage logs of {month}",
             "add a usage source; without one the bill can only be checked against its own prices and its invoice",
             amount_usd=cost)
    _of_bills(month, billing, note)
    credit = evidence.filter(pl.col("cause") == "credit").group_by("issuer").agg(pl.col("cause_usd").sum())
    totals = lines.group_by("issuer").agg(pl.col("report_usd").sum())
    owed = credit.join(totals, on="issuer").filter(pl.col("report_usd") < 0).sort("issuer")
    for issuer, amount, total in owed.iter_rows():
        note("credit_exceeds_bill", None, issuer, f"credits of {plain(-amount)} USD leave {plain(total)} USD",
             "the rest is a balance in your favour: carry it to the next month", amount_usd=total)
    _of_invoices(invoices, note)
    for row in learnings.filter(pl.col("kind") == "discount_not_granted").iter_rows(named=True):
        note("discount_not_granted", None, row["subject"], f"{row['model_id']}: {plain(row['amount_usd'])} USD",
             row["action"], amount_usd=row["amount_usd"])
    return findings(told)


def _of_invoices(invoices: pl.DataFrame, note: Callable[..., None]) -> None:
    for row in invoices.filter(pl.col("outcome").is_in(["differs", "currency_differs"])).iter_rows(named=True):
        note("invoice_differs", None, row["invoice_id"], row["detail"],
             "ask the issuer which lines make the difference", severity="error", uri=row["issuer"])
    bare = invoices.filter((pl.col("invoice_lines") == 0) & pl.col("invoice_id").is_not_null())
    for row in bare.iter_rows(named=True):
        note("invoice_without_lines", None, row["invoice_id"], "only its total could be compared",
             "enter its lines, so that tax and credits can be told from usage", uri=row["issuer"])


def _of_bills(month: str, billing: pl.DataFrame, note: Callable[..., None]) -> None:
    for source, currencies in billing.filter(pl.col("billing_period") == month).group_by("source").agg(
            pl.col("BillingCurrency").unique().sort()).sort("source").iter_rows():
        if len(currencies) > 1:
            note("two_currencies", source, "BillingCurrency", " and ".join(currencies),
                 "each currency was matched by itself and reported at its own rate; nothing was summed across them")
