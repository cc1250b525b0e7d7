"""Spend that looks like theft or a runaway loop: a key at night, one absurd request, a new key at full speed."""

from __future__ import annotations

import polars as pl

NIGHT = (0, 6)  # hours of the reporting time zone, half-open
SCHEMA = {
    "pattern": pl.String, "subject": pl.String, "at": pl.Datetime("us"), "usd": pl.Float64, "usual_usd": pl.Float64,
    "times": pl.Float64,
}  # fmt: skip


def _shape(frame: pl.DataFrame, pattern: str) -> pl.DataFrame:
    out = frame.with_columns(pattern=pl.lit(pattern), at=pl.col("at").cast(pl.Datetime("us")))
    return out.select(list(SCHEMA)).cast(dict(SCHEMA))  # type: ignore[arg-type]


def night_burst(hourly: pl.DataFrame, *, times: float = 10.0, floor: float = 10.0) -> pl.DataFrame:
    """Return nights on which a key spent many times its usual night and more than its usual day.

    `hourly` holds subject, at (in the reporting time zone) and usd.
    """
    night = (pl.col("at").dt.hour() >= NIGHT[0]) & (pl.col("at").dt.hour() < NIGHT[1])
    days = hourly.group_by("subject", day=pl.col("at").dt.date()).agg(
        night=pl.col("usd").filter(night).sum(),
        rest=pl.col("usd").filter(~night).sum(),
        at=pl.col("at").filter(night).min(),
    )
    usual = days.sort("subject", "day").with_columns(
        usual_night=pl.col("night").shift().rolling_median(28, min_samples=3).over("subject"),
        usual_day=pl.col("rest").shift().rolling_median(28, min_samples=3).over("subject"),
    )
    bar = pl.max_horizontal(times * pl.col("usual_night"), pl.col("usual_day"), pl.lit(floor))
    hot = usual.filter(pl.col("usual_night").is_not_null() & (pl.col("night") > bar))
    base = pl.max_horizontal(pl.col("usual_night"), pl.lit(floor / times))
    named = hot.with_columns(usd=pl.col("night"), usual_usd=pl.col("usual_night"), times=pl.col("night") / base)
    return _shape(named, "night_burst")


def absurd_request(requests: pl.DataFrame, *, times: float = 10.0, floor: float = 1.0) -> pl.DataFrame:
    """Return single requests that cost many times the 99th percentile of their subject; rows as in `requests`.

    `requests` holds subject, at and usd. A subject with fewer than 20 requests is compared with all.
    """
    everyone = requests["usd"].quantile(0.99) or 0.0
    ranked = requests.with_columns(
        count=pl.len().over("subject"), own=pl.col("usd").quantile(0.99, "lower").over("subject")
    )
    usual = (
        pl.when(pl.col("count") >= 20)
        .then(pl.min_horizontal("own", pl.lit(max(everyone, 1e-12)) * times))
        .otherwise(everyone)
    )
    hot = ranked.with_columns(usual_usd=usual).filter(
        pl.col("usd") > pl.max_horizontal(times * pl.col("usual_usd"), pl.lit(floor))
    )
    base = pl.max_horizontal("usual_usd", pl.lit(floor / times))
    return _shape(hot.with_columns(times=pl.col("usd") / base), "absurd_request")


def new_key(daily: pl.DataFrame, *, known_days: int = 14, share: float = 0.10, floor: float = 20.0) -> pl.DataFrame:
    """Return keys whose first day spent a large share of what all keys usually spend in a day.

    `daily` holds subject, day and usd. The first days of the data are history, not news.
    """
    start = daily["day"].min()
    totals = daily.group_by("day").agg(total=pl.col("usd").sum()).sort("day")
    totals = totals.with_columns(usual=pl.col("total").shift().rolling_median(28, min_samples=7))
    first = daily.sort("day").group_by("subject", maintain_order=True).first().join(totals, on="day")
    late = (pl.col("day") - pl.lit(start)).dt.total_days() >= known_days
    hot = first.filter(
        late
        & pl.col("usual").is_not_null()
        & (pl.col("usd") > pl.max_horizontal(share * pl.col("usual"), pl.lit(floor)))
    )
    named = hot.with_columns(
        at=pl.col("day").cast(pl.Datetime("us")), usual_usd=pl.lit(0.0), times=pl.col("usd") / pl.col("usual")
    )
    return _shape(named, "new_key")
