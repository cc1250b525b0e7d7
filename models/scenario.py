"""What if: pure changes of token volumes and prices, and what they change in money.

Volumes are long: day, model_id, unit, tier, quantity. Prices are model_id, unit, tier, valid_from,
price_usd for one unit. Extra volume columns (team, application) are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from costops.models.budget import spread

UNCACHED, CACHED = "uncached_input_tokens", "cache_read_tokens"
WRITTEN = ("cache_write_5m_tokens", "cache_write_1h_tokens")
STANDARD, BATCH = "standard", "batch"


class ScenarioError(ValueError):
    """A scenario cannot be computed: a share out of range, or a volume without a price."""


def _share(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise ScenarioError(f"{name} is {value}; expected a share between 0 and 1")
    return value


def _tidy(volumes: pl.DataFrame) -> pl.DataFrame:
    """Return volumes with one row per key and no empty rows."""
    keys = [c for c in volumes.columns if c != "quantity"]
    summed = volumes.group_by(keys, maintain_order=True).agg(pl.col("quantity").sum())
    return summed.filter(pl.col("quantity") != 0).select(volumes.columns)


def _float(volumes: pl.DataFrame) -> pl.DataFrame:
    return volumes.with_columns(pl.col("quantity").cast(pl.Float64))


def move_traffic(
    volumes: pl.DataFrame, *, source: str, target: str, share: float, start: date | None = None
) -> pl.DataFrame:
    """Return volumes with a share of one model's traffic on another; the token counts stay the same."""
    _share(share, "share")
    frame = _float(volumes)
    moving = pl.col("model_id") == source
    if start is not None:
        moving = moving & (pl.col("day") >= start)
    moved = frame.filter(moving).with_columns(model_id=pl.lit(target), quantity=pl.col("quantity") * share)
    rest = frame.with_columns(quantity=pl.when(moving).then(pl.col("quantity") * (1 - share)).otherwise("quantity"))
    return _tidy(pl.concat([rest, moved]))


def set_cache_rate(
    volumes: pl.DataFrame, *, rate: float, model: str | None = None, start: date | None = None
) -> pl.DataFrame:
    """Return volumes in which `rate` of all input tokens is read from cache; their sum stays the same.

    What is not read is plain or written to the cache in the shares of before: more reads mean fewer writes. Where
    everything was read before, the rest is plain.
    """
    _share(rate, "rate")
    frame = _float(volumes)
    touched = pl.col("unit").is_in([UNCACHED, CACHED, *WRITTEN])
    if model is not None:
        touched = touched & (pl.col("model_id") == model)
    if start is not None:
        touched = touched & (pl.col("day") >= start)
    keys = [c for c in frame.columns if c not in ("unit", "quantity")]
    own = {unit: pl.col("quantity").filter(pl.col("unit") == unit).sum() for unit in (UNCACHED, *WRITTEN)}
    total = frame.filter(touched).group_by(keys, maintain_order=True).agg(pl.col("quantity").sum(), **own)
    rest = pl.sum_horizontal(UNCACHED, *WRITTEN)
    parts = {CACHED: pl.lit(rate), **{unit: (1 - rate) * (
        pl.when(rest > 0).then(pl.col(unit) / rest).otherwise(1.0 if unit == UNCACHED else 0.0)) for unit in own}}
    split = [
        total.with_columns(unit=pl.lit(unit), quantity=pl.col("quantity") * part).select(frame.columns)
        for unit, part in parts.items()
    ]
    return _tidy(pl.concat([frame.filter(~touched), *split]))


def bounds(ahead: pl.DataFrame, rho: float) -> pl.DataFrame:
    """Return by how much of its mean the total of each forecast may lie below and above it: unique_id, below, above.

    The 95 % bounds of the days, their errors correlated by `rho`. A series that is expected to be nothing has none.
    """
    rows = []
    for (name,), own in ahead.sort("ds").group_by("unique_id", maintain_order=True):
        centre, whole = own["yhat"].to_numpy(), float(own["mean"].sum())
        sides = ((centre - own["lo95"].to_numpy()) / 1.96, (own["hi95"].to_numpy() - centre) / 1.96)
        below, above = (1.96 * float(spread(np.maximum(side, 0.0), rho)[-1]) for side in sides)
        rows.append((name, min(below / whole, 1.0) if whole > 0 else 0.0, above / whole if whole > 0 else 0.0))
    return pl.DataFrame(rows, schema={"unique_id": pl.String, "below": pl.Float64, "above": pl.Float64}, orient="row")


def set_batch_share(
    volumes: pl.DataFrame, *, share: float, model: str | None = None, start: date | None = None
) -> pl.DataFrame:
    """Return volumes in which `share` of the standard and batch traffic runs as batch."""
    _share(share, "share")
    frame = _float(volumes)
    touched = pl.col("tier").is_in([STANDARD, BATCH])
    if model is not None:
        touched = touched & (pl.col("model_id") == model)
    if start is not None:
        touched = touched & (pl.col("day") >= start)
    keys = [c for c in frame.columns if c not in ("tier", "quantity")]
    total = frame.filter(touched).group_by(keys, maintain_order=True).agg(pl.col("quantity").sum())
    split = [
        total.with_columns(tier=pl.lit(tier), quantity=pl.col("quantity") * part).select(frame.columns)
        for tier, part in ((STANDARD, 1 - share), (BATCH, share))
    ]
    return _tidy(pl.concat([frame.filter(~touched), *split]))


