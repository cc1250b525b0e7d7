"""Unit economics: what one unit of a business metric costs, on each day and for each of its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from costops.transforms.check import conform
from costops.transforms.fields import Type
from costops.transforms.tables import OUT_UNIT_ECONOMICS, SPEND_KEYS

_BILL = Type.USD_BILL.polars


def unit_economics(metrics: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """Rows of `out_unit_economics`: each metric of a day beside the effective cost of that day and its keys.

    `metrics` is `core_business_metric`, `daily` has the rows of `out_spend_daily`. Where there is no usage of the
    day and keys, or a key is no column of spend, cost is NULL and `status` says why; it is never 0 for want of data.
    """
    made = [_joined(metrics.filter(pl.col("keys") == text), daily, _wanted(text))
            for text in sorted(metrics["keys"].unique().to_list())]
    return conform(pl.concat(made), OUT_UNIT_ECONOMICS) if made else pl.DataFrame(schema=OUT_UNIT_ECONOMICS.schema)


def _wanted(text: str) -> Mapping[str, str] | None:
    """The keys as columns of spend; None where one is no such column."""
    keys = {name: str(value) for name, value in json.loads(text).items()}
    return keys if all(name in SPEND_KEYS for name in keys) else None


def _joined(metrics: pl.DataFrame, daily: pl.DataFrame, keys: Mapping[str, str] | None) -> pl.DataFrame:
    mine = daily.filter(*(pl.col(name) == value for name, value in (keys or {}).items()))
    if keys is None:
        mine = mine.clear()
    known = pl.col("effective_cost_usd").count() > 0
    sums = mine.group_by("day").agg(
        pl.when(known).then(pl.col("effective_cost_usd").sum()), pl.col("requests").sum(),
        pl.col("unpriced_requests").sum())
    spend, value = pl.col("effective_cost_usd"), pl.col("value").cast(_BILL)
    counts = value.is_not_null() & (value != 0)
    return metrics.join(sums, on="day", how="left", maintain_order="left").with_columns(
        month=pl.col("day").dt.strftime("%Y-%m"), spend_usd=spend,
        cost_usd=pl.when(counts).then(spend.cast(_BILL) / pl.when(counts).then(value)),
        status=pl.when(keys is None).then(pl.lit("unknown_key")).when(pl.col("requests").is_null())
        .then(pl.lit("no_spend")).when(spend.is_null()).then(pl.lit("unpriced")).when(~counts).then(pl.lit("no_value")).otherwise(pl.lit("joined")))
