"""The alert of an incident: on one row of `out_anomaly`, the same one night after night, rate-limited over the nights."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.run import Run
from costops.transforms.tables import OUT_ANOMALY

if TYPE_CHECKING:
    from costops.models.alert import Incident

THREATS = ("night_burst", "absurd_request", "new_key")
NIGHTS = 22
"""Earlier nights that are looked at: those of the pause before the oldest fresh incident, and one that shows what was
alerted before them."""

_LOOKED_BACK = 30
"""Days within which they lie."""

_DAY = ["unique_id", "ds"]
_KEYS = [*_DAY, "kind"]


def on_rows(run: Run, rows: pl.DataFrame, summary: pl.DataFrame, *, floor: float, since: date) -> pl.DataFrame:
    """The rows that alert: unique_id, ds, kind, is_sent. What alerted before alerts on the row on which it did.

    An incident that ended on or before `since` wakes nobody; what is held back is logged with the reason. One that got
    much worse alerts once more, on its worst day.
    """
    from costops.models.alert import AlertRules, tonight

    night = run.now.date()
    nights = _earlier(run, night)
    fresh = summary.filter(pl.col("last") > since)
    mine = rows.filter(pl.col("incident").is_in(fresh["incident"].to_list()))
    again = mine.join(_marks(nights), on=_DAY, how="semi").unique(_DAY, keep="first", maintain_order=True)
    found = [_incident(int(row["incident"]), row["effect"], mine.filter(pl.col("incident") == row["incident"]))
             for row in fresh.iter_rows(named=True)]
    numbers = {(name, ds): number for name, ds, number in mine.select(*_DAY, "incident").iter_rows()}
    reasons = tonight(found, _sent(nights, numbers), night, rules=AlertRules(floor=floor))
    for reason, count in sorted(Counter(why for why in reasons.values() if why and not why.startswith("effect")).items()):
        LOGGER.info("detect: %d incidents held back: %s", count, reason)
    spoken = pl.col("incident").is_in([number for number, why in reasons.items() if not why])
    known = pl.col("incident").is_in(again["incident"].to_list())
    new = fresh.filter(spoken & ~known).select(
        pl.col("subject").alias("unique_id"), pl.col("subject_first").alias("ds"), pl.col("subject_kind").alias("kind"))
    dearest = mine.filter(spoken & known & (pl.col("dimension") != "total")).sort(
        pl.col("effect").abs(), *_DAY, descending=[True, False, False])
    worse = dearest.unique("incident", keep="first", maintain_order=True)
    marked = pl.concat([again.select(_KEYS), new, worse.select(_KEYS)]).unique(maintain_order=True)
    return marked.with_columns(is_sent=pl.lit(value=True))


def _earlier(run: Run, night: date) -> list[tuple[date, pl.DataFrame]]:
    """What earlier nights told, the oldest first."""
    first = str(night - timedelta(days=_LOOKED_BACK))
    parts = [part for part in run.lake.partitions(OUT_ANOMALY) if first <= part["day"] < str(night)]
    return [(date.fromisoformat(part["day"]), run.lake.read(OUT_ANOMALY, [part])) for part in parts[-NIGHTS:]]


def _marks(nights: list[tuple[date, pl.DataFrame]]) -> pl.DataFrame:
    """Days that alerted before. Their kind may be another by now: a spike that stays is a level shift."""
    schema: dict[str, Any] = {"unique_id": pl.String, "ds": pl.Date}
    return pl.concat([pl.DataFrame(schema=schema), *(frame.filter("is_sent").select(_DAY) for _, frame in nights)]).unique()


def _sent(nights: list[tuple[date, pl.DataFrame]], numbers: dict[tuple[str, date], int]) -> list[tuple[date, Incident]]:
    """Each alert of earlier nights as it was when it was new, under tonight's number of its incident."""
    seen: set[tuple[str, date]] = set()
    out: list[tuple[date, Incident]] = []
    for place, (night, frame) in enumerate(nights):
        for row in frame.filter("is_sent").sort(_DAY).iter_rows(named=True):
            key = (row["unique_id"], row["ds"])
            if key not in seen and (place or len(nights) < NIGHTS):     # the oldest night may repeat what is older still
                own = frame.filter(pl.col("incident") == row["incident"])
                out.append((night, _incident(numbers.get(key, -1), row["effect"], own)))
            seen.add(key)
    return out


def _incident(number: int, effect: float, own: pl.DataFrame) -> Incident:
    """One incident as the rate limit sees it; a mix tells the same money once more."""
    from costops.models.alert import Incident as Seen

    kinds = set(own["kind"])
    way = 0 if kinds == {"missing"} else 1 if effect >= 0 else -1
    money = own.filter(pl.col("kind") != "mix") if kinds != {"mix"} else own
    peak: float = money["effect"].abs().max()  # type: ignore[assignment]
    first: date = own["ds"].min()  # type: ignore[assignment]
    lane = "threat" if kinds <= set(THREATS) else "spend"
    return Seen(number, frozenset(own["unique_id"]), way, effect, peak, first, lane)