def grow(volumes: pl.DataFrame, *, factor: float, start: date | None = None, model: str | None = None) -> pl.DataFrame:
    """Return volumes multiplied by `factor` from `start` on."""
    if factor < 0:
        raise ScenarioError(f"factor is {factor}; expected zero or more")
    touched = pl.lit(value=True)
    if start is not None:
        touched = touched & (pl.col("day") >= start)
    if model is not None:
        touched = touched & (pl.col("model_id") == model)
    return _float(volumes).with_columns(
        quantity=pl.when(touched).then(pl.col("quantity") * factor).otherwise("quantity")
    )


def change_price(
    prices: pl.DataFrame,
    *,
    model: str,
    start: date,
    factor: float | None = None,
    unit: str | None = None,
    price: float | None = None,
) -> pl.DataFrame:
    """Return prices with a dated change appended: times `factor`, or to `price` for one unit."""
    if (factor is None) == (price is None):
        raise ScenarioError("give either a factor or a price")
    touched = pl.col("model_id") == model
    if unit is not None:
        touched = touched & (pl.col("unit") == unit)
    later = prices.filter(touched & (pl.col("valid_from") > start))
    before = prices.filter(touched & (pl.col("valid_from") <= start))
    in_force = before.sort("valid_from").group_by("model_id", "unit", "tier", maintain_order=True).last()
    if in_force.height == 0:
        raise ScenarioError(f"no price of {model} is in force on {start}; check the model and the date")
    new = pl.lit(price) if price is not None else pl.col("price_usd").cast(pl.Float64) * factor
    changed = pl.concat([in_force.with_columns(valid_from=pl.lit(start)), later]).with_columns(price_usd=new)
    kept = prices.join(changed, on=["model_id", "unit", "tier", "valid_from"], how="anti")
    columns = prices.columns
    return pl.concat([kept.with_columns(pl.col("price_usd").cast(pl.Float64)), changed.select(columns)])


def cost(volumes: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Return the volumes with the price in force on their day and their cost in `cost_usd`."""
    book = prices.select(
        "model_id", "unit", "tier", pl.col("valid_from").cast(pl.Date), pl.col("price_usd").cast(pl.Float64)
    )
    priced = (
        _float(volumes).with_columns(pl.col("day").cast(pl.Date)).sort("day")
        .join_asof(
            book.sort("valid_from"), left_on="day", right_on="valid_from", by=["model_id", "unit", "tier"],
            check_sortedness=False,
        )
    )  # fmt: skip
    lost = priced.filter(pl.col("price_usd").is_null())
    if lost.height:
        first = lost.row(0, named=True)
        raise ScenarioError(
            f"no price of {first['model_id']} {first['unit']} ({first['tier']}) on {first['day']}; "
            f"{lost.height} rows are without a price, add it to the price book with a valid_from"
        )
    return priced.with_columns(cost_usd=pl.col("quantity") * pl.col("price_usd")).drop("valid_from")


def price_forecast(forecasts: pl.DataFrame, members: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Return forecasts of tokens turned into money with the price in force on each future day.

    `members` maps unique_id to model_id, unit and tier. An announced price change is a step on its day,
    not a trend. The total's interval needs errors of its own: do not add up the bounds.
    """
    columns = [c for c in ("yhat", "mean", "lo80", "hi80", "lo95", "hi95") if c in forecasts.columns]
    joined = forecasts.join(
        members.select("unique_id", "model_id", "unit", "tier"), on="unique_id", maintain_order="left"
    )
    one = joined.with_columns(day=pl.col("ds"), quantity=pl.lit(1.0))
    priced = cost(one, prices)
    return (
        priced.with_columns(pl.col(columns) * pl.col("price_usd"))
        .drop("day", "quantity", "cost_usd")
        .sort("unique_id", "ds")
    )


def compare(base: pl.DataFrame, changed: pl.DataFrame, *, by: Sequence[str] = ("day",)) -> pl.DataFrame:
    """Return baseline and scenario cost and their difference, per group; `by=()` gives the total alone."""
    keys = list(by)

    def total(frame: pl.DataFrame, name: str) -> pl.DataFrame:
        if keys:
            return frame.group_by(keys).agg(pl.col("cost_usd").sum().alias(name))
        return frame.select(pl.col("cost_usd").sum().alias(name))

    left, right = total(base, "base_usd"), total(changed, "scenario_usd")
    joined = (
        left.join(right, on=keys, how="full", coalesce=True) if keys else pl.concat([left, right], how="horizontal")
    )
    filled = joined.with_columns(pl.col("base_usd", "scenario_usd").fill_null(0.0))
    out = filled.with_columns(difference_usd=pl.col("scenario_usd") - pl.col("base_usd"))
    return out.sort(keys) if keys else out
