"""Every source kind that feeds bills, invoices or reference data: one line registers a kind."""

from __future__ import annotations

from costops.transforms.billing import (
    anthropic_costs,
    aws_cur,
    azure_bill,
    focus_bill,
    gcp_bill,
    generic_bill,
    invoices,
    openai_costs,
    query_bills,
    reference,
)
from costops.transforms.billing.bill import BillFormat

BILL_FORMATS: tuple[BillFormat, ...] = (
    openai_costs.FORMAT,
    *anthropic_costs.FORMATS,
    aws_cur.FORMAT,
    gcp_bill.FORMAT,
    azure_bill.FORMAT,
    *query_bills.FORMATS,
    focus_bill.FORMAT,
    generic_bill.FORMAT,
    invoices.FORMAT,
    *reference.FORMATS,
)

BILL_FORMAT: dict[str, BillFormat] = {form.kind: form for form in BILL_FORMATS}
