"""How much of a day is usually there when it is read: late days are neither drops nor low spend."""

from __future__ import annotations

import polars as pl

LEAST_SHARE = 0.75  # of a day that is there; with less, scaling it up would be guessing
LEAST_SEEN = 5  # earlier days an age has to be known from
SETTLED = 0.995


def curve(snapshots: pl.DataFrame) -> pl.DataFrame:
    """Return the usual share of a day that was there, by its age in days at the time of reading.

    `snapshots` holds unique_id, ds, seen_on (the day of the reading) and y. The last reading of a day is
    taken as its truth. The median over earlier days is the share; ages seen on few days are left out.
    """
    final = pl.col("y").sort_by("seen_on").last().over("unique_id", "ds")
    aged = snapshots.with_columns(final=final, age=(pl.col("seen_on") - pl.col("ds")).dt.total_days())
    last_age = pl.col("age").max().over("unique_id", "ds")
    usable = aged.filter((pl.col("final") > 0) & (pl.col("age") < last_age))
    shares = usable.with_columns(share=(pl.col("y") / pl.col("final")).clip(0.0, 1.0))
    by_age = shares.group_by("unique_id", "age").agg(pl.col("share").median(), seen=pl.len())
    return by_age.filter(pl.col("seen") >= LEAST_SEEN).sort("unique_id", "age")


def complete(panel: pl.DataFrame, shares: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the panel with late days scaled up or left out, and a row for each such day.

    The age of a day is counted from the day after the newest one of the panel. Days of a series without
    a curve stay as they are.
    """
    today = pl.col("ds").max() + pl.duration(days=1)
    aged = panel.with_columns(age=(today - pl.col("ds")).dt.total_days())
    joined = aged.join(
        shares.select("unique_id", "age", "share"), on=["unique_id", "age"], how="left", maintain_order="left"
    )
    late = pl.col("share").is_not_null() & (pl.col("share") < SETTLED)
    kept = joined.filter(~late | (pl.col("share") >= LEAST_SHARE))
    scaled = kept.with_columns(y=pl.when(late).then(pl.col("y") / pl.col("share")).otherwise("y"))
    told = joined.filter(late).select(
        "unique_id",
        "ds",
        "y",
        "share",
        done=pl.when(pl.col("share") >= LEAST_SHARE).then(pl.lit("scaled")).otherwise(pl.lit("left out")),
    )
    return scaled.drop("age", "share"), told
