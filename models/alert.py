"""Which incidents become alerts: a floor in money, one alert per subject and pause, a cap per day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl


@dataclass(frozen=True)
class AlertRules:
    """Limits that keep a bad week at one alert; set them to zero or None to switch a limit off."""

    floor: float = 0.0  # effect below which nobody is woken
    pause_days: int = 7  # after an alert the same subject stays silent, unless it gets much worse
    worse: float = 3.0  # times the effect of the last alert that breaks the silence
    most_per_day: int | None = 5


def limit(events: pl.DataFrame, *, rules: AlertRules | None = None) -> pl.DataFrame:
    """Return the events in order with `is_sent` and the reason where one is held back.

    `events` holds subject, first (the day), kind and effect. What the daily cap holds back is counted
    in `also` of the day's largest alert, so nothing disappears unseen.
    """
    rules = rules or AlertRules()
    order = events.sort(["first", pl.col("effect").abs(), "subject"], descending=[False, True, False])
    last: dict[str, tuple[date, float]] = {}
    per_day: dict[date, int] = {}
    sent, reason = [], []
    for row in order.iter_rows(named=True):
        day, size, subject = row["first"], abs(row["effect"]), row["subject"]
        held = last.get(subject)
        why = ""
        if size < rules.floor:
            why = f"effect below the floor of {rules.floor:g}"
        elif held and (day - held[0]).days < rules.pause_days and size < rules.worse * held[1]:
            why = f"an alert of {held[0]} is still open"
        elif rules.most_per_day is not None and per_day.get(day, 0) >= rules.most_per_day:
            why = f"more than {rules.most_per_day} alerts on one day"
        if not why:
            last[subject] = (day, size)
            per_day[day] = per_day.get(day, 0) + 1
        sent.append(not why)
        reason.append(why)
    marked = order.with_columns(is_sent=pl.Series(sent, dtype=pl.Boolean), reason=pl.Series(reason, dtype=pl.String))
    capped = marked.filter(pl.col("reason").str.starts_with("more than")).group_by("first").agg(also=pl.len())
    leader = pl.col("is_sent") & (pl.col("is_sent").cum_sum().over("first") == 1)
    joined = marked.join(capped, on="first", how="left", maintain_order="left")
    return joined.with_columns(also=pl.when(leader).then(pl.col("also").fill_null(0)).otherwise(0))
