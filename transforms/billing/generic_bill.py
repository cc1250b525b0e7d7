"""`generic.bill`: any CSV with a month or day, a model, a meter, a count and an amount; columns by configuration."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.grammar_anthropic import TOKEN_TYPES
from costops.transforms.billing.issuers import issuer_of
from costops.transforms.billing.meaning import MAPPED, Meaning, understand, unmapped
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import MEANINGS, Place, billed, col, price_id
from costops.transforms.billing.sheets import read_sheets
from costops.transforms.units import UNIT

_METERS = TOKEN_TYPES | {
    "prompt": "uncached_input", "completion": "output", "uncached": "uncached_input", "cached": "cache_read",
    "cached_input": "cache_read", "cache_hit": "cache_read", "cache_miss": "uncached_input",
    "cache_write": "cache_write_5m", "input_tokens": "uncached_input", "search": "web_search",
    "searches": "web_search", "requests": "request", "images": "image", "seconds": "audio_second",
    "characters": "character", "pages": "page",
}
COLUMNS: dict[str, tuple[str, ...]] = {
    "day": ("day", "date"), "month": ("month", "billing_period", "period"), "model": ("model", "model_id"),
    "meter": ("meter", "unit", "token_type", "kind"), "quantity": ("tokens", "quantity", "count", "usage"),
    "amount": ("amount_usd", "amount", "cost", "cost_usd", "total"), "currency": ("currency",),
    "account": ("account", "account_id", "organization_id"), "project": ("project", "project_id", "workspace"),
    "tier": ("service_tier", "tier"), "region": ("region",), "invoice_id": ("invoice_id", "invoice"),
    "description": ("description", "line_item"), "team": ("team",), "category": ("charge_category", "category"),
    "list_amount": ("list_amount_usd", "list_amount"),
}
"""Our name of a column -> the headers that are taken for it; `columns` in the source's options names others."""


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the files; `amount_usd` and `cost_usd` are dollars, other amounts in the file's currency."""
    yield from read_sheets(delivery, options, str.strip, _rows)


def _rows(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    lower = {name: name.lower() for name in text.columns if not name.startswith("_")}
    wanted = {ours: (options.columns[ours],) if ours in options.columns else names for ours, names in COLUMNS.items()}
    frame = text.rename(lower, strict=False)
    cells = {ours: col(frame, *(name.lower() for name in names)) for ours, names in wanted.items()}
    provider, issuer = issuer_of(options.issuer or options.provider)
    provider = options.provider or provider

    def say(meter: str | None, model: str | None, tier: str | None, region: str | None) -> Meaning:
        word = (meter or "").strip().lower().replace(" ", "_")
        unit = _METERS.get(word) or (word if word in UNIT else word.removesuffix("_tokens"))
        if unit not in UNIT or not model:
            return unmapped(provider, tier=tier, region=region)
        return Meaning(MAPPED, model, unit, tier or "standard", region, None, provider, 1)

    frame = understand(frame.select("_line", **cells), ["meter", "model", "tier", "region"], say)
    start = pl.coalesce("day", pl.col("month") + pl.lit("-01"), pl.col("month"))
    dollars = any(name.lower() in text.rename(lower, strict=False).columns for name in ("amount_usd", "cost_usd"))
    facts = {
        "BilledCost": pl.col("amount"), "ListCost": pl.col("list_amount"),
        "BillingCurrency": pl.coalesce("currency", pl.lit("USD" if dollars else options.currency, dtype=pl.String)),
        "BillingPeriodStart": pl.when(pl.col("month").is_not_null()).then(pl.col("month") + pl.lit("-01")),
        "ChargePeriodStart": start,
        "ChargePeriodEnd": pl.col("day").str.to_date("%Y-%m-%d", strict=False).dt.offset_by("1d")
        .dt.to_string("%Y-%m-%d"),
        "BillingAccountId": pl.col("account"), "SubAccountId": pl.col("project"), "InvoiceId": pl.col("invoice_id"),
        "ChargeDescription": pl.coalesce("description", pl.concat_str("model", "meter", separator=" ",
                                                                      ignore_nulls=True)),
        "ChargeCategory": pl.col("category"), "SkuMeter": pl.col("meter"), "SkuId": pl.col("_slug"),
        "SkuPriceId": pl.when(pl.col("quantity").is_not_null()).then(price_id()),
        "PricingQuantity": pl.col("quantity"), "RegionId": pl.col("region"), "x_Team": pl.col("team"), **MEANINGS,
    }
    name = issuer or options.source
    return billed(frame, facts, Place(
        item, Options(**{**options.__dict__, "issuer": name}),
        ("BillingAccountId", "SubAccountId", "ChargeDescription", "SkuMeter", "x_ModelId", "x_ServiceTier"),
        excerpt=("amount", "month", "day", "model", "meter"),
        defaults={"ServiceName": f"{name} API", "ServiceProviderName": name, "HostProviderName": name,
                  "ChargeFrequency": "Usage-Based", "PricingCategory": "Standard"}))


FORMAT = BillFormat("generic.bill", "core_billing", "period", plan_by_time, read)
