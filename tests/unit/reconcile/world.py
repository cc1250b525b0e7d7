"""A clean month of any size: requests, and bills in four styles that agree with them to the last digit.

`openai`   by day and project, quantities told, no tier but batch
`anthropic` by day, workspace, tier and region; amounts only
`aws`      by day, tier and region; quantities and list cost told
`mistral`  by month; quantities told
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from random import Random

import polars as pl

from costops.reconcile.exact import usd
from costops.transforms.check import conform
from costops.transforms.prices.book import book
from costops.transforms.tables import CORE_BILLING, CORE_CHARGE

USD = pl.Decimal(38, 18)
MONTH, START = "2026-10", datetime(2026, 10, 1, tzinfo=UTC).replace(tzinfo=None)
UNITS = ("uncached_input", "cache_read", "output")


@dataclass(frozen=True)
class Biller:
    provider: str
    scope: str
    source: str
    bill: str
    issuer: str
    models: dict[str, tuple[str, str, str]]
    projects: tuple[str | None, ...]
    batch: bool
    region: str | None
    daily: bool = True
    told: bool = True


BILLERS: tuple[Biller, ...] = (
    Biller("openai", "openai", "openai", "openai-costs", "OpenAI", {
        "gpt-4o-2024-08-06": ("2.5", "1.25", "10"), "gpt-4o-mini-2024-07-18": ("0.15", "0.075", "0.6"),
        "gpt-5-mini-2025-08-07": ("0.25", "0.025", "2")}, ("proj_a", "proj_b"), batch=True, region=None),
    Biller("anthropic", "anthropic", "anthropic", "anthropic-costs", "Anthropic", {
        "claude-opus-4-5-20251101": ("5", "0.5", "25"), "claude-haiku-4-5-20251001": ("1", "0.1", "5")},
        ("wrkspc_a", "wrkspc_b"), batch=True, region="global", told=False),
    Biller("aws.bedrock", "aws", "bedrock", "bedrock-cur", "AWS", {
        "global.anthropic.claude-haiku-4-5-20251001-v1:0": ("1", "0.1", "5"),
        "amazon.nova-lite-v1:0": ("0.06", "0.015", "0.24")}, (None,), batch=False, region="us-east-1"),
    Biller("mistral_ai", "mistral_ai", "mistral", "mistral-bill", "Mistral AI", {
        "mistral-large-2512": ("0.5", "0.05", "1.5")}, (None,), batch=False, region=None, daily=False),
)
PRICES = {model: dict(zip(UNITS, map(Decimal, prices), strict=True))
          for biller in BILLERS for model, prices in biller.models.items()}
PRICES |= {
    "gpt-4.1-mini-2025-04-14": dict(zip(UNITS, map(Decimal, ("0.4", "0.1", "1.6")), strict=True)),
    "claude-sonnet-4-5-20250929": dict(zip(UNITS, map(Decimal, ("3", "0.3", "15")), strict=True)),
    "amazon.nova-pro-v1:0": dict(zip(UNITS, map(Decimal, ("0.8", "0.2", "3.2")), strict=True)),
}


@dataclass(frozen=True)
class World:
    """Requests (with `n_<unit>` counts) and bill lines (one row per line, before they become FOCUS rows)."""

    usage: pl.DataFrame
    bill: pl.DataFrame
    extra: pl.DataFrame | None = None
    deals: tuple[dict[str, object], ...] = ()

    def with_bill(self, bill: pl.DataFrame) -> World:
        return replace(self, bill=bill)

    def with_line(self, **cells: object) -> World:
        row = pl.DataFrame([cells], schema_overrides={"billed_usd": USD, "quantity": USD})
        return replace(self, extra=row if self.extra is None else pl.concat([self.extra, row], how="diagonal"))


@cache
def small_book() -> pl.DataFrame:
    """The shipped book's entries of these providers only: small, so that look-ups are quick."""
    return book().filter(pl.col("provider").is_in([b.provider for b in BILLERS]))


def price_of(model: str, tier: str | None) -> dict[str, Decimal]:
    return {unit: price * (Decimal("0.5") if tier == "batch" else 1) for unit, price in PRICES[model].items()}


