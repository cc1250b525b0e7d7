"""`openai.costs`: pages of /organization/costs, in dollars, by day, project and line item."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.grammar_openai import line_item
from costops.transforms.billing.meaning import understand
from costops.transforms.billing.pages import Bucket, Shape, read_pages, table
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import MEANINGS, Place, billed, price_id

_COLUMNS = ("start", "end", "value", "currency", "line_item", "project_id", "organization_id", "organization_name",
            "project_name", "api_key_id", "user_id", "api_source", "quantity", "quantity_unit")
_FACTS = {
    "BilledCost": pl.col("value"), "BillingCurrency": pl.col("currency"),
    "ChargePeriodStart": pl.col("start"), "ChargePeriodEnd": pl.col("end"),
    "BillingAccountId": pl.col("organization_id"), "BillingAccountName": pl.col("organization_name"),
    "SubAccountId": pl.col("project_id"), "SubAccountName": pl.col("project_name"),
    "SubAccountType": pl.when(pl.col("project_id").is_not_null()).then(pl.lit("Project")),
    "ChargeDescription": pl.col("line_item"), "SkuMeter": pl.col("line_item"),
    "SkuId": pl.coalesce("_slug", pl.col("line_item").str.to_lowercase()),
    "SkuPriceId": pl.when(pl.col("quantity").is_not_null()).then(price_id()),
    "PricingQuantity": pl.col("quantity"), "PricingUnit": pl.col("quantity_unit"),
    "x_ApiKeyId": pl.col("api_key_id"), "x_PrincipalId": pl.col("user_id"),
    **MEANINGS,
}
_DEFAULTS = {
    "ServiceName": "OpenAI API", "InvoiceIssuerName": "OpenAI", "ServiceProviderName": "OpenAI",
    "HostProviderName": "OpenAI", "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
    "PricingCategory": "Standard", "BillingAccountType": "Organization",
}


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the pages; `amount.value` counts as number and as string alike."""
    yield from read_pages(delivery, options, Shape("start_time", "end_time"), _page)


def _page(buckets: list[Bucket], item: Input, options: Options) -> Batch:
    rows = []
    for bucket in buckets:
        for number, result in enumerate(bucket.results):
            amount = result.get("amount") or {}
            rows.append({**result, "value": amount.get("value"), "currency": amount.get("currency"),
                         "start": bucket.start, "end": bucket.end, "_line": bucket.first_line + number})
    frame = understand(table(rows, _COLUMNS), ["line_item", "quantity_unit"], line_item)
    return billed(frame, _FACTS, Place(
        item, options, ("BillingAccountId", "SubAccountId", "ChargeDescription", "x_ApiKeyId", "x_PrincipalId"),
        excerpt=("value", "currency", "line_item", "project_id"), defaults=_DEFAULTS))


FORMAT = BillFormat("openai.costs", "core_billing", "day", plan_by_time, read)
