"""Hours and days at which a provider's price differs: `ZONE HH:MM-HH:MM[,HH:MM-HH:MM] [mon-fri] [-cn_holidays]`.

A window may wrap midnight; it belongs to the day on which it starts. Days are those of the zone.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def intervals(schedule: str, first: datetime, last: datetime,
              holidays: dict[str, frozenset[date]]) -> list[tuple[datetime, datetime, bool]]:
    """Half-open UTC intervals that cover `first` to `last`, each inside or outside of the schedule."""
    zone, windows, days, off = _read(schedule, holidays)
    inside: list[tuple[datetime, datetime]] = []
    day = first.date() - timedelta(days=2)
    while day <= last.date() + timedelta(days=2):
        if day.weekday() in days and day not in off:
            for opens, closes in windows:
                finish = day if closes > opens else day + timedelta(days=1)
                inside.append((_utc(day, opens, zone), _utc(finish, closes, zone)))
        day += timedelta(days=1)
    inside.sort()
    found: list[tuple[datetime, datetime, bool]] = []
    at = first
    stop = last + timedelta(microseconds=1)
    for start, end in inside:
        if end <= at or start >= stop:
            continue
        if start > at:
            found.append((at, start, False))
        found.append((max(start, at), min(end, stop), True))
        at = min(end, stop)
    if at < stop:
        found.append((at, stop, False))
    return found


def _read(schedule: str, holidays: dict[str, frozenset[date]]) -> tuple[
        ZoneInfo, list[tuple[time, time]], frozenset[int], frozenset[date]]:
    zone, hours, *rest = schedule.split()
    windows = []
    for window in hours.split(","):
        start, _, end = window.partition("-")
        windows.append((time.fromisoformat(start), time.fromisoformat(end)))
    days = frozenset(range(7))
    off: frozenset[date] = frozenset()
    for word in rest:
        if word.startswith("-"):
            off = off | holidays[word[1:]]
        else:
            first, _, last = word.partition("-")
            days = frozenset(range(_WEEK.index(first), _WEEK.index(last or first) + 1))
    return ZoneInfo(zone), windows, days, off


def _utc(day: date, moment: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, moment, zone).astimezone(UTC).replace(tzinfo=None)
