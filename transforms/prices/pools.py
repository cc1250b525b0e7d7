"""Allowances that several requests share, and things billed by time: over aggregated charges, after pricing.

A free pool does not belong to a request: it is drawn down in order over a day or a month by all models that share
it. So charges carry the list price, and the pool's worth is a credit of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from costops.transforms.units import UNITS

_USD = pl.Decimal(38, 12)


@dataclass(frozen=True)
class Pool:
    """A free quantity of a unit per `day` or `month` and account, shared by models of a provider by a prefix."""

    provider: str
    model_prefix: str
    unit_column: str
    free: int
    per: str


POOLS: tuple[Pool, ...] = (
    Pool("gcp.gemini", "gemini-3", "web_searches", 5_000, "month"),
    Pool("gcp.gemini", "gemini-4", "web_searches", 5_000, "month"),
    Pool("gcp.gemini", "gemini-2", "web_searches", 1_500, "day"),
    Pool("gcp.vertex_ai", "gemini-3", "web_searches", 5_000, "month"),
    Pool("gcp.vertex_ai", "gemini-2.5-pro", "web_searches", 10_000, "day"),
    Pool("gcp.vertex_ai", "gemini-2", "web_searches", 1_500, "day"),
)
"""Free grounding with Google Search; https://ai.google.dev/gemini-api/docs/pricing, checked 2026-11-25."""


def pool_credits(charges: pl.DataFrame, pools: tuple[Pool, ...] = POOLS) -> pl.DataFrame:
    """The worth of free pools: per provider, account and period the units used, free, and the credit (negative).

    `charges` has provider, model_id, account_id, day, the unit's count and cost columns. Where models of one pool
    have different prices, free units are taken in the order of day and model.
    """
    found = []
    for number, pool in enumerate(pools):
        taken = [p.model_prefix for p in pools[:number] if p.provider == pool.provider]
        mine = charges.filter((pl.col("provider") == pool.provider)
                              & pl.col("model_id").str.starts_with(pool.model_prefix))
        for prefix in taken:
            if prefix.startswith(pool.model_prefix):
                mine = mine.filter(~pl.col("model_id").str.starts_with(prefix))
        found.append(_drawn(mine, pool))
    return pl.concat(found).sort("provider", "account_id", "period", "model_prefix")


def _drawn(charges: pl.DataFrame, pool: Pool) -> pl.DataFrame:
    cost = next(unit.cost_column for unit in UNITS if unit.column == pool.unit_column)
    period = pl.col("day").dt.strftime("%Y-%m" if pool.per == "month" else "%Y-%m-%d")
    over = ["provider", "account_id", "period"]
    used = charges.with_columns(period=period).group_by(*over, "day", "model_id").agg(
        used=pl.col(pool.unit_column).fill_null(0).sum(), cost=pl.col(cost).cast(_USD).fill_null(Decimal(0)).sum(),
    ).filter(pl.col("used") > 0).sort(*over, "day", "model_id")
    drawn = used.with_columns(before=pl.col("used").cum_sum().over(over) - pl.col("used")).with_columns(
        free=(pool.free - pl.col("before")).clip(0).clip(upper_bound=pl.col("used")))
    worth = drawn.with_columns(
        credit=-(pl.col("cost") * pl.col("free").cast(pl.Decimal(18, 0)) / pl.col("used").cast(pl.Decimal(18, 0))))
    return worth.group_by(over, maintain_order=True).agg(
        pl.col("used").sum(), pl.col("free").sum(), credit_usd=pl.col("credit").cast(_USD).sum(),
    ).with_columns(model_prefix=pl.lit(pool.model_prefix), unit=pl.lit(pool.unit_column))


def cache_storage_usd(tokens: int, seconds: int, usd_per_million_hours: Decimal) -> Decimal:
    """The cost of holding tokens in an explicit cache: by the token and hour, to the second (Gemini)."""
    return Decimal(tokens) * seconds * usd_per_million_hours / (3_600 * 10**6)


def provisioned_usd(units: int, seconds: int, usd_per_unit_hour: Decimal) -> Decimal:
    """The cost of throughput that is paid by the hour, whatever is used of it; its requests are `covered`."""
    return Decimal(units) * seconds * usd_per_unit_hour / 3_600
