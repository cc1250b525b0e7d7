"""A synthetic month of bills: four issuers, every cause of the contract, causes that sum to each gap."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.reconciliation_data import ReconciliationData

_USD = pl.Decimal(38, 18)
CAUSES: tuple[tuple[str, str, str | None, str, str], ...] = (     # issuer, model, unit, cause, amount
    ("Anthropic, PBC", "claude-sonnet-4-5", "output", "missing_usage", "212.4418"),
    ("Anthropic, PBC", "claude-sonnet-4-5", "web_search", "tool_fee", "31.20"),
    ("Anthropic, PBC", "claude-opus-4-5", "cache_read", "price_book", "18.061"),
    ("OpenAI, LLC", "gpt-5.1", "uncached_input", "tier", "-64.33"),
    ("OpenAI, LLC", "gpt-5.1", "output", "timing", "22.7"),
    ("OpenAI, LLC", "gpt-5-mini", "output", "rounding", "-0.0041"),
    ("OpenAI, LLC", "gpt-5-mini", "output", "extra_usage", "-14.9"),
    ("Amazon Web Services", "nova-pro", "output", "discount", "-121.5"),
    ("Amazon Web Services", "", None, "tax", "88.12"),
    ("Amazon Web Services", "", None, "credit", "-250"),
    ("Google LLC", "gemini-2.5-pro", "output", "fx", "6.65"),
    ("Google LLC", "gemini-2.5-pro", "uncached_input", "price_change", "9.9"),
    ("Google LLC", "imagen-unknown", "image", "unexplained", "3.75"),
)


def causes() -> pl.DataFrame:
    """`out_reconciliation` rows."""
    rows = []
    for number, (issuer, model, unit, cause, amount) in enumerate(CAUSES):
        computed = Decimal(700 + 137 * number) if unit else Decimal(0)
        same = [Decimal(a) for i, m, u, _, a in CAUSES if (i, m, u) == (issuer, model, unit) and unit]
        gap = sum(same, Decimal(0)) if unit else Decimal(amount)
        if len(same) > 1:
            computed = Decimal(1111)
        rows.append({"month": "2026-10", "issuer": issuer, "source": issuer.split()[0].lower().strip(","),
                     "account_id": "acct-1", "model_id": model or None, "unit": unit or cause, "day": None,
                     "computed_usd": computed, "billed_usd": computed + gap, "gap_usd": gap, "cause": cause,
                     "cause_usd": Decimal(amount), "status": "settled", "detail": f"evidence {number}"})
    return pl.DataFrame(rows, schema={
        **dict.fromkeys(("month", "issuer", "source", "account_id", "model_id", "unit"), pl.String()), "day": pl.Date(),
        **dict.fromkeys(("computed_usd", "billed_usd", "gap_usd"), _USD), "cause": pl.String(), "cause_usd": _USD,
        "status": pl.String(), "detail": pl.String()})


def month(**changes: Any) -> ReconciliationData:
    """All that a month can have."""
    given: dict[str, Any] = {
        "month": "2026-10", "generated_at": datetime(2026, 11, 3, 6, 0),
        "causes": causes().with_columns(status=pl.lit("locked")),
        "status": "locked",
        "coverage": pl.DataFrame({"issuer": ["Anthropic, PBC", "OpenAI, LLC"], "unit": ["output", "output"],
                                  "logged_quantity": [81_220_113, 55_120_887],
                                  "billed_quantity": [95_383_004, 55120887],
                                  "coverage": [0.851515, 1.0]}),
        "learnings": pl.DataFrame({
            "kind": ["price", "project_only_billed"], "subject": ["claude-opus-4-5", "ws-legacy-batch"],
            "model_id": ["claude-opus-4-5", None], "unit": ["cache_read", None], "first_day": [date(2026, 10, 1)] * 2,
            "book_usd_per_million": [0.5, None], "billed_usd_per_million": [0.55, None],
            "amount_usd": [Decimal("18.061"), Decimal("212.4418")],
            "action": ["set cache_read to 0.55 from 2026-10-01", "export the logs of this workspace"]}),
        "invoices": pl.DataFrame({"issuer": ["OpenAI, LLC"], "invoice_id": ["INV-0071"], "outcome": ["agrees"],
                                  "difference": [Decimal("0.004")]}),
        "gates": (("unexplained", True, "3.75 of 4.66 allowed"),), "lock_hash": "9f2c" * 16,
        "locked_at": datetime(2026, 11, 3, 6, 5),
        "snapshots": ("openai-costs as of 2026-11-02", "aws cur2 as of 2026-11-02"),
        "run_id": "20261103T060000Z-77aa10", "program_version": "0.1.0", "prepared_by": "M. Example",
    }
    return ReconciliationData(**{**given, **changes})
