"""Invoice documents of each shape, as one kind of record: normal form, AWS invoice summaries, Azure invoices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from costops.transforms.billing.bill import Input
from costops.transforms.billing.issuers import issuer_of
from costops.transforms.billing.text import EXACT, Damaged, amount, instant


@dataclass(frozen=True)
class Line:
    """One line of a document; `focus` where the line came as FOCUS InvoiceDetail."""

    kind: str
    description: str | None
    amount: str | None
    line_id: str
    number: int
    paid: str | None = None
    focus: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """One invoice, credit note or receipt."""

    provider: str
    issuer: str
    invoice_id: str
    document_type: str
    status: str
    currency: str
    month: str | None
    issued_at: datetime | None
    seen_at: datetime | None
    lines: tuple[Line, ...]
    total: Decimal | None
    account: str | None = None
    seller: str | None = None
    due_at: datetime | None = None
    amends: str | None = None
    purchase_order: str | None = None
    payment_currency: str | None = None
    had_lines: bool = True


def documents(told: Any, item: Input) -> tuple[list[Document], int]:
    """The documents of a JSON file and how many records (lines) they hold."""
    found: list[Document]
    if isinstance(told, Mapping) and "InvoiceSummaries" in told:
        found = [_aws(one) for one in told["InvoiceSummaries"]]
    elif isinstance(told, Mapping) and ("properties" in told or "value" in told):
        found = [_azure(one) for one in told.get("value", [told])]
    elif isinstance(told, list) or (isinstance(told, Mapping) and ("lines" in told or "total" in told)):
        found = [_normal(one) for one in (told if isinstance(told, list) else [told])]
    else:
        raise Damaged("no invoice of a known shape: expected lines, InvoiceSummaries or properties")
    count = 0
    numbered: list[Document] = []
    for one in found:
        lines = tuple(Line(**{**line.__dict__, "number": count + at}) for at, line in enumerate(one.lines, start=1))
        count += len(lines)
        numbered.append(Document(**{**one.__dict__, "lines": lines, "seen_at": item.seen_at}))
    return numbered, count


def _normal(one: Mapping[str, Any]) -> Document:
    """Our normal form; a document without lines has one, its total."""
    provider, issuer = issuer_of(one.get("provider"))
    seller = one.get("seller_name")
    given: Sequence[Mapping[str, Any]] = one.get("lines") or []
    lines = tuple(Line(str(line.get("kind") or "usage"), line.get("description"), line.get("amount"),
                       str(line.get("line_id") or f"{line.get('kind') or 'usage'}-{number}"), number)
                  for number, line in enumerate(given, start=1))
    total = amount(one.get("total"))
    month = str(one.get("invoice_month") or "")
    month = f"{month[:4]}-{month[4:6]}" if len(month) == 6 and month.isdigit() else month
    when = str(one.get("period_start") or one.get("issued_on") or "")
    return Document(
        provider or "unknown", str(one.get("issuer") or seller or issuer or "unknown"),
        str(one.get("invoice_id") or f"{one.get('provider')}-{month or when}"),
        str(one.get("document_type") or "invoice"), _status(one.get("status")), str(one.get("currency") or "XXX"),
        month or when[:7] or None, instant(str(one.get("issued_on") or "")), None,
        lines or (Line("amount_due", "Total", one.get("total"), "total", 1),), total,
        account=next(iter(one.get("organization_ids") or []), None) or one.get("account"), seller=seller,
        due_at=instant(str(one.get("due_on") or "")), amends=one.get("amends"),
        purchase_order=one.get("purchase_order"), had_lines=bool(lines))


def _aws(one: Mapping[str, Any]) -> Document:
    """A summary of AWS: what was charged before tax, and the tax; in the currency of the bill and of payment."""
    base, paid = one.get("BaseCurrencyAmount") or {}, one.get("PaymentCurrencyAmount") or {}
    before, total = amount(base.get("TotalAmountBeforeTax")), amount(base.get("TotalAmount"))
    tax = EXACT.subtract(total, before) if total is not None and before is not None else None
    paid_before, paid_total = amount(paid.get("TotalAmountBeforeTax")), amount(paid.get("TotalAmount"))
    lines = [Line("usage", "Charges before tax", base.get("TotalAmountBeforeTax"), "charges", 1,
                  paid.get("TotalAmountBeforeTax"))]
    if tax:
        told = paid_total is not None and paid_before is not None
        paid_tax = EXACT.subtract(paid_total or Decimal(0), paid_before or Decimal(0)) if told else None
        lines.append(Line("tax", "Tax", f"{tax:f}", "tax", 2, f"{paid_tax:f}" if paid_tax is not None else None))
    period, entity = one.get("BillingPeriod") or {}, one.get("Entity") or {}
    kinds = {"INVOICE": "invoice", "CREDIT_MEMO": "credit_note", "PAYMENT_RECEIPT": "receipt"}
    return Document(
        "aws", str(entity.get("InvoicingEntity") or "AWS"), str(one.get("InvoiceId")),
        kinds.get(str(one.get("InvoiceType")), "invoice"), "Issued", str(base.get("CurrencyCode") or "XXX"),
        f"{int(period['Year']):04d}-{int(period['Month']):02d}" if period else None,
        instant(str(one.get("IssuedDate") or "")), None, tuple(lines), total, account=one.get("AccountId"),
        due_at=instant(str(one.get("DueDate") or "")), amends=one.get("OriginalInvoiceId") or None,
        purchase_order=one.get("PurchaseOrderNumber") or None, payment_currency=paid.get("CurrencyCode"))


def _azure(one: Mapping[str, Any]) -> Document:
    """An invoice of the Azure billing API: subtotal and tax. What prepayment covers is no line: it is payment."""
    told = one.get("properties", one)

    def value(name: str) -> str | None:
        return (told.get(name) or {}).get("value")

    lines = [Line("usage", "Subtotal", value("subTotal") or value("billedAmount"), "subtotal", 1)]
    if amount(value("taxAmount")):
        lines.append(Line("tax", "Tax", value("taxAmount"), "tax", 2))
    kinds = {"Invoice": "invoice", "CreditNote": "credit_note", "TaxReceipt": "receipt", "VoidNote": "credit_note"}
    where = str(one.get("id") or "")
    account = where.split("/billingAccounts/")[1].split("/", maxsplit=1)[0] if "/billingAccounts/" in where else None
    return Document(
        "azure", "Microsoft", str(one.get("name") or told.get("name")),
        kinds.get(str(told.get("documentType") or "Invoice"), "invoice"), _status(told.get("status")),
        str((told.get("totalAmount") or told.get("subTotal") or {}).get("currency") or "XXX"),
        str(told.get("invoicePeriodStartDate") or "")[:7] or None, instant(str(told.get("invoiceDate") or "")), None,
        tuple(lines), amount(value("totalAmount")), account=account, due_at=instant(str(told.get("dueDate") or "")),
        amends=told.get("billedDocumentId") or told.get("creditForDocumentId"),
        purchase_order=told.get("purchaseOrderNumber"))


def _status(word: Any) -> str:
    text = str(word or "issued").lower()
    if text.startswith("void"):
        return "Voided"
    return "Open" if text in ("open", "draft", "provisional") else "Issued"
