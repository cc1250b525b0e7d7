"""What the boosted model sees: one row per (series, origin, horizon), all ratios to the recent level.

Everything is a log ratio to the mean of the last 28 days, so one model serves series of any
currency and any of thirty orders of magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

WINDOW = 112  # days of history that the smoothing features look at
LONGEST = 364 + 56  # days that any feature looks at
RATIO_CAP = 6.0  # a log ratio beyond e^6 is a new series, not a forecast
FLOOR_SHARE = 0.05  # of the level, added before logs so that a zero day stays finite

NAMES: tuple[str, ...] = (
    "horizon", "week", "weekday", "history",
    "same_weekday_1", "same_weekday_2", "same_weekday_3", "same_weekday_4",
    "same_weekday_mean_4", "same_weekday_mean_8", "same_weekday_spread",
    "mean_3", "mean_7", "mean_14", "mean_56", "mean_112", "mean_364",
    "smooth_1", "smooth_3", "smooth_6", "slope_14", "slope_28", "slope_112",
    "profile", "profile_strength", "noise", "noise_weekly", "zero_share", "last",
    "year_ago", "year_ago_day", "year_ago_level", "has_year", "day_of_year_sin", "day_of_year_cos",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Feature rows with the level that turns a prediction back into the unit of the series."""

    x: Array
    level: Array
    floor: Array

    def to_ratio(self, y: Array) -> Array:
        """Return the log ratio of `y` to the level, the target of the boosted model."""
        ratio = np.log((np.maximum(y, 0.0) + self.floor) / (self.level + self.floor))
        return np.asarray(np.clip(ratio, -RATIO_CAP, RATIO_CAP))

    def from_ratio(self, ratio: Array) -> Array:
        """Return values in the unit of the series, never below zero."""
        capped = np.exp(np.clip(ratio, -RATIO_CAP, RATIO_CAP))
        return np.asarray(np.maximum(capped * (self.level + self.floor) - self.floor, 0.0))


def window(y: Array, origins: Index, width: int) -> Array:
    """Return the `width` values before each origin, oldest first, NaN before the series began."""
    padded = np.concatenate([np.full(width, np.nan), y])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, width)[origins])


def mean_tail(rows: Array, days: int) -> Array:
    """Return the mean of the last `days` known values of each row."""
    tail = rows[:, -days:]
    known = np.isfinite(tail)
    total = np.where(known, tail, 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(known.sum(axis=1), 1))


def level_of(y: Array, origins: Index) -> tuple[Array, Array]:
    """Return the 28-day level and the floor at each origin, both above zero."""
    rows = window(y, origins, WINDOW)
    long = mean_tail(rows, WINDOW)
    level = mean_tail(rows, 28)
    floor = np.maximum(FLOOR_SHARE * np.maximum(level, long), 1e-12)
    return level, floor


def _weighted(rows: Array, weights: Array) -> Array:
    known = np.isfinite(rows)
    top = np.where(known, rows * weights, 0.0).sum(axis=1)
    return np.asarray(top / np.maximum((known * weights).sum(axis=1), 1e-9))


def _slope(rows: Array, days: int) -> Array:
    """Return the change per week fitted over the last `days` of deseasonalised rows."""
    tail = rows[:, -days:]
    known = np.isfinite(tail)
    when = np.where(known, np.arange(days, dtype=np.float64), np.nan)
    count = np.maximum(known.sum(axis=1), 1)
    middle = np.nansum(when, axis=1) / count
    offset = np.where(known, when - middle[:, None], 0.0)
    spread = (offset**2).sum(axis=1)
    fitted = (offset * np.where(known, tail, 0.0)).sum(axis=1) / np.maximum(spread, 1e-9)
    return np.asarray(np.where(count >= 8, 7.0 * fitted, 0.0))