@cache
def clean(requests: int, days: int, seed: int) -> World:
    """A clean month of about so many requests on so many days."""
    rng = Random(seed)
    rows = []
    for biller in BILLERS:
        for number in range(requests // len(BILLERS)):
            model = rng.choice(list(biller.models))
            tier = "batch" if biller.batch and rng.random() < 0.2 else "standard"
            at = START + timedelta(days=number % days if number < days else rng.randrange(days),
                                   seconds=rng.randrange(86_400))
            rows.append((biller.scope, biller.provider, biller.source, model, tier, rng.choice(biller.projects),
                         biller.region, at, rng.randint(50, 4_000_000), rng.randint(0, 90_000),
                         rng.randint(20, 800_000)))
    usage = pl.DataFrame(rows, schema=["scope", "provider", "source", "model_id", "tier", "project", "region", "at",
                                       *(f"n_{u}" for u in UNITS)], orient="row", infer_schema_length=None)
    usage = costed(usage)
    return World(usage, billed(usage))


def costed(usage: pl.DataFrame) -> pl.DataFrame:
    """Requests with a cost per unit."""
    prices = pl.DataFrame([(model, tier, *(price_of(model, tier)[u] for u in UNITS))
                           for model in PRICES for tier in ("standard", "batch", "priority")],
                          schema={"model_id": pl.String(), "tier": pl.String(),
                                  **{f"p_{u}": pl.Decimal(20, 6) for u in UNITS}}, orient="row")
    base = usage.drop([c for c in usage.columns if c.startswith(("c_", "p_"))])
    made = base.join(prices, on=["model_id", "tier"], how="left", maintain_order="left")
    # dollars per million, in millionths, times a count: whole pico-dollars
    return made.with_columns(
        usd(pl.col(f"n_{u}") * pl.col(f"p_{u}").to_physical()).fill_null(0).cast(pl.Decimal(18, 12)).alias(f"c_{u}")
        for u in UNITS).drop(f"p_{u}" for u in UNITS)


def billed(usage: pl.DataFrame) -> pl.DataFrame:
    """The lines that each biller makes of requests."""
    pieces = [usage.select("scope", "provider", "model_id", "tier", "project", "region", day=pl.col("at").dt.date(),
                           unit=pl.lit(u), quantity=pl.col(f"n_{u}").cast(USD), list_usd=pl.col(f"c_{u}").cast(USD))
              for u in UNITS]
    styles = pl.DataFrame([(b.scope, b.bill, b.issuer, b.daily, b.told) for b in BILLERS],
                          schema=["scope", "bill", "issuer", "daily", "told"], orient="row")
    lines = pl.concat(pieces).filter(pl.col("quantity") > 0).join(styles, on="scope", how="left")
    lines = lines.with_columns(
        day=pl.when("daily").then(pl.col("day")),
        tier=pl.when((pl.col("scope") == "openai") & (pl.col("tier") == "standard")).then(None).otherwise("tier"))
    keys = ["scope", "provider", "bill", "issuer", "model_id", "unit", "tier", "project", "region", "day", "told"]
    made = lines.group_by(keys).agg(pl.col("quantity").sum(), pl.col("list_usd").sum()).sort(keys, nulls_last=True)
    return made.with_columns(billed_usd=pl.col("list_usd"), contracted_usd=pl.col("list_usd"),
                             effective_usd=pl.col("list_usd"), basis=pl.lit("assumed_billed"), currency=pl.lit("USD"),
                             rate=pl.lit(None, dtype=USD), kind=pl.lit("usage"), category=pl.lit("Usage"),
                             status=pl.lit("mapped"), commitment=pl.lit(None, dtype=pl.String),
                             period=pl.lit(MONTH), text=pl.lit(None, dtype=pl.String))


def charges(world: World) -> pl.DataFrame:
    """The requests as `core_charge` rows."""
    usage = world.usage
    total = pl.sum_horizontal(pl.col(f"c_{u}") for u in UNITS)
    rows = usage.select(
        "source", "provider", "model_id", "region", service_tier="tier",
        api_key_id=pl.col("key") if "key" in usage.columns else pl.lit(None, dtype=pl.String),
        project_id="project", used_at="at",
        day=pl.col("at").dt.date(), record_id=pl.int_range(pl.len()).cast(pl.String), granularity=pl.lit("request"),
        requests=pl.lit(1), counted=pl.lit(value=True), status=pl.lit("ok"), list_cost_usd=total,
        effective_cost_usd=total,
        price_status=pl.when(pl.col("tier") == "provisioned").then(pl.lit("covered")).otherwise(pl.lit("priced")),
        price_id=pl.col("model_id").str.slice(0, 12) + pl.lit("-") + pl.col("tier"),
        uncached_input_tokens=pl.col("n_uncached_input"), cache_read_tokens=pl.col("n_cache_read"),
        output_tokens=pl.col("n_output"), input_tokens=pl.col("n_uncached_input") + pl.col("n_cache_read"),
        uncached_input_cost_usd=pl.col("c_uncached_input"), cache_read_cost_usd=pl.col("c_cache_read"),
        output_cost_usd=pl.col("c_output"))
    return conform(rows, CORE_CHARGE)


def bills(world: World) -> pl.DataFrame:
    """The lines as `core_billing` rows."""
    lines = world.bill if world.extra is None else pl.concat([world.bill, world.extra], how="diagonal_relaxed")
    first = (pl.col("period") + pl.lit("-01")).str.to_datetime("%Y-%m-%d")
    begin = pl.coalesce(pl.col("day").cast(pl.Datetime("us")), first)
    amount = pl.col("billed_usd").cast(USD)
    told = pl.col("told").fill_null(value=True)
    rows = lines.with_columns(pl.col("period").fill_null(MONTH)).with_row_index("n").select(
        source=pl.col("bill"), billing_period=pl.col("period"), snapshot_id=pl.lit("s"), provider=pl.col("provider"),
        BilledCost=amount, ListCost=pl.coalesce("list_usd", amount),
        ContractedCost=pl.coalesce("contracted_usd", amount),
        EffectiveCost=pl.coalesce("effective_usd", amount), BillingAccountId=pl.lit("payer-") + pl.col("scope"),
        SubAccountId=pl.col("project"),
        x_ApiKeyId=pl.col("key") if "key" in lines.columns else pl.lit(None, dtype=pl.String),
        BillingCurrency=pl.col("currency").fill_null("USD"),
        BillingPeriodStart=first, BillingPeriodEnd=first.dt.offset_by("1mo"), ChargePeriodStart=begin,
        ChargePeriodEnd=pl.when(pl.col("day").is_null()).then(first.dt.offset_by("1mo")).otherwise(
            begin.dt.offset_by("1d")),
        ChargeCategory=pl.col("category").fill_null("Usage"), ChargeDescription=pl.col("text"),
        InvoiceIssuerName=pl.col("issuer"), ServiceCategory=pl.lit("AI and Machine Learning"),
        ServiceName=pl.col("issuer"), ServiceProviderName=pl.col("issuer"), RegionId=pl.col("region"),
        ConsumedQuantity=pl.when(told).then(pl.col("quantity")), CommitmentDiscountId=pl.col("commitment"),
        x_ModelId=pl.col("model_id"), x_UnitName=pl.col("unit"), x_ServiceTier=pl.col("tier"),
        x_Region=pl.col("region"),
        x_Day=pl.col("day"), x_MappingStatus=pl.col("status").fill_null("not_usage"),
        x_ChargeKind=pl.col("kind").fill_null("usage"), x_ListCostBasis=pl.col("basis").fill_null("assumed_billed"),
        x_CostBasis=pl.lit("provider_billed"), x_BillingExchangeRate=pl.col("rate"),
        x_BilledCostUsd=pl.when(pl.col("currency").fill_null("USD") == "USD").then(amount),
        x_SourceRowId=pl.col("n").cast(pl.String), x_InputId=pl.lit("in"), x_Line=pl.col("n").cast(pl.Int64) + 1)
    return conform(rows, CORE_BILLING)
