"""Patterns that a calm total hides: money that moves between models or teams, and keys that behave like stolen ones."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from costops.flows.tasks.run import Run
from costops.flows.tasks.watched import yesterday
from costops.transforms.tables import CORE_CHARGE, OUT_SPEND_HOURLY

MIXED = ("model_id", "team")
LOOKED_BACK = 28
"""Patterns of this many last days are told."""

REQUEST_DAYS = 7
"""Single requests are looked at for this many last days."""

MOST_REQUESTS = 2_000_000
"""Requests compared at once; of more, all dear ones and an even sample of the rest."""

ABSURD_FLOOR = 1.0
_WEEK = 7


def found(run: Run, daily: pl.DataFrame) -> pl.DataFrame:
    """All patterns of the last days in the columns of `out_anomaly`, one row per subject, day and kind."""
    known = daily.filter(pl.col("day") <= yesterday(run))
    blocks = [_mix(known, name) for name in MIXED]
    blocks += [_keys(run, known)]
    rows = pl.concat([block for block in blocks if not block.is_empty()] or [_EMPTY])
    since = yesterday(run) - timedelta(days=LOOKED_BACK)
    return rows.filter(pl.col("ds") > since).sort(
        pl.col("effect"), "unique_id", "ds", descending=[True, False, False]).unique(
        ["unique_id", "ds", "kind"], keep="first", maintain_order=True)


_COLUMNS = {
    "unique_id": pl.String(), "dimension": pl.String(), "value": pl.String(), "ds": pl.Date(), "y": pl.Float64(),
    "expected": pl.Float64(), "score": pl.Float64(), "effect": pl.Float64(), "kind": pl.String(),
}
_EMPTY = pl.DataFrame(schema=_COLUMNS)


def _mix(daily: pl.DataFrame, name: str) -> pl.DataFrame:
    """Weeks (Monday to Sunday, so that every night sees the same ones) whose money went to another part."""
    from costops.models.mix import detect_mix

    if daily.is_empty():
        return _EMPTY
    last: date = daily["day"].max()  # type: ignore[assignment]
    sunday = last - timedelta(days=(last.weekday() + 1) % _WEEK)
    cost = pl.col("list_cost_usd").sum().cast(pl.Float64).alias("y")
    parts = daily.filter(pl.col("day") <= sunday).drop_nulls(name).group_by(
        pl.col(name).alias("part"), pl.col("day").alias("ds")).agg(cost)
    if parts.is_empty() or parts["ds"].max() != sunday:
        parts = parts.vstack(parts.head(1).with_columns(ds=pl.lit(sunday), y=pl.lit(0.0)))
    weeks = detect_mix(parts.sort("part", "ds").with_columns(unique_id=pl.lit(f"mix of {name}"))).filter("is_anomaly")
    spent = parts.with_columns(
        week=pl.col("ds") + pl.duration(days=(_WEEK - pl.col("ds").dt.weekday()))).group_by("part", "week").agg(
        pl.col("y").sum().alias("spent"))
    told = weeks.join(spent, left_on=["part", "ds"], right_on=["part", "week"], how="left")
    return told.select(
        pl.format(f"{name}={{}}", "part").alias("unique_id"), pl.lit(name).alias("dimension"),
        pl.col("part").alias("value"), "ds", pl.col("spent").fill_null(0.0).alias("y"),
        (pl.col("spent").fill_null(0.0) - pl.col("moved")).clip(0.0).alias("expected"), "score",
        pl.col("moved").alias("effect"), "kind").cast(_COLUMNS)  # type: ignore[arg-type]


def _keys(run: Run, daily: pl.DataFrame) -> pl.DataFrame:
    """Keys at night, single absurd requests, and new keys at full speed."""
    from costops.models import threat

    usd = pl.col("list_cost_usd").sum().cast(pl.Float64).alias("usd")
    by_day = daily.drop_nulls("api_key_id").group_by(pl.col("api_key_id").alias("subject"), "day").agg(usd)
    blocks = [] if by_day.is_empty() else [_of_keys(threat.new_key(by_day))]
    hours = _hours(run).drop_nulls("api_key_id")
    if not hours.is_empty():
        zone = run.settings.workspace.reporting_timezone
        at = pl.col("hour").dt.replace_time_zone("UTC").dt.convert_time_zone(zone).dt.replace_time_zone(
            None, ambiguous="earliest", non_existent="null")
        blocks.append(_of_keys(threat.night_burst(
            hours.group_by(pl.col("api_key_id").alias("subject"), at.alias("at")).agg(usd).drop_nulls("at"))))
    requests = _requests(run)
    if not requests.is_empty():
        blocks.append(threat.absurd_request(requests, floor=ABSURD_FLOOR))
    if not blocks:
        return _EMPTY
    rows = pl.concat(blocks)
    return rows.select(
        pl.col("subject").alias("unique_id"), pl.col("subject").str.extract(r"^(\w+)=").alias("dimension"),
        pl.col("subject").str.replace(r"^\w+=", "").alias("value"), pl.col("at").dt.date().alias("ds"),
        pl.col("usd").alias("y"),
        pl.col("usual_usd").alias("expected"), pl.col("times").alias("score"),
        (pl.col("usd") - pl.col("usual_usd")).alias("effect"), pl.col("pattern").alias("kind")).cast(_COLUMNS)  # type: ignore[arg-type]


def _of_keys(found: pl.DataFrame) -> pl.DataFrame:
    """Rows about keys, with the dimension in the subject."""
    return found.with_columns(subject=pl.format("api_key_id={}", "subject"))


def _hours(run: Run) -> pl.DataFrame:
    """Hours of the last days, with enough before them to know the usual night."""
    parts = _days(run.lake.partitions(OUT_SPEND_HOURLY), run, 2 * LOOKED_BACK)
    files = run.lake.files(OUT_SPEND_HOURLY, parts)
    if not files:
        return pl.DataFrame(schema=OUT_SPEND_HOURLY.schema)
    return pl.scan_parquet(files, hive_partitioning=False).select("api_key_id", "hour", "list_cost_usd").collect()


def _requests(run: Run) -> pl.DataFrame:
    """Single requests of the last days: subject (their key, else their source), at, usd."""
    found = [(part["source"], path) for part in _days(run.lake.partitions(CORE_CHARGE), run, REQUEST_DAYS)
             if (path := run.lake.file(CORE_CHARGE, part)) is not None]
    if not found:
        return pl.DataFrame()
    single = (pl.col("granularity") == "request") & pl.col("counted")
    lazy = pl.concat(pl.scan_parquet(path, hive_partitioning=False).filter(single).select(
        pl.coalesce(pl.format("api_key_id={}", "api_key_id"), pl.lit(f"source={source}")).alias("subject"),
        pl.col("used_at").alias("at"), pl.col("list_cost_usd").cast(pl.Float64).alias("usd")).drop_nulls()
        for source, path in found)
    count = pl.scan_parquet([path for _, path in found], hive_partitioning=False).select(pl.len()).collect().item()
    if count <= MOST_REQUESTS:
        return lazy.collect()
    every = -(-count // MOST_REQUESTS)
    dear = lazy.filter(pl.col("usd") > ABSURD_FLOOR).collect()
    return pl.concat([dear, lazy.filter(pl.col("usd") <= ABSURD_FLOOR).gather_every(every).collect()])


def _days(parts: list[dict[str, str]], run: Run, back: int) -> list[dict[str, str]]:
    """Partitions of the last `back` whole days."""
    last = yesterday(run)
    first = last - timedelta(days=back - 1)
    return [part for part in parts if str(first) <= part["day"] <= str(last)]
