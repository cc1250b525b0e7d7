"""Short histories told by the hour: the level of the last hours, beside what the few days say.

With less than four weeks of days a season and a trend are hardly there to be fitted, but hundreds of hours are. Their
smoothed level is averaged with the daily forecast, where the series' own held-out days are better with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from costops.models.backtest import Fold, Outlook, earliest, outlooks, segment, to_series
from costops.models.baselines import naive_error
from costops.models.evidence import error, helps, instead, scaled
from costops.models.features import Array
from costops.models.panel import NOTE_SCHEMA, Daily, by_hour
from costops.models.publishing import Decision, Fitted, centre_on, publish
from costops.models.statistical import fit_member, is_retired

SHORT = 28  # days of history from which the hours have nothing to add
LEAST_DAYS = 3  # before a cutoff
LEAST_FOLDS = 3  # with fewer what helps is luck
MOST_FOLDS = 10
REACH = 7  # days held out after a cutoff
LEAST_HOURS = 12  # different hours of a usual day; fewer tell no course of the day
LARGEST_MOVE = 10.0  # times the daily forecast
NAME = "hours"
BY_DAY = "hours are no better than days on the held-out days; the forecast is made from days"


@dataclass(frozen=True)
class Applied:
    """Folds and outlooks of a panel with the hours where they help, and a note where they do not."""

    tested: list[Fold]
    views: list[Outlook]
    notes: pl.DataFrame


def short(one: Daily) -> bool:
    """Whether a history is so short that its hours are looked at."""
    few = LEAST_DAYS + LEAST_FOLDS <= one.y.size < SHORT
    return few and segment(one.y) == "short" and bool(one.y.any()) and not is_retired(one.y)


def read(panel: pl.DataFrame, series: Sequence[Daily]) -> dict[str, Array]:
    """Return the hours (days, 24) of each short series that is told by the hour; each day sums to that of the series.

    A day that was filled or scaled up has its hours in the shares of the other days.
    """
    known = {one.unique_id: one for one in series if short(one)}
    out: dict[str, Array] = {}
    for (name,), rows in by_hour(panel, list(known)).group_by("unique_id", maintain_order=True):
        one = known[str(name)]
        place = (rows["day"] - one.first).dt.total_days().to_numpy()
        inside = (place >= 0) & (place < one.y.size)
        grid = np.zeros((one.y.size, 24))
        grid[place[inside], rows["hour"].to_numpy()[inside]] = rows["y"].to_numpy()[inside]
        busy = (grid > 0).sum(axis=1)
        if busy.any() and np.median(busy[busy > 0]) >= LEAST_HOURS:
            out[one.unique_id] = _summing(np.maximum(grid, 0.0), one.y)
    return out


def _summing(grid: Array, days: Array) -> Array:
    """Return hours in the shares of `grid` that sum to `days`."""
    total = grid.sum(axis=1)
    usual = grid.sum(axis=0) / max(float(total.sum()), 1e-300)
    shares = np.where(total[:, None] > 0, grid / np.maximum(total[:, None], 1e-300), usual)
    return np.asarray(shares * days[:, None])


def level(hours: Array) -> float | None:
    """Return the day that smoothed hours with a daily rhythm go on with; nothing where they cannot be fitted."""
    member = fit_member(NAME, np.ascontiguousarray(hours.ravel()), 24)
    return None if member is None else max(float(member.mean.sum()), 0.0)


def _with_hours(view: Outlook, centre: Array, day: float | None) -> Outlook | None:
    """Return an outlook whose centre lies half way to the day that the hours tell."""
    if day is None:
        return None
    ratio = np.where(centre > 0, day / np.maximum(centre, 1e-12), 1.0)
    return scaled(view, (1 + np.minimum(ratio, LARGEST_MOVE)) / 2, NAME)


def _folds(one: Daily, horizon: int, fitted: Fitted) -> list[Fold]:
    """Return cutoffs in a history that is too short for the backtest of the panel."""
    last = one.y.size - 1
    places = range(max(LEAST_DAYS, earliest(one, horizon), last + 1 - MOST_FOLDS), last + 1)
    views = outlooks([to_series(one, place) for place in places], REACH, fitted.past)
    return [Fold(one.unique_id, segment(one.y), place, view, one.y[place : place + REACH] / one.scale,
                 naive_error(one.y[:place] / one.scale)) for place, view in zip(places, views, strict=True)]


def apply(
    series: Sequence[Daily], tested: Sequence[Fold], views: Sequence[Outlook], panel: pl.DataFrame, *, fitted: Fitted
) -> Applied:
    """Return folds and outlooks of short series with their hours, where their own held-out days are better with them.

    `panel` tells the hours: unique_id, ds, y.
    """
    hours = read(panel, series)
    own: dict[str, list[Fold]] = {}
    for fold in tested:
        own.setdefault(fold.unique_id, []).append(fold)
    ahead, notes = list(views), []
    for at, one in enumerate(series):
        if one.unique_id not in hours:
            continue
        grid = hours[one.unique_id] / one.scale
        folds = own.get(one.unique_id) or _folds(one, fitted.horizon, fitted)
        found = _chosen(folds, grid, fitted)
        if found is None:
            notes.append((one.unique_id, BY_DAY))
            continue
        own[one.unique_id] = found
        decision = replace(fitted.decisions.get(one.unique_id, Decision()), naive=False)
        centre = publish(views[at], segment(one.y), fitted, decision)
        ahead[at] = instead(views[at], _with_hours(views[at], centre, level(grid)))
    return Applied([fold for folds in own.values() for fold in folds], ahead,
                   pl.DataFrame(notes, schema=NOTE_SCHEMA, orient="row"))


def _chosen(folds: Sequence[Fold], grid: Array, fitted: Fitted) -> list[Fold] | None:
    """Return the folds with their hours, where the held-out days are better with them."""
    out, tried = [], []
    usual = [centre_on(fold, fold.outlook, fitted) for fold in folds]
    for fold, centre in zip(folds, usual, strict=True):
        view = _with_hours(fold.outlook, centre, level(grid[: fold.origin]))
        if view is None:
            return None
        out.append(replace(fold, outlook=instead(fold.outlook, view)))
        tried.append(error(fold, centre_on(fold, view, fitted)))
    return out if helps(tried, [error(f, c) for f, c in zip(folds, usual, strict=True)]) else None
