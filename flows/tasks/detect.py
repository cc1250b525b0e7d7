"""Odd days of the last quarter and patterns of the last weeks, as incidents with what drove them and one alert each."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.flows.tasks import alerts, patterns, watched
from costops.flows.tasks.drivers import PARTS, moved
from costops.flows.tasks.run import Run
from costops.flows.tasks.step import step
from costops.transforms.check import conform
from costops.transforms.finding import findings
from costops.transforms.tables import CORE_FINDING, OUT_ANOMALY, OUT_SPEND_DAILY

SOURCE = "detect"
"""The name under which patterns are kept as findings."""

SHOWN_DAYS = 90
"""Odd days of this many last days are kept in each night's `out_anomaly`."""

FRESH_DAYS = 14
"""An incident that ended longer ago wakes nobody: a first night tells a quarter, and alerts on its last two weeks."""

SILENT_DAYS = 7
"""Days after the last delivery of all that are told as missing."""

FLOOR_SHARE = 0.05
"""Effects below this share of a usual day wake nobody."""

FLOOR_USD = 1.0
"""Effects below this wake nobody, however small the spend."""

EXPLAINED = 25
"""Incidents, the dearest first, whose money is split into volume, mix, size, cache and price."""

_ROW = ("unique_id", "dimension", "value", "ds", "y", "expected", "lower", "upper", "score", "effect", "kind",
        "incident")


@step()
def detect(run: Run) -> None:
    """Odd days and patterns; who is told is decided per incident, never per series."""
    made = watched.mark(run)
    if watched.stands(run, "detect", OUT_ANOMALY, made):
        return
    daily = run.lake.read(OUT_SPEND_DAILY)
    if daily.is_empty():
        return
    seen_days = watched.series(run, daily, delivered_only=True)
    series = seen_days.series
    if series.is_empty():
        return
    days, ends = _odd_days(run, series, seen_days.left_out)
    seen = patterns.found(run, daily)
    rows = pl.concat([days.select(_ROW), _numbered(seen, days).select(_ROW)])
    rows = _told(run, rows, daily, usual=_usual(series), last=ends)
    watched.write(run, "detect", OUT_ANOMALY, rows)
    _findings(run, seen)
    watched.done(run, "detect", made, rows.height)


def _odd_days(run: Run, series: pl.DataFrame, filling: pl.DataFrame) -> tuple[pl.DataFrame, date]:
    """Flagged days with their incident, and the last day looked at; days that are still filling are not odd."""
    from costops.models.anomaly import detect as find
    from costops.models.incident import events, incidents

    newest: date = series["ds"].max()  # type: ignore[assignment]
    end = min(watched.yesterday(run), newest + timedelta(days=SILENT_DAYS))
    end = newest if (end - newest).days < 2 else end
    flags = find(series.select("unique_id", "ds", "y"), align=end, quiet=filling)
    missing = pl.col("kind") == "missing"
    late = missing & (pl.col("ds") == end) & ~(missing & pl.col("is_anomaly")).shift(fill_value=False).over("unique_id")
    flags = flags.filter(pl.col("is_anomaly") & ~late & (pl.col("ds") > end - timedelta(days=SHOWN_DAYS))).with_columns(
        y=pl.col("y").fill_null(0.0), effect=pl.when(missing).then(-pl.col("expected")).otherwise("effect"))
    flags = flags.filter((pl.col("kind") != "drop") | ~pl.col("ds").is_in(_holidays(run, newest)))
    members = series.select(watched.IDS).unique(maintain_order=True)
    _, drivers = incidents(events(flags), members)
    if drivers.is_empty():
        return _shaped(flags.clear().join(members, on="unique_id", how="left")), end
    spans = drivers.select(pl.col("unique_id").alias("_id"), "first", "last", "incident",
                           pl.col("kind").eq("missing").alias("_missing"), (pl.col("effect") >= 0).alias("_up"))
    odd = flags.join(members, on="unique_id", how="left").join_where(
        spans, pl.col("unique_id") == pl.col("_id"), pl.col("ds") >= pl.col("first"), pl.col("ds") <= pl.col("last"))
    same = (pl.col("_missing") == missing) & (missing | (pl.col("_up") == (pl.col("effect") >= 0)))
    best = odd.sort("unique_id", "ds", ~same, "incident").unique(["unique_id", "ds"], keep="first", maintain_order=True)
    return _shaped(best), end


