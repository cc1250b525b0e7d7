"""`invoices`: documents as lines of `core_invoice`, from the providers' APIs, our normal form, or a summary.

Taken: FOCUS InvoiceDetail as CSV; CSV or JSON of the normal form (`docs/billing.md`); ListInvoiceSummaries of AWS;
invoices of the Azure billing API; and a summary CSV of what is due by provider and month.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options, Tally
from costops.transforms.billing.columns import INVOICE_DETAIL
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.invoice_documents import Document, Line, documents
from costops.transforms.billing.issuers import issuer_of
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import damaged
from costops.transforms.billing.text import Damaged, Sheet, added, document, fitted, instant, sheet_batches
from costops.transforms.tables import CORE_INVOICE

EMPTY = pl.DataFrame(schema=CORE_INVOICE.schema)
_CATEGORY = {
    "usage": "Usage", "tax": "Tax", "credit": "Credit", "discount": "Credit", "commitment_fee": "Purchase",
    "prepaid_credit": "Purchase", "fee": "Purchase", "amount_due": "Usage",
}
_KINDS = {"Usage": "usage", "Purchase": "commitment_fee", "Tax": "tax", "Credit": "credit",
          "Adjustment": "adjustment"}
_MENDS = {
    "invoice_lines_differ": "compare with the document; the lines are kept as they are",
    "invoice_without_lines": "enter its lines, so that tax and credits can be told from usage",
    "bad_amount": "write the amount as a plain number with a point",
    "missing_time": "give period_start, invoice_month or issued_on",
}


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The lines of the documents of each file."""
    for item in delivery.inputs:
        try:
            if item.uri.lower().removesuffix(".gz").endswith(".json"):
                told, records = documents(document(item.path), item)
            else:
                told, records = _sheet(item)
        except Damaged as why:
            made = damaged(item, options, str(why), dataset="core_invoice")
            yield Batch(EMPTY, made.findings, made.tally)
            continue
        yield _batch(told, records, item, options)


def newest(batches: Sequence[Batch]) -> pl.DataFrame:
    """The lines that count: of each issuer's invoice those of its newest telling."""
    rows = pl.concat([EMPTY, *(batch.rows for batch in batches)])
    last = pl.col("x_AsOf").fill_null(datetime(1970, 1, 1))  # noqa: DTZ001  UTC by convention
    key = ["source", "InvoiceIssuerName", "InvoiceId"]
    rows = rows.filter(last == last.max().over(key))
    again = pl.struct("x_InputId").rank("dense").over(key)
    return rows.filter(again == 1).sort("billing_period", *CORE_INVOICE.sort, nulls_last=True, maintain_order=True)


