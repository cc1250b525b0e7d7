"""Level steps: the lasting changes that a running median would slowly swallow and a spike test forgets."""

from __future__ import annotations

import numpy as np

from costops.models.features import Array, Index
from costops.models.residual import (
    LEAST_NOISE,
    MAD_TO_SIGMA,
    TREND_DAYS,
    Mask,
    Parts,
    Step,
    doubt,
    profile,
    rolling_median,
    row_median,
    sigma,
    to_logs,
    unfold,
)  # fmt: skip

SIDE = 18  # days on either side that have to agree
LEAST_SIDE = 6  # days after a step before it counts as lasting
SPIKE_DAYS = 3  # a rise that is gone after so many days was a spike
STEP_SIGMAS = 2.6
ROUNDS = 2
CHUNK = 500  # rows worked on at once; bounds the memory


def side_medians(x: Array, days: int) -> tuple[Array, Array]:
    """Return the medians of the `days` before each day and of the `days` from it on."""
    padded = np.pad(x, ((0, 0), (days, days - 1)), constant_values=np.nan)
    view = np.lib.stride_tricks.sliding_window_view(padded, days, axis=1)
    length = x.shape[1]
    middle = row_median(view)
    return middle[:, :length], middle[:, days : days + length]


def _tail_counts(x: Array) -> tuple[Array, Array]:
    """Return how many known days lie before each day, and from it on."""
    known = np.isfinite(x)
    before = np.cumsum(known, axis=1) - known
    after = known.sum(axis=1, keepdims=True) - before
    return before.astype(np.float64), after.astype(np.float64)


def _place(row: Array, day: int) -> int:
    """Return the day within reach at which two levels explain the row best."""
    lo, hi = max(day - SIDE, 0), min(day + SIDE, row.size)
    best, where = float("inf"), day
    for split in range(max(day - 6, lo + 2), min(day + 7, hi - 1)):
        left, right = row[lo:split], row[split:hi]
        left, right = left[np.isfinite(left)], right[np.isfinite(right)]
        if left.size < 2 or right.size < 2:
            continue
        cost = float(np.abs(left - np.median(left)).sum() + np.abs(right - np.median(right)).sum())
        if cost < best:
            best, where = cost, split
    return where


def _noise(x: Array) -> Array:
    """Return a noise level that steps and trends cannot inflate, from differences of neighbouring days."""
    step = np.diff(x, axis=1)
    return np.asarray(np.maximum(MAD_TO_SIGMA * row_median(np.abs(step)) / np.sqrt(2), LEAST_NOISE))


def find(x: Array, noise: Array, sigmas: float = STEP_SIGMAS) -> list[Step]:
    """Return the steps of deseasonalised rows, the largest of each neighbourhood, none near the ends."""
    before, after = side_medians(x, SIDE)
    left, right = _tail_counts(x)
    size = after - before
    fair = (left >= SIDE) & (right >= LEAST_SIDE) & np.isfinite(size) & np.isfinite(x)
    # fewer days after the step make a noisier median, so they have to say more
    days = np.minimum(right, SIDE)
    bar = sigmas * np.sqrt(0.7 + 0.3 * SIDE / np.maximum(days, 1.0))
    strength = np.where(fair, np.abs(size) / noise[:, None] / bar, 0.0)
    found = []
    for row in np.flatnonzero(strength.max(axis=1, initial=0.0) > 1.0):
        rest = strength[row].copy()
        while rest.max() > 1.0:
            peak = int(np.argmax(rest))
            # the strength is flat round a step: take the middle of the plateau, then look closer
            day = _place(x[row], peak)
            lo, hi = max(day - SIDE, 0), min(day + SIDE, x.shape[1])
            change = float(np.nanmedian(x[row, day:hi]) - np.nanmedian(x[row, lo:day]))
            rest[max(peak - SIDE, 0) : peak + SIDE + 1] = 0.0
            later = x[row, min(day + SPIKE_DAYS, hi - 1) : hi]
            stays = float(np.nanmedian(later) - np.nanmedian(x[row, lo:day])) if np.isfinite(later).any() else 0.0
            if min(change * np.sign(change), stays * np.sign(change)) >= sigmas * noise[row] * 0.9:
                found.append(Step(int(row), day, change))
    return found


def _ladder(shape: tuple[int, int], steps: list[Step]) -> Array:
    """Return the sum of all steps as a level per day, zero on the last day."""
    out = np.zeros(shape)
    for step in steps:
        out[step.row, : step.day] -= step.size
    return out


def _local_trend(x: Array) -> Array:
    return rolling_median(x, TREND_DAYS)


def split(values: Array, last_weekday: Index, *, step_sigmas: float = STEP_SIGMAS) -> Parts:
    """Return the parts of each row of `values`, worked out in chunks; the last column's weekday is given."""
    parts = [
        _split(values[i : i + CHUNK], last_weekday[i : i + CHUNK], i, step_sigmas) for i in range(0, len(values), CHUNK)
    ]
    return Parts(
        logs=np.concatenate([p.logs for p in parts]),
        expected=np.concatenate([p.expected for p in parts]),
        sigma=np.concatenate([p.sigma for p in parts]),
        z=np.concatenate([p.z for p in parts]),
        floor=np.concatenate([p.floor for p in parts]),
        steps=tuple(s for p in parts for s in p.steps),
    )


def _split(values: Array, last_weekday: Index, offset: int, step_sigmas: float) -> Parts:
    logs, floor = to_logs(values)
    days = logs.shape[1]
    trend = _local_trend(logs)
    weekly = np.zeros((len(logs), 7))
    steps: list[Step] = []
    noise = _noise(logs)
    for turn in range(ROUNDS):
        weekly = profile(logs, trend)
        flat = logs - unfold(weekly, days)
        # neighbouring days resemble each other, so their differences alone understate the noise
        noise = np.maximum(_noise(flat), noise if turn else 0.0)
        steps = find(flat, noise, step_sigmas)
        ladder = _ladder(logs.shape, steps)
        trend = _local_trend(flat - ladder) + ladder
        noise = MAD_TO_SIGMA * row_median(np.abs(flat - trend))
    season = unfold(weekly, days)
    expected = trend + season
    residual = logs - expected
    weekdays = (last_weekday[:, None] - np.arange(days - 1, -1, -1)) % 7
    spread = sigma(residual, weekdays) * doubt(residual)
    moved = [Step(s.row + offset, s.day, s.size) for s in steps]
    return Parts(logs, expected, spread, residual / spread, floor, tuple(moved))


def known(values: Array) -> Mask:
    """Return which days have a value."""
    return np.asarray(np.isfinite(values))
