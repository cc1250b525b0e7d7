"""Rolling-origin backtests: what each member would have said, beside what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from costops.models.baselines import naive_error
from costops.models.boosted import Boosted, Series, predict
from costops.models.features import WINDOW, Array
from costops.models.panel import Daily
from costops.models.statistical import Member, members

SHORTEST = 21  # days; with less there is nothing to hold out


@dataclass(frozen=True)
class Outlook:
    """All members' views of the days after one cutoff, in units of the series' scale."""

    found: tuple[Member, ...]
    boosted: Array | None  # (5, horizon), None where the boosted model does not apply
    usual: float = 0.0  # the median day of the last sixteen weeks
    instead: Outlook | None = None  # what is published in its place, where the series' own backtest is better with it
    by: str = ""  # what this one rests on beside the series' own past


@dataclass(frozen=True)
class Fold:
    """One cutoff of one series: the outlook from there and the days that followed."""

    unique_id: str
    segment: str
    origin: int
    outlook: Outlook
    actual: Array
    naive_error: float


def segment(y: Array) -> str:
    """Return which pool a series is calibrated in: short, intermittent, signed or regular."""
    if y.size and (y < 0).any():
        return "signed"
    if y.size < 100:
        return "short"
    return "intermittent" if float((y[-364:] == 0).mean()) > 0.05 else "regular"


def origins(days: int, horizon: int) -> tuple[int, ...]:
    """Return up to three cutoffs, oldest first: two with the whole horizon after them, one recent."""
    if days < SHORTEST:
        return ()
    reach = min(horizon, days // 3)
    step = max(7, reach // 3)
    found = {days - reach, days - reach - step, days - step}
    return tuple(sorted(o for o in found if o >= 14))


def to_series(one: Daily, stop: int | None = None) -> Series:
    """Return the scaled form of one series up to day `stop`, as the boosted model wants it."""
    known = one.y if stop is None else one.y[:stop]
    return Series(known / one.scale, one.first.weekday(), one.first.timetuple().tm_yday)


def outlooks(
    known: Sequence[Series], horizon: int, model: Boosted | None, *, extra: tuple[str, ...] = ()
) -> list[Outlook]:
    """Return every member's view of the `horizon` days after each known history."""
    usable = [i for i, s in enumerate(known) if model is not None and s.y.size >= 7 and not (s.y < 0).any()]
    quantiles: dict[int, Array] = {}
    if model is not None and usable:
        out = predict(model, [known[i] for i in usable], horizon=horizon)
        quantiles = {place: out[k] for k, place in enumerate(usable)}
    return [
        Outlook(tuple(members(s.y, horizon, extra=extra)), quantiles.get(i), float(np.median(s.y[-WINDOW:])))
        for i, s in enumerate(known)
    ]


def folds(series: Sequence[Daily], horizon: int, model: Boosted | None, *, extra: tuple[str, ...] = ()) -> list[Fold]:
    """Return the folds of every series that is long enough, series by series, oldest cutoff first."""
    places = [(one, origin) for one in series for origin in origins(one.y.size, horizon)]
    known = [to_series(one, origin) for one, origin in places]
    views = outlooks(known, horizon, model, extra=extra)
    out = []
    for (one, origin), view in zip(places, views, strict=True):
        actual = one.y[origin : origin + horizon] / one.scale
        history = one.y[:origin] / one.scale
        out.append(Fold(one.unique_id, segment(one.y), origin, view, actual, naive_error(history)))
    return out


def earliest(one: Daily, horizon: int) -> int:
    """Return the day before which a model that is to be tested on this series may learn from it."""
    found = origins(one.y.size, horizon)
    return found[0] if found else 0


def young(series: Sequence[Daily], horizon: int, *, most: int) -> list[Daily]:
    """Return recent slices of long series, as short as new ones: the pool that calibrates short histories."""
    long = [s for s in series if s.y.size >= 150 and segment(s.y) == "regular"]
    lengths = (40, 55, 70)
    out = []
    for i, one in enumerate(long[:: max(1, len(long) // most)][:most]):
        size = min(lengths[i % 3] + min(horizon, 30), 99)
        start = one.y.size - size
        first = one.first + np.timedelta64(start, "D").astype(object)
        out.append(Daily(f"{one.unique_id}\x00young", first, one.y[start:], one.observed[start:]))
    return out