def _holidays(run: Run, newest: date) -> list[date]:
    """Public holidays of the last quarter: less use on them is no news."""
    if run.settings.forecast.country is None:
        return []
    from costops.models.holiday import holidays

    first = newest - timedelta(days=SHOWN_DAYS + SILENT_DAYS)
    return holidays(run.settings.forecast.country, first, watched.yesterday(run))["ds"].to_list()


def _numbered(seen: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Patterns with their incident: that of odd days of the same subject and time, else one per week or key."""
    week = pl.when(pl.col("kind") == "mix").then(6).otherwise(0)
    mine = seen.with_row_index("_row").join_where(
        days.filter(pl.col("effect") > 0).select(pl.col("unique_id").alias("_id"), pl.col("ds").alias("_day"), "incident"),
        pl.col("unique_id") == pl.col("_id"), pl.col("_day") <= pl.col("ds"),
        pl.col("_day") >= pl.col("ds") - pl.duration(days=week))
    joined = seen.with_row_index("_row").join(
        mine.group_by("_row").agg(pl.col("incident").min()), on="_row", how="left", maintain_order="left")
    subject = pl.when(pl.col("kind") == "mix").then(pl.lit("mix")).otherwise("unique_id")
    first = 1 + int(days["incident"].max()) if days.height else 0  # type: ignore[arg-type]
    own = first + pl.struct(subject.alias("_subject"), "ds", "kind").rank("dense").cast(pl.Int64)
    return _shaped(joined.with_columns(incident=pl.coalesce("incident", own)).drop("_row"))


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with every column of `_ROW`."""
    types = {"incident": pl.Int64(), "lower": pl.Float64(), "upper": pl.Float64()}
    return rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in types.items() if name not in rows.columns)


def _usual(series: pl.DataFrame) -> float:
    """What a day of the last four weeks cost."""
    total = series.filter(pl.col("unique_id") == "total").sort("ds").tail(28)["y"]
    return float(total.mean() or 0.0)  # type: ignore[arg-type]


def _told(run: Run, rows: pl.DataFrame, daily: pl.DataFrame, *, usual: float, last: date) -> pl.DataFrame:
    """Rows with the drivers and the cause of their incident, and the alert on one row of each incident that alerts."""
    if rows.is_empty():
        return rows.with_columns(drivers=pl.lit(None, pl.String), cause=pl.lit(None, pl.String),
                                 is_sent=pl.lit(None, pl.Boolean))
    summary = pl.DataFrame([_summary(number, own) for (number,), own in rows.group_by("incident", maintain_order=True)],
                           infer_schema_length=None).sort(pl.col("effect").abs(), "incident", descending=[True, False])
    causes = {row["incident"]: _cause(row, daily) for row in summary.head(EXPLAINED).iter_rows(named=True)}
    told = summary.select("incident", "drivers", cause=pl.col("incident").replace_strict(
        causes, default=None, return_dtype=pl.String))
    alerted = alerts.on_rows(run, rows, summary, floor=max(FLOOR_SHARE * usual, FLOOR_USD),
                             since=last - timedelta(days=FRESH_DAYS))
    return rows.join(told, on="incident", how="left", maintain_order="left").join(
        alerted, on=["unique_id", "ds", "kind"], how="left", maintain_order="left").with_columns(
        pl.col("is_sent").fill_null(value=False))