def _yearly(y: Array, origins: Index, horizons: Index) -> tuple[Array, Array, Array, Array]:
    """Return last year's move from the origin to the target day, NaN where there is no last year."""
    padded = np.concatenate([np.full(LONGEST, np.nan), y, np.full(8, np.nan)])
    total = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(padded), padded, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(np.isfinite(padded))])

    def mean(start: Index, stop: Index) -> Array:
        lo = np.clip(start + LONGEST, 0, padded.size)
        hi = np.clip(stop + LONGEST, 0, padded.size)
        known = count[hi] - count[lo]
        out = np.where(known > 0, (total[hi] - total[lo]) / np.maximum(known, 1), np.nan)
        return np.asarray(out)

    steps = (horizons - 1) // 364 + 1
    target = origins + horizons - 1 - 364 * steps
    anchor = origins - 364 * steps
    has = anchor >= 14
    near = mean(target - 7, np.minimum(target + 8, origins))
    before = mean(anchor - 28, anchor)
    day = mean(target, target + 1)
    nowadays = mean(origins - 28, origins)
    tiny = FLOOR_SHARE * np.maximum(np.nan_to_num(before), np.nan_to_num(nowadays)) + 1e-12

    def ratio(top: Array, bottom: Array) -> Array:
        raw = np.log((np.maximum(top, 0) + tiny) / (np.maximum(bottom, 0) + tiny))
        return np.asarray(np.where(has, np.clip(raw, -RATIO_CAP, RATIO_CAP), np.nan))

    return ratio(near, before), ratio(day, before), ratio(nowadays, before), has.astype(np.float64)


def build(y: Array, origins: Index, horizons: Index, *, weekday: int, day_of_year: int) -> Frame:
    """Return one feature row per pair of `origins` and `horizons` of one series.

    An origin is the number of known days; `weekday` and `day_of_year` are those of the first day.
    """
    unique, back = np.unique(origins, return_inverse=True)
    rows = window(y, unique, WINDOW)
    level, floor = level_of(y, unique)
    logs = np.log((np.maximum(rows, 0.0) + floor[:, None]) / (level + floor)[:, None])
    logs = np.clip(logs, -RATIO_CAP, RATIO_CAP)
    weeks = logs.reshape(len(unique), WINDOW // 7, 7)  # column j is the weekday of day j after
    recent = weeks[:, -8:]
    known = np.isfinite(recent)
    by_day = np.where(known, recent, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    profile = by_day - by_day.mean(axis=1, keepdims=True)
    flat = (weeks - profile[:, None, :]).reshape(len(unique), WINDOW)
    age = np.arange(WINDOW - 1, -1, -1, dtype=np.float64)
    smooth = [_weighted(flat, (1 - alpha) ** age) for alpha in (0.1, 0.3, 0.6)]
    steps = np.abs(np.diff(flat[:, -57:], axis=1))
    weekly = np.abs(logs[:, -49:] - logs[:, -56:-7])
    long = window(y, unique, 364)

    def log_mean(values: Array) -> Array:
        raw = np.log((np.maximum(values, 0.0) + floor) / (level + floor))
        return np.asarray(np.clip(raw, -RATIO_CAP, RATIO_CAP))

    column = (horizons - 1) % 7
    same = weeks[back, :, column]
    last8 = same[:, -8:]
    target_day = weekday + origins + horizons - 1
    season = 2 * np.pi * ((day_of_year + origins + horizons - 1) % 365.25) / 365.25
    year_move, year_day, year_level, has_year = _yearly(y, origins, horizons)
    pieces: list[Array] = [
        horizons.astype(np.float64),
        ((horizons - 1) // 7).astype(np.float64),
        (target_day % 7).astype(np.float64),
        np.log1p(np.minimum(origins, 730).astype(np.float64)),
        *(same[:, -k] for k in (1, 2, 3, 4)),
        mean_tail(last8, 4),
        mean_tail(last8, 8),
        np.nanmax(np.nan_to_num(last8, nan=-9), axis=1) - np.nanmin(np.nan_to_num(last8, nan=9), axis=1),
        *(log_mean(mean_tail(rows, d))[back] for d in (3, 7, 14, 56, 112)),
        log_mean(mean_tail(long, 364))[back],
        *(s[back] for s in smooth),
        *(_slope(flat, d)[back] for d in (14, 28, 112)),
        profile[back, column],
        profile.std(axis=1)[back],
        np.log(mean_tail(steps, 56) + 1e-3)[back],
        np.log(mean_tail(weekly, 49) + 1e-3)[back],
        mean_tail(np.where(np.isfinite(rows), (rows <= 0).astype(np.float64), np.nan), 56)[back],
        flat[back, -1],
        year_move, year_day, year_level, has_year,
        np.where(has_year > 0, np.sin(season), np.nan),
        np.where(has_year > 0, np.cos(season), np.nan),
    ]  # fmt: skip
    return Frame(np.column_stack(pieces), level[back], floor[back])
