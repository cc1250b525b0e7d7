"""Invoices with the bill rows they sum: the issuer and the number make an invoice, never the number alone."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from costops.reconcile.tolerance import agrees, invoice_tolerance, plain
from costops.transforms.billing.issuers import issuer_of

SCHEMA: dict[str, pl.DataType] = {
    "issuer": pl.String(), "invoice_id": pl.String(), "month": pl.String(), "currency": pl.String(),
    "invoice_amount": pl.Decimal(38, 18), "tax_amount": pl.Decimal(38, 18), "bill_amount": pl.Decimal(38, 18),
    "difference": pl.Decimal(38, 18), "tolerance": pl.Decimal(38, 18), "invoice_lines": pl.Int64(),
    "bill_rows": pl.Int64(), "matched_by": pl.String(), "outcome": pl.String(), "detail": pl.String(),
}
_DUE = ("amount_due", "total")


def matched_invoices(invoices: pl.DataFrame, billing: pl.DataFrame, month: str) -> pl.DataFrame:
    """One row per invoice of a month, and per bill of the month that no invoice claims.

    `outcome`: `agrees`, `differs` (outside of FOCUS's tolerance), `open` (exempt: not issued yet), `voided`,
    `no_bill`, `no_invoice`, `currency_differs`. Tax is left out on both sides. A bill that tells invoice numbers is
    matched by them, line by line where it tells lines too; else by issuer, month and currency.
    """
    bills = _bills(billing, month)
    told = _invoices(invoices, month)
    rows: list[tuple[object, ...]] = []
    used: set[tuple[str, str | None, str]] = set()
    loose: dict[tuple[str, str], list[dict[str, object]]] = {}
    for one in told:
        key: tuple[str, str | None, str] = (str(one["key"]), str(one["invoice_id"]), str(one["currency"]))
        if one["status"] == "Voided":
            rows.append(_row(one, month, None, 0, "number", "voided", "a voided invoice is owed by no one"))
        elif key in bills:
            used.add(key)
            rows.append(_compared(one, month, *bills[key], "number"))
        else:
            loose.setdefault((key[0], key[2]), []).append(one)
    for (issuer, currency), several in sorted(loose.items()):
        whole_bill = bills.get((issuer, None, currency))
        if whole_bill is None:
            others = sorted({c for k, _, c in bills if k == issuer} - {currency})
            outcome = "currency_differs" if others else "no_bill"
            detail = (f"the bill is in {', '.join(others)}: amounts of two currencies are not compared" if others
                      else "no bill of this issuer and month is known")
            rows += [_row(one, month, None, 0, "issuer and month", outcome, detail) for one in several]
            continue
        used.add((issuer, None, currency))
        whole = several[0] if len(several) == 1 else _together(several)
        rows.append(_compared(whole, month, *whole_bill, "issuer and month"))
    for key in sorted(set(bills) - used, key=str):
        amount, count = bills[key]
        rows.append((key[0], key[1], month, key[2], None, None, amount, None, None, 0, count, None, "no_invoice",
                     "no invoice is entered for this bill yet"))
    names = _names(invoices, billing)
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.with_columns(pl.col("issuer").replace(names)).sort("issuer", "invoice_id", "currency", nulls_last=True)


def _key(name: str | None) -> str:
    return str(issuer_of(name)[1] or "unknown")


def _names(*frames: pl.DataFrame) -> dict[str, str]:
    names = sorted({name for frame in frames for name in frame["InvoiceIssuerName"].unique().to_list()})
    return {_key(name): name for name in reversed(names)}


def _bills(billing: pl.DataFrame, month: str) -> dict[tuple[str, str | None, str], tuple[Decimal, int]]:
    """Sum and rows of a month's bills without tax, per issuer, invoice number and currency."""
    sums = billing.filter((pl.col("billing_period") == month) & (pl.col("ChargeCategory") != "Tax")).group_by(
        "InvoiceIssuerName", "InvoiceId", "BillingCurrency").agg(pl.col("BilledCost").sum(), pl.len())
    found: dict[tuple[str, str | None, str], tuple[Decimal, int]] = {}
    for issuer, invoice, currency, amount, count in sums.iter_rows():
        key = (_key(issuer), invoice, currency)
        before, rows = found.get(key, (Decimal(0), 0))
        found[key] = (before + amount, rows + count)
    return found


def _invoices(invoices: pl.DataFrame, month: str) -> list[dict[str, object]]:
    """The month's invoices: what they ask for without tax; a document without lines asks for its total."""
    mine = invoices.filter(pl.col("billing_period") == month)
    if mine.is_empty():
        return []
    due = pl.col("x_ChargeKind").is_in(_DUE)
    tax = pl.col("ChargeCategory") == "Tax"
    found = mine.group_by("InvoiceIssuerName", "InvoiceId", "BillingCurrency", maintain_order=True).agg(
        amount=pl.col("BilledCost").filter(~tax).sum(), tax=pl.col("BilledCost").filter(tax).sum(),
        lines=pl.len(), whole=due.all(), total=pl.col("x_InvoiceTotal").first(),
        status=pl.col("InvoiceIssueStatus").first())
    return [{"key": _key(row["InvoiceIssuerName"]), "invoice_id": row["InvoiceId"], "currency": row["BillingCurrency"],
             "amount": row["amount"], "tax": row["tax"], "lines": 0 if row["whole"] else row["lines"],
             "status": row["status"]} for row in found.iter_rows(named=True)]


def _together(several: Sequence[dict[str, object]]) -> dict[str, object]:
    """Invoices of one issuer and month that the bill does not tell apart, as one."""
    def added(name: str) -> Decimal:
        return sum((Decimal(str(one[name])) for one in several), Decimal(0))

    return {**several[0], "invoice_id": " + ".join(sorted(str(one["invoice_id"]) for one in several)),
            "amount": added("amount"), "tax": added("tax"), "lines": int(added("lines")),
            "status": "Open" if any(one["status"] == "Open" for one in several) else "Issued"}


def _compared(one: dict[str, object], month: str, amount: Decimal, count: int, by: str) -> tuple[object, ...]:
    asked, currency = Decimal(str(one["amount"])), str(one["currency"])
    difference = asked - amount
    if one["status"] == "Open":
        outcome, detail = "open", "not issued yet: no tolerance applies"
    elif agrees(difference, count, currency):
        outcome, detail = "agrees", "" if one["lines"] else "the document has no lines: its total was compared"
    else:
        outcome = "differs"
        side = "more" if difference > 0 else "less"
        detail = (f"the invoice asks {plain(abs(difference))} {currency} {side} than its {count} bill rows sum to; "
                  f"{plain(invoice_tolerance(count, currency))} is allowed")
    return _row(one, month, amount, count, by, outcome, detail)


def _row(one: dict[str, object], month: str, amount: Decimal | None, count: int, by: str, outcome: str,
         detail: str) -> tuple[object, ...]:
    asked, currency = Decimal(str(one["amount"])), str(one["currency"])
    return (one["key"], one["invoice_id"], month, currency, asked, Decimal(str(one["tax"])), amount,
            None if amount is None else asked - amount,
            None if amount is None else invoice_tolerance(count, currency), one["lines"], count, by, outcome, detail)
