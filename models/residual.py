"""Many series at once as a matrix of logs: weekday profile, level steps, slow trend, what is left.

A row is a series, the last column is its last day, days before its start are NaN. Columns seven
apart share a weekday, which is all the calendar that is needed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costops.models.features import Array, Index

Mask = NDArray[np.bool_]

FLOOR_SHARE = 0.02  # of the median size; keeps the log of a silent day finite
TREND_DAYS = 29
LEAST_NOISE = 0.01  # a series calmer than 1 % a day is calmer than its own bookkeeping
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Step:
    """A lasting change of level: row, first day (column) and size in logs."""

    row: int
    day: int
    size: float


@dataclass(frozen=True)
class Parts:
    """The logs taken apart; `expected` holds profile, trend and steps, `z` the residual in sigmas."""

    logs: Array
    expected: Array
    sigma: Array
    z: Array
    floor: Array
    steps: tuple[Step, ...]


def to_logs(values: Array) -> tuple[Array, Array]:
    """Return log(y + floor) and the floor of each row; negative values count as zero here."""
    size = np.abs(values)
    with np.errstate(all="ignore"):
        middle = row_median(np.where(size > 0, size, np.nan))
    floor = FLOOR_SHARE * np.where(np.isfinite(middle) & (middle > 0), middle, 1.0)
    return np.log(np.maximum(values, 0.0) + floor[:, None]), floor


def row_median(x: Array) -> Array:
    """Return the median of the known values of each row (last axis); NaN for a row without any."""
    if x.shape[-1] == 0:
        return np.full(x.shape[:-1], np.nan)
    ordered = np.sort(x, axis=-1)  # NaN goes last
    count = np.isfinite(x).sum(axis=-1)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(ordered, np.maximum(count // 2, 0)[..., None].clip(max=x.shape[-1] - 1), axis=-1)[..., 0]
    return np.asarray(np.where(count > 0, (low + high) / 2, np.nan))


def rolling_median(x: Array, days: int) -> Array:
    """Return the centred running median; near the ends the window is cut off, not shifted."""
    half = days // 2
    out = np.empty_like(x)
    padded = np.pad(x, ((0, 0), (half, half)), constant_values=np.nan)
    view = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=1)
    whole: Mask = np.asarray(np.isfinite(view[:, :, 0]) & np.isfinite(view[:, :, -1]) & np.isfinite(x))
    rest: Mask = np.logical_not(whole)
    missing: Mask = np.asarray(np.isnan(x).any(axis=1))
    for row in range(x.shape[0]):
        if missing[row]:
            out[row] = row_median(view[row])
            continue
        inner = whole[row]
        out[row, inner] = np.median(view[row, inner], axis=-1)
        out[row, rest[row]] = row_median(view[row, rest[row]])
    return out


def by_phase(x: Array) -> Array:
    """Return the rows folded into weeks: (rows, weeks, 7), padded with NaN at the start."""
    short = -x.shape[1] % 7
    padded = np.pad(x, ((0, 0), (short, 0)), constant_values=np.nan)
    return padded.reshape(x.shape[0], -1, 7)


def unfold(weekly: Array, days: int) -> Array:
    """Return one value per weekday (rows, 7) as a value per day (rows, days), aligned to the last day."""
    return np.tile(weekly, (1, days // 7 + 1))[:, -days:]


def profile(x: Array, trend: Array) -> Array:
    """Return the weekday profile (rows, 7) in logs; short histories get none."""
    folded = by_phase(x - trend)
    middle = row_median(np.swapaxes(folded, 1, 2))
    count = np.isfinite(folded).sum(axis=1)
    usable = (count >= 3).all(axis=1, keepdims=True)
    centred = middle - np.nanmean(np.where(np.isfinite(middle), middle, 0.0), axis=1, keepdims=True)
    return np.asarray(np.where(usable & np.isfinite(centred), centred, 0.0))


def sigma(residual: Array, weekdays: Index) -> Array:
    """Return the noise of each day: working days pooled, Saturday and Sunday drawn to the pool.

    `weekdays` says which weekday (0 is Monday) each day of each row is.
    """
    size = np.abs(residual)
    overall = MAD_TO_SIGMA * row_median(size)
    base = np.where(np.isfinite(overall), overall, LEAST_NOISE)[:, None]
    out = np.zeros_like(residual)
    for days in ((0, 1, 2, 3, 4), (5,), (6,)):
        here = np.isin(weekdays, days)
        own = MAD_TO_SIGMA * row_median(np.where(here, size, np.nan))[:, None]
        count = (here & np.isfinite(residual)).sum(axis=1)[:, None]
        trust = count / (count + 20.0)
        mixed = np.sqrt(trust * np.where(np.isfinite(own), own, base) ** 2 + (1 - trust) * base**2)
        # an underestimated day raises false alarms, an overestimated one hides little
        out = np.where(here, np.maximum(mixed, 0.8 * base), out)
    return np.maximum(out, LEAST_NOISE)


def doubt(residual: Array) -> Array:
    """Return how much wider the noise looks because profile and trend are themselves estimates.

    A median of n values is uncertain by 1.25 / sqrt(n) sigmas: n weeks behind the profile, and the days
    behind the running trend, of which there are half as many at either end. One in mid-series.
    """
    known = np.isfinite(residual)
    weeks = np.maximum(known.sum(axis=1, keepdims=True) / 7, 1.0)
    total = np.cumsum(np.pad(known, ((0, 0), (TREND_DAYS // 2 + 1, TREND_DAYS // 2))), axis=1)
    days = np.maximum(total[:, TREND_DAYS:] - total[:, :-TREND_DAYS], 1)
    full = np.clip(known.sum(axis=1, keepdims=True), 1, TREND_DAYS)
    typical = 1 + 1.57 / full
    return np.asarray(np.sqrt((1 + 1.57 / weeks + 1.57 / days) / typical))
