"""`anthropic.cost_report` (pages, cents as text) and `anthropic.console_cost` (CSV, dollars rounded to cents)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.grammar_anthropic import console_row, cost_row
from costops.transforms.billing.meaning import understand
from costops.transforms.billing.pages import Bucket, Shape, read_pages, table
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import MEANINGS, Place, billed, col
from costops.transforms.billing.sheets import read_sheets
from costops.transforms.billing.text import EXACT, amount

_REPORT = ("start", "end", "amount", "list_amount", "currency", "description", "cost_type", "model", "service_tier",
           "token_type", "context_window", "inference_geo", "speed", "workspace_id", "organization_id")
_SAID = ["cost_type", "model", "token_type", "service_tier", "context_window", "inference_geo", "speed"]
_DEFAULTS = {
    "ServiceName": "Anthropic API", "InvoiceIssuerName": "Anthropic", "ServiceProviderName": "Anthropic",
    "HostProviderName": "Anthropic", "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
    "PricingCategory": "Standard", "BillingAccountType": "Organization", "SubAccountType": "Workspace",
}


def read_report(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the pages: cents become dollars exactly; a NULL workspace is the default one."""
    yield from read_pages(delivery, options, Shape("starting_at", "ending_at"), _page)


def _page(buckets: list[Bucket], item: Input, options: Options) -> Batch:
    rows = [
        {**result, "amount": dollars(result.get("amount")), "list_amount": dollars(result.get("list_amount")),
         "start": bucket.start, "end": bucket.end, "_line": bucket.first_line + number}
        for bucket in buckets for number, result in enumerate(bucket.results)
    ]
    frame = understand(table(rows, _REPORT), _SAID, cost_row)
    facts = {
        "BilledCost": pl.col("amount"), "ListCost": pl.col("list_amount"), "BillingCurrency": pl.col("currency"),
        "ChargePeriodStart": pl.col("start"), "ChargePeriodEnd": pl.col("end"),
        "BillingAccountId": pl.col("organization_id"),
        "SubAccountId": pl.col("workspace_id").fill_null("default"), "ChargeDescription": pl.col("description"),
        "SkuMeter": pl.coalesce("token_type", "cost_type"), "SkuId": pl.col("_slug"),
        "RegionId": pl.col("inference_geo").replace({"not_available": None}),
        "x_Team": pl.col("workspace_id").str.strip_prefix("wrkspc_"),
        "x_Keys": pl.concat_str([pl.col(name).fill_null("") for name in _SAID], separator="|"), **MEANINGS,
    }
    return billed(frame, facts, Place(
        item, options, ("BillingAccountId", "SubAccountId", "ChargeDescription", "x_Keys"),
        excerpt=("amount", "currency", "description", "model", "token_type"), defaults=_DEFAULTS))


def dollars(cents: object) -> str | None:
    """Dollars of an amount in cents, exactly; what is no amount stays as it is, to be found wrong."""
    if cents is None:
        return None
    value = amount(str(cents))
    return f"{value.scaleb(-2, EXACT):f}" if value is not None and abs(value) < Decimal(10) ** 20 else f"cents {cents}"


def read_console(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the console's CSV under any of its headers; amounts are rounded to cents per row."""
    yield from read_sheets(delivery, options, str, _console)


def _console(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    said = {name: col(text, name) for name in (
        "usage_type", "model", "token_type", "context_window", "inference_geo", "speed", "cost_type")}
    frame = understand(text.with_columns(**said), list(said), console_row)
    day = col(frame, "usage_date_utc", "usage_date", "date")
    facts = {
        "BilledCost": col(frame, "cost_usd"), "BillingCurrency": pl.lit("USD"),
        "ChargePeriodStart": day, "ChargePeriodEnd": _next_day(day),
        "SubAccountId": col(frame, "workspace_id", "workspace").fill_null("default"),
        "SubAccountName": col(frame, "workspace"),
        "ChargeDescription": pl.concat_str(col(frame, "model"), pl.lit(" - "), col(frame, "token_type").fill_null(
            col(frame, "cost_type").fill_null("other"))),
        "SkuMeter": pl.coalesce(col(frame, "token_type"), col(frame, "cost_type")), "SkuId": pl.col("_slug"),
        "x_ApiKeyId": col(frame, "api_key_id", "api_key"),
        "x_Keys": pl.concat_str([pl.col(name).fill_null("") for name in said], separator="|"), **MEANINGS,
    }
    return billed(frame, facts, Place(
        item, options, ("SubAccountId", "ChargeDescription", "x_ApiKeyId", "x_Keys"), defaults=_DEFAULTS))


def _next_day(day: pl.Expr) -> pl.Expr:
    return day.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).dt.offset_by("1d").dt.to_string("%Y-%m-%d")


FORMATS = (
    BillFormat("anthropic.cost_report", "core_billing", "day", plan_by_time, read_report),
    BillFormat("anthropic.console_cost", "core_billing", "period", plan_by_time, read_console),
)
