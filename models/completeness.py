"""How much of a day is usually there when it is read: late days are neither drops nor low spend."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

LEAST_SHARE = 0.75  # of a day that is there; with less, scaling it up would be guessing
LEAST_SEEN = 5  # earlier days an age has to be known from
SETTLED = 0.995
STEADY = 0.8  # share of days on which a source delivers, from which a silent end is late and not idle
LONGEST_WAIT = 7  # days; a source silent for longer has stopped, and its days are days without use
REFERENCE_DAYS = 28  # over which sources are steady, and have their weight in a series

LATE_SCHEMA = {"unique_id": pl.String, "ds": pl.Date, "share": pl.Float64}


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


def still_filling(shares: pl.DataFrame, today: date) -> pl.DataFrame:
    """Return the days that are usually not whole yet when they are read on `today`: unique_id, ds, share."""
    dated = shares.filter(pl.col("share") < SETTLED).select(
        "unique_id", ds=pl.lit(today) - pl.duration(days=pl.col("age")), share="share"
    )
    return dated.cast(dict(LATE_SCHEMA))  # type: ignore[arg-type]


def silent_ends(delivered: pl.DataFrame, last: date) -> pl.DataFrame:
    """Return the days up to `last` that a steady source has not delivered yet, each with a share of zero.

    `delivered` holds unique_id (the source) and ds, one row per day with anything in it. A source that is
    silent for more than a week has stopped: its days are days without use.
    """
    newest = pl.col("ds").max().over("unique_id")
    recent = delivered.unique(["unique_id", "ds"]).filter(
        pl.col("ds") > newest - pl.duration(days=REFERENCE_DAYS)
    )  # fmt: skip
    ends = recent.group_by("unique_id").agg(
        end=pl.col("ds").max(), days=pl.len(), span=(pl.col("ds").max() - pl.col("ds").min()).dt.total_days() + 1
    )
    waited = (pl.lit(last) - pl.col("end")).dt.total_days()
    steady = (pl.col("days") >= STEADY * pl.col("span")) & (pl.col("span") >= LONGEST_WAIT)
    late = ends.filter(steady & (waited > 0) & (waited <= LONGEST_WAIT))
    if late.is_empty():
        return pl.DataFrame(schema=LATE_SCHEMA)
    days = late.with_columns(ds=pl.date_ranges(pl.col("end") + timedelta(days=1), pl.lit(last))).explode("ds")
    return days.select("unique_id", "ds", share=pl.lit(0.0)).sort("unique_id", "ds")


def of_series(late: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Return how much of each late day a series has, from the sources it is made of: unique_id, ds, share.

    `late` holds the sources' late days, `parts` unique_id, source, ds and y. A source weighs what it was of
    the series in the four weeks before the first late day.
    """
    if late.is_empty():
        return late
    first: date = late["ds"].min()  # type: ignore[assignment]
    before = parts.filter((pl.col("ds") < first) & (pl.col("ds") >= first - timedelta(days=REFERENCE_DAYS)))
    weight = before.group_by("unique_id", "source").agg(pl.col("y").sum().clip(lower_bound=0.0))
    weight = weight.with_columns(pl.col("y") / pl.col("y").sum().over("unique_id")).filter(pl.col("y").is_finite())
    gone = weight.join(late.rename({"unique_id": "source"}), on="source").group_by("unique_id", "ds").agg(
        share=1.0 - (pl.col("y") * (1.0 - pl.col("share"))).sum()
    )  # fmt: skip
    return gone.with_columns(pl.col("share").clip(0.0, 1.0)).sort("unique_id", "ds")


def complete(panel: pl.DataFrame, late: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the panel with late days scaled up or left out, and a row for each such day.

    `late` holds unique_id, ds and the share of the day that is usually there; other days stay as they are.
    """
    joined = panel.join(
        late.select("unique_id", "ds", "share"), on=["unique_id", "ds"], how="left", maintain_order="left"
    )
    partial = pl.col("share").is_not_null() & (pl.col("share") < SETTLED)
    enough = pl.col("share") >= LEAST_SHARE
    scaled = joined.filter(~partial | enough).with_columns(
        y=pl.when(partial).then(pl.col("y") / pl.col("share")).otherwise("y")
    )
    told = joined.filter(partial).select(
        "unique_id", "ds", "y", "share", done=pl.when(enough).then(pl.lit("scaled")).otherwise(pl.lit("left out"))
    )
    return scaled.drop("share"), told
