"""What moved spend between two stretches of days: volume, mix, size, cache, price, and they add up."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

PARTS = ("volume", "mix", "size", "cache", "price")
STRETCH = 28
"""Days of each of the two stretches that the report compares."""

LEAST_STRETCH = 7
_TOKENS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


def moved(before: pl.DataFrame, after: pl.DataFrame, *, scale: float = 1.0) -> pl.DataFrame:
    """Per model the dollars that each driver moved from `before`, times `scale`, to `after`: rows of daily spend."""
    from costops.models.incident import explain

    return explain(_long(before, scale), _long(after, 1.0))


def stretches(daily: pl.DataFrame, last: date) -> pl.DataFrame | None:
    """The same for the last four weeks against the four before, with what both cost; shorter where less is known."""
    known = daily.filter(pl.col("day") <= last)
    if known.is_empty():
        return None
    first: date = known["day"].min()  # type: ignore[assignment]
    days = min(STRETCH, ((last - first).days + 1) // 2)
    if days < LEAST_STRETCH:
        return None
    start = last - timedelta(days=days)
    after = known.filter(pl.col("day") > start)
    before = known.filter((pl.col("day") <= start) & (pl.col("day") > start - timedelta(days=days)))
    if before.is_empty() or after.is_empty():
        return None
    parts = moved(before, after)
    for name, rows in (("before_usd", before), ("after_usd", after)):
        cost = rows.group_by(_MODEL).agg(pl.col("list_cost_usd").sum().cast(pl.Float64).alias(name))
        parts = parts.join(cost, on="model_id", how="left", maintain_order="left").with_columns(
            pl.col(name).fill_null(0.0))
    return parts.select("model_id", pl.lit(days).alias("days"), "before_usd", *PARTS, "after_usd")


_MODEL = pl.col("model_id").fill_null("unknown")


def _long(daily: pl.DataFrame, scale: float) -> pl.DataFrame:
    """Model, unit, quantity, requests and cost of some days, scaled; what is no text is a unit of its own, in dollars."""
    requests = pl.col("requests").sum().cast(pl.Float64)
    blocks = [daily.group_by(_MODEL).agg(
        pl.lit(f"{name}_tokens").alias("unit"), pl.col(f"{name}_tokens").sum().cast(pl.Float64).alias("quantity"),
        requests, pl.col(f"{name}_cost_usd").sum().cast(pl.Float64).alias("cost_usd")) for name in _TOKENS]
    text = pl.sum_horizontal(pl.col(f"{name}_cost_usd").fill_null(0) for name in _TOKENS)
    rest = (pl.col("list_cost_usd").fill_null(0) - text).sum().cast(pl.Float64)
    blocks.append(daily.group_by(_MODEL).agg(pl.lit("other_usd").alias("unit"), rest.alias("quantity"), requests,
                                             rest.alias("cost_usd")).filter(pl.col("cost_usd").abs() > 1e-9))
    return pl.concat(blocks).with_columns(pl.col("quantity", "requests", "cost_usd") * scale).sort("model_id", "unit")