def _sheet(item: Input) -> tuple[list[Document], int]:
    sheet = Sheet()
    frames = list(sheet_batches(item.path, sheet, rename=str.strip))
    rows = [row for frame in frames for row in frame.iter_rows(named=True)]
    if "InvoiceDetailId" in sheet.header:
        return _details(rows), len(rows)
    if "amount_due_usd" in sheet.header or "amount_due" in sheet.header:
        return [_summary(row) for row in rows], len(rows)
    grouped: dict[tuple[str | None, str | None], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault((row.get("provider"), row.get("invoice_id")), []).append(row)
    found = []
    for lines in grouped.values():
        head = {key: value or None for key, value in lines[0].items()}
        made, _ = documents({**head, "lines": lines}, item)
        found += [Document(**{**one.__dict__, "lines": tuple(
            Line(**{**line.__dict__, "number": int(row["_line"])})
            for line, row in zip(one.lines, lines, strict=True))}) for one in made]
    return found, len(rows)


def _summary(row: Mapping[str, Any]) -> Document:
    provider, issuer = issuer_of(row.get("provider"))
    month = str(row.get("month") or "")
    due = row.get("amount_due_usd") or row.get("amount_due")
    line = Line("amount_due", "Amount due", due, f"total-{month}", int(row["_line"]))
    return Document(provider or "unknown", row.get("issuer") or issuer or "unknown",
                    row.get("invoice_id") or f"summary-{row.get('provider')}-{month}", "summary", "Issued",
                    str(row.get("currency") or "USD"), month, None, instant(str(row.get("as_of") or "")),
                    (line,), None, account=row.get("account"))


def _details(rows: Sequence[Mapping[str, Any]]) -> list[Document]:
    """FOCUS InvoiceDetail rows; each is a document of one line, for its columns stand as they are."""
    found = []
    for row in rows:
        provider, _ = issuer_of(row.get("InvoiceIssuerName"))
        line = Line(_KINDS.get(str(row.get("ChargeCategory")), "adjustment"), row.get("InvoiceDetailDescription"),
                    row.get("BilledCost"), str(row.get("InvoiceDetailId")), int(row["_line"]),
                    focus={name: row.get(name) or None for name in (f.name for f in INVOICE_DETAIL)})
        found.append(Document(
            str(provider or "unknown"), str(row.get("InvoiceIssuerName") or "unknown"), str(row.get("InvoiceId")),
            "invoice", str(row.get("InvoiceIssueStatus") or "Issued"), str(row.get("BillingCurrency") or "XXX"),
            str(row.get("BillingPeriodStart") or "")[:7], None, instant(str(row.get("InvoiceIssueDate") or "")),
            (line,), None, account=row.get("BillingAccountId")))
    return found


def _batch(told: Sequence[Document], records: int, item: Input, options: Options) -> Batch:
    found: list[Finding] = []
    rows: list[dict[str, Any]] = []
    aside = 0
    for one in told:
        start = instant(f"{one.month}-01") if one.month else None
        if start is None:
            aside += len(one.lines)
            found.append(Finding("missing_time", "error", item.uri, one.lines[0].number if one.lines else None,
                                 "month", "YYYY-MM", one.month, mend=_MENDS["missing_time"]))
            continue
        made = [_row(one, line, start, item, options, found) for line in one.lines]
        aside += sum(row is None for row in made)
        kept = [row for row in made if row is not None]
        rows += kept
        total = added(row["BilledCost"] for row in kept)
        if one.total is not None and kept and total != one.total:
            found.append(Finding("invoice_lines_differ", "warning", item.uri, field=one.invoice_id,
                                 expected=f"{one.total:f}", actual=f"{total:f}", amount=total - one.total,
                                 mend=_MENDS["invoice_lines_differ"]))
        if not one.had_lines:
            found.append(Finding("invoice_without_lines", "warning", item.uri, field=one.invoice_id,
                                 actual=f"{one.total}", mend=_MENDS["invoice_without_lines"]))
    frame = pl.DataFrame(rows, schema=CORE_INVOICE.schema, orient="row") if rows else EMPTY
    frame = _numbered(frame)
    return Batch(frame, findings(found, source=options.source, dataset="core_invoice"),
                 Tally(item.uri, records, records - aside, 0, aside))


def _row(one: Document, line: Line, start: datetime, item: Input, options: Options,
         found: list[Finding]) -> dict[str, Any] | None:
    value = fitted(line.amount)
    if value is None:
        found.append(Finding("bad_amount", "error", item.uri, line.number, "amount", "a number", line.amount,
                             excerpt=line.description, mend=_MENDS["bad_amount"]))
        return None
    focus = line.focus
    end = datetime(start.year + start.month // 12, start.month % 12 + 1, 1)  # noqa: DTZ001  UTC by convention
    seen = one.seen_at or item.seen_at
    written = instant(focus.get("InvoiceDetailCreated") or "") or one.issued_at or seen or end
    paid = fitted(focus.get("PaymentCurrencyBilledCost")) if focus else fitted(line.paid)
    return {
        "source": options.source, "billing_period": f"{start:%Y-%m}", "provider": options.provider or one.provider,
        "BilledCost": value, "BillingAccountId": one.account or options.account or "unknown",
        "BillingCurrency": one.currency.upper(),
        "BillingPeriodEnd": instant(focus.get("BillingPeriodEnd") or "") or end,
        "BillingPeriodStart": instant(focus.get("BillingPeriodStart") or "") or start,
        "ChargeCategory": focus.get("ChargeCategory") or _CATEGORY.get(line.kind, "Adjustment"),
        "InvoiceDetailCreated": written, "InvoiceDetailDescription": line.description,
        "InvoiceDetailGrain": focus.get("InvoiceDetailGrain"), "InvoiceDetailId": line.line_id,
        "InvoiceDetailLastUpdated": instant(focus.get("InvoiceDetailLastUpdated") or "") or written,
        "InvoiceId": one.invoice_id, "InvoiceIssueDate": one.issued_at, "InvoiceIssueStatus": one.status,
        "InvoiceIssuerName": options.issuer or one.issuer,
        "PaymentCurrency": focus.get("PaymentCurrency") or one.payment_currency or one.currency.upper(),
        "PaymentCurrencyBilledCost": paid if paid is not None else value,
        "PaymentCurrencyInvoiceDetailId": focus.get("PaymentCurrencyInvoiceDetailId") or line.line_id,
        "PaymentDueDate": instant(focus.get("PaymentDueDate") or "") or one.due_at,
        "PaymentTerms": focus.get("PaymentTerms") or "unknown",
        "PurchaseOrderNumber": focus.get("PurchaseOrderNumber") or one.purchase_order,
        "ReferenceInvoiceId": focus.get("ReferenceInvoiceId") or one.amends or one.invoice_id,
        "x_ChargeKind": line.kind, "x_DocumentType": one.document_type,
        "x_InvoiceTotal": fitted(f"{one.total:f}") if one.total is not None else None,
        "x_SellerName": one.seller, "x_AsOf": seen, "x_InputId": item.input_id, "x_Line": line.number,
    }


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Lines with one id in one invoice told apart by number."""
    again = pl.int_range(pl.len()).over("InvoiceIssuerName", "InvoiceId", "InvoiceDetailId")
    return frame.with_columns(InvoiceDetailId=pl.when(again == 0).then("InvoiceDetailId").otherwise(
        pl.col("InvoiceDetailId") + "-" + (again + 1).cast(pl.String)))


FORMAT = BillFormat("invoices", "core_invoice", "document", plan_by_time, read)
