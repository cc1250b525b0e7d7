"""Sums over `out_reconciliation`: its rows are causes, so a line's amounts are counted once per line."""

from __future__ import annotations

import polars as pl

LINE_KEYS: tuple[str, ...] = ("month", "issuer", "source", "account_id", "model_id", "unit", "day")
LINE_AMOUNTS: tuple[str, ...] = ("computed_usd", "billed_usd", "gap_usd")


def lines(causes: pl.DataFrame) -> pl.DataFrame:
    """One row per bill line; a `line_id` tells lines apart that look alike."""
    keys = [*LINE_KEYS, *(["line_id"] if "line_id" in causes.columns else [])]
    kept = [*keys, *LINE_AMOUNTS, "status"]
    return causes.select(kept).unique(maintain_order=True)


def by_issuer(causes: pl.DataFrame) -> pl.DataFrame:
    """Computed, billed, gap and what stays unexplained per month and issuer."""
    keys = ["month", "issuer"]
    amounts = lines(causes).group_by(keys).agg(
        *(pl.col(name).sum() for name in LINE_AMOUNTS), pl.len().cast(pl.Int64).alias("lines"),
        pl.col("status").unique().sort().str.join(", "))
    open_ = causes.group_by(keys).agg(
        pl.col("cause_usd").filter(pl.col("cause") == "unexplained").sum().alias("unexplained_usd"))
    return amounts.join(open_, on=keys, how="left", nulls_equal=True).select(
        *keys, "computed_usd", "billed_usd", "gap_usd", "unexplained_usd", "lines", "status").sort(keys)


def by_cause(causes: pl.DataFrame, keys: tuple[str, ...] = ("issuer",)) -> pl.DataFrame:
    """Cause amounts, largest first; `lines` is how many lines have the cause."""
    summed = causes.filter(pl.col("cause").is_not_null()).group_by(*keys, "cause").agg(
        pl.col("cause_usd").sum(), pl.len().cast(pl.Int64).alias("lines"))
    return summed.with_columns(pl.col("cause_usd").abs().alias("_size")).sort(
        *keys, "_size", "cause", descending=[*(False for _ in keys), True, False]).drop("_size")
