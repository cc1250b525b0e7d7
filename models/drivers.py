"""Business drivers as regressors: use per unit of a driver is forecast, and multiplied by the planned driver again.

How far a series follows a driver is learnt before each cutoff, so that the backtest judges the whole of it. A driver
is used for a series only where the series' own held-out days say so; without its future it is not used at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import polars as pl

from costops.models.backtest import Fold, Outlook, outlooks, segment
from costops.models.boosted import Boosted, Series
from costops.models.evidence import error, helps, instead, log_floored, scaled
from costops.models.features import Array
from costops.models.panel import Daily
from costops.models.publishing import Fitted, centre_on
from costops.models.statistical import is_retired

LEAST_DAYS = 42  # with both the series and the driver, before a cutoff
LONGEST = 365  # days that an elasticity is learnt from
LONGEST_HOLE = 7  # days without a value that lie on a line between their neighbours
MOST_USED = 2  # drivers of one series: three cutoffs cannot tell more apart
CARRY_CAP = 0.98  # of a day's error into the next
ROUNDS = 6  # in which it and the elasticities settle
SURE = 3.5  # standard errors, too small where errors carry over for weeks, that an elasticity is away from none
SLOPE_CAP = 2.0  # elasticity: a tenth more users are at most a fifth more use
FACTOR_CAP = float(np.log(10.0))  # a plan may move use tenfold; beyond that nothing was ever seen
SCHEMA: dict[str, pl.DataType] = {"unique_id": pl.String(), "ds": pl.Date(), "driver": pl.String(), "value": pl.Float64()}
NOTE_SCHEMA = {"driver": pl.String, "unique_id": pl.String, "note": pl.String}


@dataclass(frozen=True)
class Driver:
    """One driver without holes: logs of its values from `first` on; of one series, or of all."""

    name: str
    unique_id: str | None
    first: date
    logs: Array

    @property
    def last(self) -> date:
        """The last day with a value."""
        return self.first + timedelta(days=self.logs.size - 1)

    def window(self, start: date, days: int) -> Array:
        """Return the logs of `days` days from `start`; after the last one its value, for days that nobody reads."""
        place = (start - self.first).days
        known = self.logs[place : place + days]
        return np.asarray(np.pad(known, (0, days - known.size), mode="edge"))


@dataclass(frozen=True)
class Driven:
    """The drivers that one series follows, and its backtest with them."""

    drivers: tuple[Driver, ...]
    views: tuple[Outlook, ...]


@dataclass(frozen=True)
class Applied:
    """Folds and outlooks of a panel with drivers where they help, and why others could not be used."""

    tested: list[Fold]
    views: list[Outlook]
    notes: pl.DataFrame


def read(frame: pl.DataFrame) -> tuple[list[Driver], pl.DataFrame]:
    """Return the drivers of a frame of unique_id (null: all series), ds, driver, value; and a note on each unusable one."""
    typed = frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    known = typed.filter(pl.col("value").is_finite() & pl.col("ds").is_not_null())
    found: list[Driver] = []
    notes: list[tuple[str, str | None, str]] = []
    for (name, owner), own in known.group_by("driver", "unique_id", maintain_order=True):
        rows = own.unique("ds", keep="last", maintain_order=True).sort("ds")
        fault = _fault(rows)
        if fault:
            notes.append((str(name), owner, f"{fault}; the forecast does without it"))
            continue
        days = rows["ds"].cast(pl.Int32).to_numpy()
        grid = np.arange(days[0], days[-1] + 1)
        logs = np.interp(grid, days, log_floored(rows["value"].to_numpy()))
        found.append(Driver(str(name), owner, rows["ds"][0], logs))
    empty = set(frame["driver"].drop_nulls()) - set(known["driver"])
    notes += [(name, None, "has no day with a number; the forecast does without it") for name in sorted(empty)]
    return found, pl.DataFrame(notes, schema=NOTE_SCHEMA, orient="row")


def _fault(rows: pl.DataFrame) -> str | None:
    """Return what makes sorted daily rows of one driver unusable."""
    below = rows.filter(pl.col("value") < 0)
    if below.height:
        return f"is negative on {below['ds'][0]}: give counts or amounts of zero and more"
    gaps = rows.with_columns(gap=pl.col("ds").diff().dt.total_days()).filter(pl.col("gap") > LONGEST_HOLE + 1)
    if gaps.height:
        until = gaps["ds"][0]
        return f"has no value in the {gaps['gap'][0] - 1} days before {until}: give a value for every day"
    return None


def elasticities(y: Array, logs: Array, weekday: int) -> Array:
    """Return by how many percent use moves with one percent of each driver (columns of `logs`), drawn to zero by doubt.

    Logs of use on logs of the drivers and weekdays, with errors that carry over from day to day taken out first: two
    series that both grow are not thereby related.
    """
    y, logs = y[-LONGEST:], logs[-LONGEST:]
    place = (np.arange(y.size) - y.size + weekday) % 7
    design = np.column_stack([np.eye(7)[place], logs - logs.mean(axis=0)])
    target = log_floored(np.maximum(y, 0.0))
    whole, aim, carry = design, target, 0.0
    for _ in range(ROUNDS):
        found, *_ = np.linalg.lstsq(design, target, rcond=None)
        rest = aim - whole @ found
        carry = float(np.clip(rest[1:] @ rest[:-1] / max(float(rest[:-1] @ rest[:-1]), 1e-12), 0.0, CARRY_CAP))
        design, target = whole[1:] - carry * whole[:-1], aim[1:] - carry * aim[:-1]
    found, *_ = np.linalg.lstsq(design, target, rcond=None)
    rest = target - design @ found
    noise = float(rest @ rest) / max(target.size - design.shape[1], 1)
    doubt = noise * np.diag(np.linalg.pinv(design.T @ design))[7:]
    slope = found[7:]
    sure = slope**2 / np.maximum(doubt, 1e-12)
    kept = np.where(sure < SURE**2, 0.0, 1 - 1 / np.maximum(sure, 1.0))
    return np.asarray(np.clip(slope * kept, -SLOPE_CAP, SLOPE_CAP))


def _per_unit(one: Daily, drivers: Sequence[Driver], origin: int, horizon: int) -> tuple[Series, Array] | None:
    """Return the days before `origin` divided by what the drivers did to them, and what they do to the days after."""
    start = max(0, *((d.first - one.first).days for d in drivers))
    known = origin - start
    if known < LEAST_DAYS:
        return None
    first = one.first + timedelta(days=start)
    logs = np.column_stack([d.window(first, known + horizon) for d in drivers])
    y = one.y[start:origin] / one.scale
    moved = logs @ elasticities(y, logs[:known], (one.first.weekday() + origin) % 7)
    moved = np.clip(moved - moved[known - 28 : known].mean(), -FACTOR_CAP, FACTOR_CAP)
    if not np.abs(moved[known:]).max() > 1e-6:
        return None
    factor = np.exp(moved)
    return Series(y / factor[:known], first.weekday(), first.timetuple().tm_yday), factor[known:]


def outlook(one: Daily, drivers: Sequence[Driver], origin: int, horizon: int, model: Boosted | None) -> Outlook | None:
    """Return the outlook of a series from day `origin` with its drivers; nothing where they say nothing."""
    got = _per_unit(one, drivers, origin, horizon)
    if got is None:
        return None
    series, factor = got
    return scaled(outlooks([series], horizon, model)[0], factor, " and ".join(d.name for d in drivers))


def choose(one: Daily, folds: Sequence[Fold], drivers: Sequence[Driver], fitted: Fitted) -> Driven | None:
    """Return the drivers that the held-out days of a series are better with, the best one first; nothing if none is."""
    if segment(one.y) not in ("regular", "short") or is_retired(one.y):
        return None
    chosen: tuple[Driver, ...] = ()
    views: tuple[Outlook, ...] = ()
    errors = [error(fold, centre_on(fold, fold.outlook, fitted)) for fold in folds]
    while len(chosen) < MOST_USED:
        sets = [(*chosen, driver) for driver in drivers if driver.name not in {d.name for d in chosen}]
        tried = [(names, _tried(one, folds, names, fitted)) for names in sets]
        useful = [(sum(got[1]), names, got) for names, got in tried if got is not None and helps(got[1], errors)]
        if not useful:
            break
        _, chosen, (views, errors) = min(useful, key=lambda each: each[0])
    return Driven(chosen, views) if chosen else None


def _tried(one: Daily, folds: Sequence[Fold], drivers: Sequence[Driver], fitted: Fitted
           ) -> tuple[tuple[Outlook, ...], list[float]] | None:
    """Return the outlooks of every fold with these drivers and their errors; nothing where one cannot be had."""
    found = [outlook(one, drivers, fold.origin, fold.outlook.found[0].mean.size, fitted.past) for fold in folds]
    views = tuple(view for view in found if view is not None)
    if len(views) < len(folds):
        return None
    return views, [error(fold, centre_on(fold, view, fitted)) for fold, view in zip(folds, views, strict=True)]


def apply(
    series: Sequence[Daily], tested: Sequence[Fold], views: Sequence[Outlook], frame: pl.DataFrame, *,
    until: Sequence[date], fitted: Fitted,
) -> Applied:
    """Return folds and outlooks with the drivers of each series where its held-out days are better with them.

    `until` is the last day forecast of each series.
    """
    drivers, unusable = read(frame)
    notes = [unusable]
    own: dict[str, list[int]] = {}
    for place, fold in enumerate(tested):
        own.setdefault(fold.unique_id, []).append(place)
    folds, ahead = list(tested), list(views)
    for at, (one, end) in enumerate(zip(series, until, strict=True)):
        mine = [folds[place] for place in own.get(one.unique_id, [])]
        usable, why = reaching(drivers, one, end, mine[0].origin if mine else one.y.size)
        notes.append(pl.DataFrame(why, schema=NOTE_SCHEMA, orient="row"))
        found = choose(one, mine, usable, fitted) if usable and mine else None
        if found is None:
            continue
        for place, view in zip(own[one.unique_id], found.views, strict=True):
            folds[place] = replace(folds[place], outlook=instead(folds[place].outlook, view))
        horizon = views[at].found[0].mean.size
        ahead[at] = instead(views[at], outlook(one, found.drivers, one.y.size, horizon, fitted.boosted))
    return Applied(folds, ahead, pl.concat(notes).unique(maintain_order=True))


def reaching(drivers: Sequence[Driver], one: Daily, until: date, earliest: int
             ) -> tuple[list[Driver], list[tuple[str, str | None, str]]]:
    """Return the drivers that a series can have, and why it cannot have the others (driver, unique_id, note).

    A driver has to be known through `until`, and for long enough before day `earliest`, the first cutoff.
    """
    mine = [d for d in drivers if d.unique_id in (None, one.unique_id)]
    good, notes = [], []
    for driver in mine:
        begun = (driver.first - one.first).days
        if driver.last < until:
            notes.append((driver.name, driver.unique_id, (
                f"ends on {driver.last} and the forecast on {until}: give its planned values up to that day, or do not "
                "declare it; the forecast does without it")))
        elif begun > 0 and earliest - begun < LEAST_DAYS:
            needed = one.first + timedelta(days=max(earliest - LEAST_DAYS, 0))
            notes.append((driver.name, one.unique_id, (
                f"begins on {driver.first}: give its values from {needed} on; the forecast of {one.unique_id} does "
                "without it")))
        else:
            good.append(driver)
    return good, notes
