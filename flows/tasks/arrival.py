"""How late each source's days are, learnt from what earlier nights saw of them."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from costops.flows.runtime.lake import Lake

KEY = "_state/outlook/arrival.csv"
"""One row per source, day and night: how much of the day that night saw."""

NIGHTS = 60
"""Nights that are remembered."""

AGES = 14
"""Days before each night whose filling is watched."""

_SCHEMA = {"source": pl.String(), "ds": pl.Date(), "seen_on": pl.Date(), "quantity": pl.Int64()}


def late_days(lake: Lake, daily: pl.DataFrame, *, today: date, note: bool = True) -> pl.DataFrame:
    """Source (`unique_id`), day and usual share of the last days that are not whole yet on `today`.

    What tonight sees is noted for the nights to come, unless the lake is only read.
    """
    from costops.models.completeness import curve, still_filling

    seen = pl.concat([_before(lake, today), _tonight(daily, today)]).sort("seen_on", "source", "ds")
    if note:
        lake.store.put(KEY, seen.write_csv().encode())
    return still_filling(curve(seen.rename({"source": "unique_id", "quantity": "y"})), today)


def _tonight(daily: pl.DataFrame, today: date) -> pl.DataFrame:
    """How much there is of each source's last days. Tokens and requests are counted: a new price makes no day late."""
    first = today - timedelta(days=AGES)
    quantity = pl.sum_horizontal(
        pl.col(name).fill_null(0) for name in ("input_tokens", "output_tokens", "requests")).sum().cast(pl.Int64)
    alive = daily.filter(pl.col("day") >= today - timedelta(days=2 * AGES)).drop_nulls("source")
    there = alive.group_by("source", pl.col("day").alias("ds")).agg(quantity=quantity)
    spans = alive.group_by("source").agg(begun=pl.col("day").min().clip(lower_bound=first))
    grid = spans.with_columns(ds=pl.date_ranges("begun", pl.lit(today - timedelta(days=1)))).explode("ds").drop_nulls("ds")
    return grid.join(there, on=["source", "ds"], how="left").select(
        "source", "ds", seen_on=pl.lit(today), quantity=pl.col("quantity").fill_null(0)).cast(_SCHEMA)  # type: ignore[arg-type]


def _before(lake: Lake, today: date) -> pl.DataFrame:
    """What earlier nights saw."""
    body = lake.store.read(KEY)
    if body is None:
        return pl.DataFrame(schema=_SCHEMA)
    rows = pl.read_csv(body, schema=_SCHEMA)
    return rows.filter((pl.col("seen_on") < today) & (pl.col("seen_on") > today - timedelta(days=NIGHTS)))
