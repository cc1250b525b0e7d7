"""Hypotheses about why an amount differs: one factor over a bill, implied quantities, another price of the model.

Here numbers are floats, because hypotheses are compared with a bill and never booked. The amounts of the causes that
follow are exact decimals and made in `explain`.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

SKU = ("scope", "account", "model_id", "unit", "tier", "region")
"""What has one price at a time."""

WIDE = ("scope", "model_id", "unit")
"""The same over all tiers, regions and accounts."""

MOST_DIGITS = 9
LEAST_FACTOR = 1e-4
"""A bill that is nearer to list than this is at list: what is left is rounding."""

_ALMOST = 1e-9
_NO_DAY = pl.lit("1970-01-01").str.to_date()


def shortest(ratio: pl.Expr, slack: pl.Expr) -> pl.Expr:
    """The number with the fewest digits within `slack` of `ratio`: what a person would have meant."""
    told = ratio
    for digits in range(MOST_DIGITS, -1, -1):
        rounded = ratio.round(digits)
        told = pl.when((rounded - ratio).abs() <= slack).then(rounded).otherwise(told)
    return told


def significant(value: pl.Expr, digits: int) -> pl.Expr:
    """True where a number has at most so many significant digits."""
    scale = pl.lit(10.0).pow(pl.lit(digits - 1) - value.abs().log10().floor())
    scaled = value * scale
    return ((scaled - scaled.round(0)).abs() <= scaled.abs() * 1e-7).fill_null(value=False)


def factors(lines: pl.DataFrame) -> pl.DataFrame:
    """The one factor by which a whole bill differs from list, per scope and day: `scope`, `day`, `factor`.

    `lines` needs `list_n` (billed list), `expected_n` (list cost of the billed quantity), `slack_n` and `alts`
    (ratios that other prices of the model would give). A factor is one only if it holds on more than half of the
    lines of a day and for two models, or for everything that a scope with one model has.
    """
    told = lines.filter((pl.col("expected_n") > 0) & (pl.col("list_n") > 0)).select(
        "scope", "model_id", "unit", "list_n", "expected_n", "slack_n", "alts",
        _day=pl.col("day").fill_null(_NO_DAY), _r=pl.col("list_n") / pl.col("expected_n"),
        _slack=pl.col("slack_n") / pl.col("expected_n") + _ALMOST)
    if not told.height:
        return _NO_FACTORS
    far = (pl.col("_r") - 1).abs() > pl.max_horizontal("_slack", pl.lit(LEAST_FACTOR))
    odd = told.filter(far & (pl.col("_slack") < 1e-3)).with_columns(
        _k=shortest(pl.col("_r"), pl.col("_slack")).round(8))
    ranked = odd.group_by("scope", "_k").agg(models=pl.col("model_id").n_unique(), lines=pl.len()).sort(
        "models", "lines", "_k", descending=True).group_by("scope", maintain_order=True).head(6)
    if not ranked.height:
        return _NO_FACTORS
    tried = told.join(ranked.select("scope", "_k"), on="scope")
    fits = ((pl.col("list_n") - pl.col("_k") * pl.col("expected_n")).abs()
            <= pl.col("slack_n") + pl.col("expected_n") * _ALMOST)
    # a line that also has another fault fits where the factor leads to another price of its model
    near = (pl.col("_r") / pl.col("_k"))
    other = pl.col("alts").list.eval((pl.element()).round(7)).list.contains(near.round(7)).fill_null(value=False)
    by_day = tried.with_columns(_fits=fits, _any=fits | other).group_by("scope", "_k", "_day").agg(
        share=pl.col("_any").mean(), n=pl.len(), hits=pl.col("_fits").sum(),
        models=pl.col("model_id").filter("_fits").unique(), units=pl.col("unit").filter("_fits").unique(),
        whole=pl.col("_any").all(), at_list=((pl.col("_r") - 1).abs() <= pl.col("_slack")).sum())
    days = by_day.filter((pl.col("share") > 0.5) & (pl.col("hits") > 0))
    there = told.group_by("scope").agg(_models=pl.col("model_id").n_unique())
    sums = days.group_by("scope", "_k").agg(
        models=pl.col("models").list.explode().n_unique(), units=pl.col("units").list.explode().n_unique(),
        whole=pl.col("whole").all(), hits=pl.col("hits").sum()).join(there, on="scope")
    good = sums.filter((pl.col("models") >= 2) | (
        (pl.col("_models") == 1) & (pl.col("units") >= 2) & pl.col("whole") & (pl.col("_k") < 1)))
    best = days.join(good.select("scope", "_k"), on=["scope", "_k"]).sort(
        "scope", "_day", "share", "hits", "_k", descending=[False, False, True, True, False]).unique(
        ["scope", "_day"], keep="first", maintain_order=True)
    verdicts = told.select("scope", "_day").unique().join(best.select("scope", "_day", factor="_k"),
                                                          on=["scope", "_day"], how="left")
    # a day on which nothing could be compared is billed as the days around it
    blank = lines.select("scope", _day=pl.col("day").fill_null(_NO_DAY)).unique().join(
        verdicts, on=["scope", "_day"], how="anti").sort("_day")
    known = verdicts.sort("_day").rename({"_day": "_at"})
    around = blank.join_asof(known, left_on="_day", right_on="_at", by="scope", strategy="nearest",
                            check_sortedness=False).select("scope", "_day", "factor")
    return pl.concat([verdicts, around]).drop_nulls("factor").select(
        "scope", "factor", day=pl.when(pl.col("_day") == _NO_DAY).then(None).otherwise(pl.col("_day")))


_NO_FACTORS = pl.DataFrame(schema={"scope": pl.String(), "day": pl.Date(), "factor": pl.Float64()})


def steady(lines: pl.DataFrame) -> pl.DataFrame:
    """Per line the ratio that it shares with others of its model and unit: `line_id`, `ratio`, `pattern`.

    `pattern`: `step` (from a day on, or until one), `whole` (most of the month), `some` (two lines or more),
    `edge` (one line, at an end of the month), `single`; `alone`: every line has it. Looked for in the tier and
    region first, then over all of them: a price change often holds for all tiers. `lines` needs `asked_n`
    (list-equivalent of the bill), `expected_n` and `slack_n`.
    """
    told = lines.filter((pl.col("expected_n") > 0) & pl.col("on_bill")).select(
        "line_id", *SKU, "asked_n", "expected_n", "slack_n",
        _day=pl.col("day").fill_null(_NO_DAY), _r=pl.col("asked_n") / pl.col("expected_n"),
        _slack=pl.col("slack_n") / pl.col("expected_n") + _ALMOST)
    told = told.with_columns(_off=(pl.col("_r") - 1).abs() > pl.col("_slack"))
    if not told["_off"].any():
        return pl.DataFrame(schema={"line_id": pl.UInt32(), "pattern": pl.String(), "alone": pl.Boolean(),
                                    "ratio": pl.Float64()})
    found = pl.concat([_patterns(told, SKU), _patterns(told, WIDE)])
    order = pl.col("pattern").replace_strict({"step": 0, "whole": 1, "some": 2, "edge": 3, "single": 4},
                                             return_dtype=pl.Int8)
    return found.with_columns(_order=order).sort(
        "line_id", "_order", "hits", "alone", "ratio", descending=[False, False, True, True, False]).unique(
        "line_id", keep="first", maintain_order=True).select("line_id", "pattern", "alone", "ratio")


def _patterns(told: pl.DataFrame, sku: Sequence[str]) -> pl.DataFrame:
    odd = told.filter("_off").with_columns(_k=shortest(pl.col("_r"), pl.col("_slack")).round(8))
    top = odd.group_by(*sku, "_k").agg(n=pl.len(), weight=pl.col("expected_n").sum()).sort(
        *sku, "n", "weight", "_k", descending=[*[False] * len(sku), True, True, False], nulls_last=True).group_by(
        sku, maintain_order=True).head(3)
    tried = told.join(top.select(*sku, "_k").rename({"_k": "_try"}), on=list(sku), nulls_equal=True).with_columns(
        _fits=(pl.col("asked_n") - pl.col("_try") * pl.col("expected_n")).abs()
        <= pl.col("slack_n") + pl.col("expected_n") * _ALMOST)
    seen = tried.group_by(*sku, "_try").agg(
        n=pl.len(), hits=pl.col("_fits").sum(), first=pl.col("_day").filter("_fits").min(),
        last=pl.col("_day").filter("_fits").max(), start=pl.col("_day").min(), end=pl.col("_day").max(),
        good=(~pl.col("_off")).sum(),
        good_first=pl.col("_day").filter(~pl.col("_off")).min(),
        good_last=pl.col("_day").filter(~pl.col("_off")).max())
    after = (pl.col("good_last") < pl.col("first")) & (pl.col("last") == pl.col("end"))
    before = (pl.col("good_first") > pl.col("last")) & (pl.col("first") == pl.col("start"))
    edge = (pl.col("good") > 0) & (after | before)
    seen = seen.with_columns(
        pattern=pl.when(edge & (pl.col("hits") >= 2)).then(pl.lit("step"))
        .when((pl.col("hits") >= 2) & (pl.col("hits") * 2 > pl.col("n"))).then(pl.lit("whole"))
        .when(pl.col("hits") >= 2).then(pl.lit("some"))
        .when(edge).then(pl.lit("edge")).otherwise(pl.lit("single")),
        alone=pl.col("n") == pl.col("hits"))
    return tried.filter(pl.col("_fits") & pl.col("_off")).join(
        seen.select(*sku, "_try", "pattern", "hits", "alone"), on=[*sku, "_try"], nulls_equal=True).select(
        "line_id", "pattern", "alone", "hits", ratio="_try")


def other_price(lines: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Lines that are billed exactly at another price of their model: `line_id`, `cause`, `alt_*` as evidence.

    `lines` needs `asked_n`, `bought_n` (billed quantity), `slack_n`. In the order of the contract: another tier or
    context, another date, another region.
    """
    met = lines.filter(pl.col("bought_n") > 0).select(
        "line_id", "provider", "model_id", "unit", "tier", "served", "region", "day", "asked_n", "bought_n",
        "slack_n").join(
        others, on=["provider", "model_id", "unit"])
    met = met.filter((pl.col("asked_n") - pl.col("bought_n") * pl.col("alt_usd")).abs()
                     <= pl.col("slack_n") + pl.col("asked_n").abs() * _ALMOST)
    at = pl.col("day").cast(pl.Datetime("us")).dt.offset_by("12h")
    # a line that sums tiers is at none of them; one that does not tell its tier is at the one that was logged
    own_tier = pl.col("alt_tier") == pl.coalesce("tier", "served", pl.lit("standard"))
    own_place = (pl.col("alt_region") == pl.col("region").fill_null("global")) | (pl.col("alt_region") == "global")
    in_force = at.is_null() | ((at >= pl.col("alt_from")) & (at < pl.col("alt_to")))
    cause = (pl.when(~own_tier & in_force).then(pl.lit("tier"))
             .when(own_tier & own_place & ~in_force).then(pl.lit("price_change"))
             .when(own_tier & in_force & ~own_place).then(pl.lit("region"))
             .when(own_tier & in_force & (pl.col("alt_low") > 0)).then(pl.lit("tier")))
    order = pl.col("cause").replace_strict({"tier": 0, "price_change": 1, "region": 2}, return_dtype=pl.Int8)
    return met.with_columns(cause=cause).drop_nulls("cause").with_columns(_order=order).sort(
        "line_id", "_order", "alt_low", "alt_from", "alt_tier", "alt_region").unique(
        "line_id", keep="first", maintain_order=True).select(
        "line_id", "cause", "alt_tier", "alt_region", "alt_from", "alt_usd", "alt_price_id")
