"""Daily series of the lake: the total and each value of some dimensions, long: unique_id, ds, y."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

MOST_VALUES = 40
"""Values of a dimension that get a series of their own; the rest is in the total."""

SCHEMA = {"unique_id": pl.String(), "dimension": pl.String(), "value": pl.String(), "ds": pl.Date(), "y": pl.Float64()}


def daily_series(daily: pl.DataFrame, dimensions: Sequence[str], *, last: date | None = None,
                 delivered_only: bool = False) -> pl.DataFrame:
    """Spend of `out_spend_daily` per day: columns `unique_id, dimension, value, ds, y`.

    Within the life of a series a day without spend is 0: the lake knows its days. With `delivered_only` the days on
    which none of the sources of a series delivered anything are left out instead: they are missing, not cheap.
    `last` cuts off days that are still filling. Money becomes a float here, at the door of the models.
    """
    known = daily if last is None else daily.filter(pl.col("day") <= last)
    if known.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    rows = _cut(known, dimensions)
    long = _filled(rows.group_by(*_IDS, pl.col("day").alias("ds")).agg(_COST), known["day"].max())
    if delivered_only:
        there = known.select("source", pl.col("day").alias("ds")).unique()
        days = rows.select("unique_id", "source").unique().join(there, on="source").select("unique_id", "ds").unique()
        long = long.join(days, on=["unique_id", "ds"], how="semi")
    return long.sort("unique_id", "ds")


def hourly_series(hourly: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
    """Spend of `out_spend_hourly` per hour with any: columns `unique_id, ds` (start of the hour, UTC)`, y`."""
    rows = _cut(hourly.with_columns(day=pl.col("hour")), dimensions)
    return rows.group_by("unique_id", pl.col("day").alias("ds")).agg(_COST).sort("unique_id", "ds")


def series_sources(daily: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
    """What each source is of each day of each series: columns `unique_id, source, ds, y`."""
    return _cut(daily, dimensions).group_by("unique_id", "source", pl.col("day").alias("ds")).agg(_COST)


_IDS = ("unique_id", "dimension", "value")
_COST = pl.col("list_cost_usd").sum().cast(pl.Float64).alias("y")


def _cut(daily: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
    """Rows of daily spend once for the total and once for each of the largest values of each dimension."""
    slim = daily.select("day", "source", "list_cost_usd", *dimensions)
    cut = [slim.with_columns(unique_id=pl.lit("total"), dimension=pl.lit("total"), value=pl.lit("total"))]
    for name in dimensions:
        most = slim.group_by(name).agg(_COST).drop_nulls(name).sort("y", name, descending=[True, False]).head(MOST_VALUES)
        cut.append(slim.join(most.select(name), on=name, how="semi").with_columns(
            unique_id=pl.format(f"{name}={{}}", pl.col(name)), dimension=pl.lit(name), value=pl.col(name)))
    return pl.concat([block.select(*_IDS, "day", "source", "list_cost_usd") for block in cut])


def _filled(long: pl.DataFrame, last: object) -> pl.DataFrame:
    """Each series from its first day to the last day of all, with 0 where nothing was spent."""
    assert isinstance(last, date)  # noqa: S101  a non-empty frame has a last day
    spans = long.group_by("unique_id", "dimension", "value").agg(pl.col("ds").min().alias("start"))
    grid = spans.with_columns(
        pl.date_ranges("start", pl.lit(last), interval=timedelta(days=1)).alias("ds")).explode("ds").drop("start")
    return grid.join(long, on=["unique_id", "dimension", "value", "ds"], how="left").with_columns(
        pl.col("y").fill_null(0.0))