def _summary(number: object, own: pl.DataFrame) -> dict[str, Any]:
    """One incident: its days, its money (that of the dimension that shows most), and who leads it."""
    last = own["ds"].max()
    odd = own.filter(pl.col("kind") != "mix")                   # a mix tells the same money once more
    own = own if odd.is_empty() else odd
    sums = own.group_by("unique_id", "dimension", "value", maintain_order=True).agg(
        pl.col("effect").sum(), pl.col("ds").min().alias("first")).sort(
        pl.col("effect").abs(), "unique_id", descending=[True, False])
    by_dimension = sums.group_by("dimension", maintain_order=True).agg(pl.col("effect").sum())
    effect = float(by_dimension.sort(pl.col("effect").abs(), descending=True)["effect"][0])
    first: date = own["ds"].min()  # type: ignore[assignment]
    # the leader is chosen by the first day alone: it stays the same on the nights to come, and so does the alert;
    # where everything is missing that is the total, else never
    opened = own.filter(pl.col("ds") == first).sort(
        (pl.col("dimension") == "total") != (pl.col("kind") == "missing"), pl.col("effect").abs(), "unique_id",
        descending=[False, True, False])
    named = sums.filter((pl.col("dimension") != "total") & (pl.col("effect").abs() >= 0.1 * abs(effect)))
    shown = named.group_by("dimension", maintain_order=True).head(2)
    drivers = ", ".join(f"{row['unique_id']} {min(abs(row['effect'] / effect), 1):.0%}" if effect else row["unique_id"]
                        for row in shown.iter_rows(named=True))
    kinds = own.filter(pl.col("unique_id") == opened["unique_id"][0])["kind"]
    return {"incident": number, "subject": opened["unique_id"][0], "subject_first": first, "first": first,
            "last": last, "kind": "level_shift" if "level_shift" in kinds else kinds[0], "effect": effect,
            "subject_kind": opened["kind"][0],
            "dimension": opened["dimension"][0], "value": opened["value"][0], "drivers": drivers or "total"}


def _cause(row: dict[str, Any], daily: pl.DataFrame) -> str | None:
    """What moved in the leader's spend against the four weeks before, in dollars; the parts add up."""
    if row["kind"] == "missing" or row["dimension"] not in (*daily.columns, "total"):
        return None
    first, last = row["first"] if row["kind"] != "mix" else row["first"] - timedelta(days=6), row["last"]
    mine = daily if row["dimension"] == "total" else daily.filter(pl.col(row["dimension"]) == row["value"])
    days = (last - first).days + 1
    old = mine.filter(pl.col("day").is_between(first - timedelta(days=28), first - timedelta(days=1)))
    new = mine.filter(pl.col("day").is_between(first, last))
    if new.is_empty():
        return None
    parts = moved(old, new, scale=days / 28).select(pl.col(PARTS).sum()).row(0, named=True)
    whole = sum(abs(value) for value in parts.values())
    shown = sorted(((abs(value), name, value) for name, value in parts.items() if abs(value) >= 0.05 * whole), reverse=True)
    return ", ".join(f"{name} {value:+.2f}" for _, name, value in shown) or None


def _findings(run: Run, seen: pl.DataFrame) -> None:
    """Patterns as findings of their day; days that are no longer looked at keep theirs."""
    since = str(watched.yesterday(run) - timedelta(days=patterns.LOOKED_BACK))
    scope = [part for part in run.lake.partitions(CORE_FINDING) if part["source"] == SOURCE and part["day"] > since]
    made = findings({
        "reason": row["kind"], "source": SOURCE, "day": row["ds"], "severity": "warning", "dataset": OUT_ANOMALY.name,
        "field": row["dimension"],
        "expected": f"about {row['expected']:.2f} USD", "actual": f"{row['value']}: {row['y']:.2f} USD on {row['ds']}",
        "amount_usd": Decimal(str(round(row["effect"], 6)))} for row in seen.iter_rows(named=True))
    for part in run.lake.replace(CORE_FINDING, conform(made, CORE_FINDING), scope):
        run.partition("detect", CORE_FINDING, part)
