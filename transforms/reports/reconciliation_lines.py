"""Sums over a reconciled month: `out_reconciliation` has one row per cause, so a line's amounts are counted once."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

ZERO = Decimal(0)
LINE_KEYS: tuple[str, ...] = ("month", "issuer", "source", "account_id", "model_id", "unit", "day")
LINE_AMOUNTS: tuple[str, ...] = ("computed_usd", "billed_usd", "gap_usd")


def lines_of(causes: pl.DataFrame) -> pl.DataFrame:
    """One row per line that has a cause; a `line_id` tells lines apart that look alike."""
    keys = [*LINE_KEYS, *(["line_id"] if "line_id" in causes.columns else [])]
    return causes.select(*keys, *LINE_AMOUNTS, "status").unique(maintain_order=True)


def by_issuer(causes: pl.DataFrame, lines: pl.DataFrame | None = None) -> pl.DataFrame:
    """Computed, billed, gap and what stays unexplained, both directions added, per month and issuer.

    `lines` has every line, also those without a gap; without it, only lines that have a cause are known.
    """
    keys = ["month", "issuer"]
    lines = lines_of(causes) if lines is None else lines
    amounts = lines.group_by(keys).agg(
        *(pl.col(name).sum() for name in LINE_AMOUNTS), pl.len().cast(pl.Int64).alias("lines"),
        (pl.col("gap_usd") == 0).sum().cast(pl.Int64).alias("equal_lines"))
    told = causes.group_by(keys).agg(
        pl.col("cause_usd").filter(pl.col("cause") == "unexplained").abs().sum().alias("unexplained_usd"),
        pl.col("status").unique().sort().str.join(", "))
    return amounts.join(told, on=keys, how="left", nulls_equal=True).with_columns(
        pl.col("unexplained_usd").fill_null(ZERO)).select(
        *keys, "computed_usd", "billed_usd", "gap_usd", "unexplained_usd", "lines", "equal_lines", "status").sort(keys)


def by_cause(causes: pl.DataFrame, keys: tuple[str, ...] = ("issuer",)) -> pl.DataFrame:
    """Cause amounts, largest first; `lines` is how many lines have the cause."""
    summed = causes.filter(pl.col("cause").is_not_null() & (pl.col("cause_usd") != 0)).group_by(*keys, "cause").agg(
        pl.col("cause_usd").sum(), pl.len().cast(pl.Int64).alias("lines"))
    return summed.with_columns(pl.col("cause_usd").abs().alias("_size")).sort(
        *keys, "_size", "cause", descending=[*(False for _ in keys), True, False]).drop("_size")


def largest(causes: pl.DataFrame, most: int) -> pl.DataFrame:
    """The causes with the largest amounts, either way."""
    size = pl.col("cause_usd").abs()
    return causes.filter(pl.col("cause_usd") != 0).sort(
        size, *LINE_KEYS, "cause", descending=[True, *(False for _ in (*LINE_KEYS, "cause"))]).head(most)


def steps(causes: pl.DataFrame, computed: Decimal, billed: Decimal) -> list[tuple[str, str, Decimal, Decimal]]:
    """The steps of a waterfall: computed, one step per cause, billed.

    What no cause row accounts for is a step of its own, so the last total is always what was billed.
    """
    out: list[tuple[str, str, Decimal, Decimal]] = [("Computed", "total", ZERO, computed)]
    now = computed
    for cause, amount in by_cause(causes, ()).select("cause", "cause_usd").iter_rows():
        if amount:
            out.append((cause, "up" if amount > 0 else "down", now, now + amount))
            now += amount
    if now != billed:
        out.append(("no cause named", "up" if billed > now else "down", now, billed))
    return [*out, ("Billed", "total", ZERO, billed)]
