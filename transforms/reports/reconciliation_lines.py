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
    """The largest causes, either way, one row per issuer, model and unit with its days; `lines` is how many it sums."""
    keys = ["issuer", "account_id", "model_id", "unit", "cause"]
    detail = pl.col("detail") if "detail" in causes.columns else pl.lit(None, dtype=pl.String)
    told = causes.filter(pl.col("cause_usd") != 0).with_columns(detail=detail).sort(
        pl.col("cause_usd").abs(), descending=True, maintain_order=True).group_by(keys, maintain_order=True).agg(
        pl.col("computed_usd", "billed_usd", "cause_usd").sum(), first=pl.col("day").min(), last=pl.col("day").max(),
        lines=pl.len().cast(pl.Int64), detail=pl.col("detail").drop_nulls().first())
    return told.sort(pl.col("cause_usd").abs(), *keys, descending=[True, *(False for _ in keys)]).head(most)


_UNITS = {"uncached_input": "input", "cache_read": "cached input", "cache_write_5m": "cache write, 5 min",
          "cache_write_1h": "cache write, 1 h"}


def unit_said(unit: str | None) -> str:
    """A unit as people call it: `uncached_input` is input, `cache_read` cached input."""
    return "" if unit is None else _UNITS.get(unit, unit.replace("_", " "))


def effective_of(lines: pl.DataFrame | None) -> pl.DataFrame | None:
    """What usage costs after contracts, per issuer; None where contracts change nothing."""
    if lines is None or "computed_effective_usd" not in lines.columns:
        return None
    made = lines.group_by("issuer").agg(pl.col("computed_effective_usd").sum(), pl.col("computed_usd").sum())
    same = made.filter(pl.col("computed_effective_usd") != pl.col("computed_usd")).is_empty()
    return None if same else made.select("issuer", "computed_effective_usd")


def sides_of(lines: pl.DataFrame | None) -> dict[str | None, str]:
    """Issuers of which a side is missing, in words."""
    if lines is None or not {"requests", "bill_rows"} <= set(lines.columns):
        return {}
    seen = lines.group_by("issuer").agg(logged=pl.col("requests").fill_null(0).sum(),
                                        billed=pl.col("bill_rows").fill_null(0).sum())
    return {issuer: "no bill yet" if logged else "nothing compared" for issuer, logged, billed in seen.iter_rows()
            if not billed} | {issuer: "no usage log" for issuer, logged, billed in seen.iter_rows()
                              if billed and not logged}


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
