"""Which incidents become alerts: a floor in money, one alert per cause and pause, a cap per week, over the nights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

ALWAYS = "total"  # every incident may show in it, so it relates nothing to nothing


@dataclass(frozen=True)
class AlertRules:
    """Limits that keep a bad week at one alert; set them to zero or None to switch a limit off."""

    floor: float = 0.0  # effect below which nobody is woken
    pause_days: int = 7  # what is related to an alert and begins within these days stays silent, unless much worse
    worse: float = 3.0  # times the worst day of the alert that breaks the silence
    most_per_week: int | None = 5


@dataclass(frozen=True)
class Incident:
    """What may be alerted: the series that show it, its direction (-1, 0 missing, 1), its money, that of its worst
    day, its first day and its lane.

    Each lane has a weekly cap of its own, so that many spikes do not use up the alerts of a stolen key.
    """

    number: int
    series: frozenset[str]
    way: int
    effect: float
    peak: float
    first: date
    lane: str = "spend"

    def related(self, other: Incident) -> bool:
        """Whether the same series, the total apart, shows this after the other, the same way or on the way back down."""
        if self.number == other.number:
            return True
        back = other.way == 1 and self.way == -1
        if self.lane != other.lane or not (back or self.way == other.way):
            return False
        mine, theirs = self.series - {ALWAYS}, other.series - {ALWAYS}
        return bool(mine & theirs) or not mine or not theirs


def tonight(
    found: Sequence[Incident], earlier: Sequence[tuple[date, Incident]], night: date, *, rules: AlertRules | None = None
) -> dict[int, str]:
    """Return why each incident is held back tonight, by its number; an empty reason is an alert.

    `earlier` holds what was alerted on nights before, and on which; under tonight's number where it goes on, else
    under a negative one. The dearest incident speaks first.
    """
    rules = rules or AlertRules()
    sent, reasons = list(earlier), dict[int, str]()
    for one in sorted(found, key=lambda item: (-abs(item.effect), item.number)):
        reasons[one.number] = _held_back(one, sent, night, rules)
        if not reasons[one.number]:
            sent.append((night, one))
    return reasons


def _held_back(one: Incident, sent: Sequence[tuple[date, Incident]], night: date, rules: AlertRules) -> str:
    if abs(one.effect) < rules.floor:
        return f"effect below the floor of {rules.floor:g}"
    near = [(when, other) for when, other in sent if (one.first - when).days < rules.pause_days and one.related(other)]
    if near and one.peak < rules.worse * max(other.peak for _, other in near):
        return f"an alert of {max(when for when, _ in near)} is still open"
    week = sum(other.lane == one.lane and (night - when).days < 7 for when, other in sent)
    if rules.most_per_week is not None and week >= rules.most_per_week:
        return f"more than {rules.most_per_week} alerts in a week"
    return ""
