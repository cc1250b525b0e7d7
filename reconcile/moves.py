"""Usage that both sides count, under different keys: another model, tier, region or day.

A surplus of tokens on one line and the same number missing on another that differs in one dimension is the same
usage. Equal counts of tokens do not happen by chance, so nothing short of equality is taken for a move.
"""

from __future__ import annotations

import polars as pl

from costops.reconcile.exact import COUNT
from costops.reconcile.match import KEY, TOKENS

FEWEST = 16
"""Counts below this are too common to prove anything."""

ANY = "any"
"""How a line that does not tell a dimension is called."""

NEAR_DAYS = 3
"""How late usage may be on a bill and still be the same usage."""

DIMENSIONS: tuple[tuple[str, str], ...] = (
    ("model_mapping", "model_id"), ("tier", "tier"), ("region", "region"), ("same", "project"), ("timing", "day"),
)
"""Cause and the dimension that differs, in the order of the contract; usage under another project costs the same."""


def joined(lines: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lines in which a bill-only and a logs-only line of the same usage have become one, and what was joined.

    `lines` needs `bought` (the billed quantity, told or implied). The joined line has the bill's key, `moved` names
    the cause and `moved_from` the logs' word for the dimension.
    """
    lines = lines.with_columns(moved=pl.lit(None, dtype=pl.String), moved_from=pl.lit(None, dtype=pl.String))
    for cause, name in DIMENSIONS:
        if name == "day":
            continue
        pairs = _pairs(lines.filter(pl.col("on_bill") != pl.col("in_logs")), name)
        if pairs.height:
            lines = _merge(lines, pairs, cause, name)
    for cause, name in (("tier", "tier"), ("region", "region")):
        pairs = _scaled(lines.filter(pl.col("on_bill") != pl.col("in_logs")), name)
        if pairs.height:
            lines = _merge(lines, pairs, cause, name)
    return lines, lines.filter(pl.col("moved").is_not_null())


def shifted(lines: pl.DataFrame) -> pl.DataFrame:
    """`line_id`, `cause`, `detail` of lines whose difference of quantity is the opposite of another's."""
    left = lines.filter((pl.col("bought") != pl.col("logged")) & pl.col("unit").is_in(TOKENS)
                        & pl.col("in_month") & (pl.col("covered_quantity") == 0))
    found: list[pl.DataFrame] = []
    for cause, name in DIMENSIONS:
        pairs = _pairs(left, name)
        if name == "day":
            pairs = pairs.filter((pl.col("more_value").str.to_date(strict=False)
                                  - pl.col("less_value").str.to_date(strict=False)).abs()
                                 <= pl.duration(days=NEAR_DAYS))
        if not pairs.height:
            continue
        told = pl.concat([
            pairs.select(line_id="more", cause=pl.lit(cause), other="less_value"),
            pairs.select(line_id="less", cause=pl.lit(cause), other="more_value")])
        found.append(told.with_columns(detail=pl.lit(f"the same count stands under {name} ") + pl.col("other"),
                                       cause=pl.col("cause").replace({"same": "quantity"})).drop("other"))
        left = left.join(told, on="line_id", how="anti")
    found += [_rolling(left), _classes(left)]
    return pl.concat(found).unique("line_id", keep="first", maintain_order=True)


def elsewhere(lines: pl.DataFrame, far: pl.DataFrame) -> pl.DataFrame:
    """Lines of usage that this month's bill lacks and another month's bill holds: `line_id`, `cause`, `detail`."""
    if not far.height:
        return pl.DataFrame(schema={"line_id": pl.UInt32(), "cause": pl.String(), "detail": pl.String()})
    short = lines.filter(pl.col("bought") < pl.col("logged")).with_columns(
        _missing=(pl.col("logged") - pl.col("bought")).cast(COUNT))
    held = far.select(*KEY, _held="billed_quantity", _amount="list_usd", _period="period")
    met = short.join(held, on=list(KEY), nulls_equal=True).filter(
        (pl.col("_held") == pl.col("_missing")) | (~pl.col("on_bill") & (pl.col("_amount") == pl.col("computed_usd"))))
    return met.select("line_id", cause=pl.lit("timing"), detail=pl.lit("on the bill of ") + pl.col("_period"))


def _pairs(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """Surplus (`more`) and lack (`less`) of the same count on lines that differ in `name` alone."""
    rest = [key for key in KEY if key != name]
    odd = lines.filter(pl.col("unit").is_in(TOKENS) & (pl.col("bought") != pl.col("logged"))).select(
        "line_id", *KEY,
        _count=(pl.col("bought") - pl.col("logged")).abs().cast(COUNT), _more=pl.col("bought") > pl.col("logged"),
        _value=pl.col(name).cast(pl.String).fill_null(ANY)).filter(pl.col("_count") >= FEWEST)
    odd = odd.sort(*KEY, nulls_last=True).with_columns(_place=pl.int_range(pl.len()).over(*rest, "_count", "_more"))
    on = [*rest, "_count", "_place"]
    more = odd.filter("_more").select(*on, more="line_id", more_value="_value")
    less = odd.filter(~pl.col("_more")).select(*on, less="line_id", less_value="_value")
    return more.join(less, on=on, nulls_equal=True).filter(pl.col("more_value") != pl.col("less_value")).sort("more")


def _scaled(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    """Pairs of lines without a billed quantity that differ in `name` alone and by one short factor throughout.

    Only where a key has one line on either side, and two pairs at least agree on the factor (1.1, 0.5 ...).
    """
    rest = [key for key in KEY if key != name]
    told = lines.filter(pl.col("unit").is_in(TOKENS)).with_columns(_value=pl.col(name).fill_null(ANY))
    more = told.filter(pl.col("on_bill") & pl.col("billed_quantity").is_null()).select(
        *rest, more="line_id", more_value="_value", _asked="asked_n")
    less = told.filter("in_logs").select(*rest, less="line_id", less_value="_value",
                                         _cost=pl.col("computed_usd").cast(pl.Float64))
    met = more.join(less, on=rest, nulls_equal=True).filter(
        (pl.len().over("more") == 1) & (pl.len().over("less") == 1) & (pl.col("_cost") > 0))
    met = met.with_columns(_k=pl.col("_asked") / pl.col("_cost")).with_columns(_short=pl.col("_k").round(2))
    met = met.filter((pl.col("_k") - pl.col("_short")).abs() <= 1e-6)
    return met.filter(pl.len().over("scope", "more_value", "less_value", "_short") > 1).sort("more")


_COMPUTED = ("logged", "computed_usd", "computed_effective_usd", "requests", "unpriced", "covered_quantity",
             "usage_source", "usage_sources", "used_provider", "logged_model", "served", "price_ids")


def _merge(lines: pl.DataFrame, pairs: pl.DataFrame, cause: str, name: str) -> pl.DataFrame:
    computed = lines.select("line_id", *(pl.col(c).alias(f"_{c}") for c in _COMPUTED))
    told = pairs.select(line_id="more", _less="less", _from="less_value").join(
        computed, left_on="_less", right_on="line_id")
    merged = lines.join(told, on="line_id", how="left", maintain_order="left").with_columns(
        **{c: pl.when(pl.col("_less").is_not_null()).then(pl.col(f"_{c}")).otherwise(pl.col(c)) for c in _COMPUTED},
        in_logs=pl.col("in_logs") | pl.col("_less").is_not_null(),
        moved=pl.when(pl.col("_less").is_not_null()).then(pl.lit(cause)).otherwise(pl.col("moved")),
        moved_from=pl.when(pl.col("_less").is_not_null()).then(pl.lit(f"{name} ") + pl.col("_from"))
        .otherwise(pl.col("moved_from")))
    gone = pairs.select(line_id="less")
    return merged.drop("_less", "_from", *(f"_{c}" for c in _COMPUTED)).join(gone, on="line_id", how="anti",
                                                                            maintain_order="left")


def _rolling(left: pl.DataFrame) -> pl.DataFrame:
    """Differences over the days of a month that cancel to the last token: the sides cut days elsewhere."""
    sku = [key for key in KEY if key != "day"]
    odd = left.filter(pl.col("day").is_not_null() & pl.col("on_bill") & pl.col("in_logs"))
    sums = odd.group_by(sku).agg(_net=(pl.col("bought") - pl.col("logged")).sum(), _days=pl.col("day").n_unique())
    met = odd.join(sums.filter((pl.col("_net") == 0) & (pl.col("_days") > 1)), on=sku, nulls_equal=True)
    return met.select("line_id", cause=pl.lit("timing"),
                      detail=pl.lit("the month's counts agree, the days are cut at another hour"))


def _classes(left: pl.DataFrame) -> pl.DataFrame:
    """Tokens that one side counts as one class and the other as another (cached or not): a matter of quantity."""
    pairs = _pairs(left, "unit")
    told = [pairs.select(line_id=mine, other=f"{theirs}_value")
            for mine, theirs in (("more", "less"), ("less", "more"))]
    return pl.concat(told).select("line_id", cause=pl.lit("quantity"),
                                  detail=pl.lit("the same count stands under ") + pl.col("other"))
