"""Which days are out of line: spikes, drops, level shifts and missing days, told apart and sized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from costops.models.features import Array
from costops.models.panel import SPARSE, Daily, clean
from costops.models.residual import Mask, Parts, by_phase
from costops.models.steps import LEAST_SIDE, STEP_SIGMAS, split

SCHEMA = {
    "unique_id": pl.String, "ds": pl.Date, "y": pl.Float64, "expected": pl.Float64, "lower": pl.Float64,
    "upper": pl.Float64, "score": pl.Float64, "is_anomaly": pl.Boolean, "kind": pl.String, "effect": pl.Float64,
}  # fmt: skip
TAIL_SHARE = 0.0093  # of days between 2.6 and 4.6 sigmas when the noise is Gaussian
TAIL_SLOPE, TAIL_CAP = 0.18, 1.10  # how far heavy tails raise the bar
CARRIED_CAP = 0.7  # of a day's noise that the day before can account for
CARRIED_TRUST = 10.0  # pairs of days at which half of what they say is believed
SURPRISE = 1.05  # the bar of what yesterday did not announce, in bars
SURPRISE_FROM = 0.7  # bars that a day has to be off by all the same
STEP_MARK = 3  # days of a level shift that are flagged: one alarm, not one a day for ever
NEAR_STEP = 7
LARGEST = float(np.finfo(np.float64).max) / 4
CHUNK = 2_000  # series at once; bounds the memory


@dataclass(frozen=True)
class Rules:
    """When a day is an anomaly; the defaults give about one false alarm in ten series a year."""

    sigmas: float = 4.25
    step_sigmas: float = STEP_SIGMAS
    least_share: float = 0.12  # times more or less than expected, for spikes and drops
    least_step: float = 0.08  # of the level, for a lasting change
    least_effect: float = 0.0  # in the unit of the series: the money floor
    least_days: int = 14  # of history before anything is said


def _matrix(series: Sequence[Daily]) -> tuple[Array, Mask, NDArray[np.int64]]:
    """Return values aligned to the last day, what was observed, and the weekday of the last day."""
    width = max(s.y.size for s in series)
    values = np.full((len(series), width), np.nan)
    seen = np.zeros((len(series), width), dtype=bool)
    for row, one in enumerate(series):
        values[row, width - one.y.size :] = one.y / one.scale
        seen[row, width - one.y.size :] = one.observed
    return values, seen, np.array([s.last.weekday() for s in series], dtype=np.int64)


def thresholds(z: Array, sigmas: float) -> Array:
    """Return the bar of each row: higher where the noise itself has heavy tails."""
    size = np.abs(z)
    inside = np.isfinite(size)
    between = (inside & (size > 2.6) & (size < sigmas)).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    return np.asarray(sigmas * np.clip(1 + TAIL_SLOPE * (between / TAIL_SHARE - 1.6), 1.0, TAIL_CAP))


def edges(z: Array, bar: Array) -> tuple[Array, Array]:
    """Return how far below and above the expected value, in sigmas, a day is still in line.

    Noise is carried over from day to day: a day that yesterday does not explain stands out against the smaller
    noise that is left. The carried share is the correlation of neighbouring days, without their extremes and drawn
    to none where few days tell of it.
    """
    held = np.clip(np.where(np.isfinite(z), z, 0.0), -3.0, 3.0)
    before = np.pad(held, ((0, 0), (1, 0)))[:, :-1]
    pairs = (np.isfinite(z[:, 1:]) & np.isfinite(z[:, :-1])).sum(axis=1)
    carried = np.clip((held * before).sum(axis=1) / (pairs + CARRIED_TRUST), 0.0, CARRIED_CAP)[:, None]
    left, wide = np.sqrt(1 - carried**2), bar[:, None]
    low, high = (
        np.minimum(wide, np.maximum(SURPRISE_FROM * wide, SURPRISE * wide * left + side * carried * before))
        for side in (-1, 1)
    )
    return low, high


@dataclass(frozen=True)
class Flags:
    """Flagged days by kind: 0 nothing, 1 spike, 2 drop, 3 level shift, 4 missing."""

    kind: NDArray[np.int8]
    score: Array
    low: Array  # sigmas below and above what was to be expected at which a day is out of line
    high: Array
    moved: Array  # logs by which a level shift moved its flagged days: without it they are as was to be expected


KINDS = ("", "spike", "drop", "level_shift", "missing")


def flag(values: Array, parts: Parts, *, rules: Rules, sparse: Mask, scale: Array) -> Flags:
    """Return what is out of line in a matrix of scaled values; `scale` turns effects into money."""
    z = np.where(np.isfinite(parts.z), parts.z, 0.0)
    bar = thresholds(parts.z, rules.sigmas)
    low, high = edges(parts.z, bar)
    gap = np.exp(parts.logs) - np.exp(parts.expected)
    with np.errstate(over="ignore"):
        effect = np.where(np.isfinite(gap), np.abs(gap), 0.0) * scale[:, None]
    share = np.expm1(np.abs(np.where(np.isfinite(parts.z), parts.logs - parts.expected, 0.0)))
    aged = np.cumsum(np.isfinite(values), axis=1).max(axis=1) >= rules.least_days
    score = np.abs(z) * bar[:, None] / np.where(z > 0, high, low)
    big = (score > bar[:, None]) & (share > rules.least_share) & (effect >= rules.least_effect) & aged[:, None]
    kind = np.zeros(values.shape, dtype=np.int8)
    kind[big & (z > 0)] = 1
    kind[big & (z < 0) & ~sparse[:, None]] = 2
    moved = _mark_steps(kind, score, parts, rules=rules, skip=sparse, scale=scale)
    return Flags(kind, score, low, high, np.where(kind == KINDS.index("level_shift"), moved, 0.0))


def _mark_steps(kind: NDArray[np.int8], score: Array, parts: Parts, *, rules: Rules, skip: Mask, scale: Array) -> Array:
    """Mark the first days of each lasting change and what a slightly misplaced step left beside it.

    Return by how many logs each step moved the days after it.
    """
    days = kind.shape[1]
    moved_by = np.zeros(kind.shape)
    for step in parts.steps:
        level = float(np.exp(parts.expected[step.row, step.day]))
        moved = abs(np.expm1(step.size))
        if skip[step.row] or moved < rules.least_step or level * moved * scale[step.row] < rules.least_effect:
            continue
        stop = min(step.day + STEP_MARK, days)
        moved_by[step.row, step.day : step.day + NEAR_STEP] += step.size
        kind[step.row, step.day : stop] = 3
        size = abs(step.size) / parts.sigma[step.row, step.day]
        score[step.row, step.day : stop] = np.maximum(score[step.row, step.day : stop], size)
        beside = slice(max(step.day - 3, 0), min(step.day + NEAR_STEP, days))
        same = 1 if step.size > 0 else 2
        kind[step.row, beside][kind[step.row, beside] == same] = 3
        age = days - step.day
        if LEAST_SIDE <= age <= NEAR_STEP:
            # seen for the first time tonight: the night's alert says so
            kind[step.row, -1] = 3
            score[step.row, -1] = max(score[step.row, -1], size)
    return moved_by


def _sparse(values: Array) -> Mask:
    """Return which rows are silent so often that a silent day says nothing; free weekends are rhythm, not silence."""
    weeks = by_phase(values)
    known = np.isfinite(weeks).sum(axis=1)
    silent = (weeks == 0).sum(axis=1)
    busy = silent * 2 <= known  # weekdays on which something usually happens
    share = (silent * busy).sum(axis=1) / np.maximum((known * busy).sum(axis=1), 1)
    return np.asarray((share > SPARSE / 2) | ~busy.any(axis=1))


def _tail(seen: Mask, inside: Mask) -> Mask:
    """Return the unseen days that a row ends with: the feed may be late, so they are not taken for zeros."""
    ever = np.cumsum(seen[:, ::-1], axis=1)[:, ::-1] > 0
    return np.asarray(inside & ~ever)


def analyse(values: Array, last_weekday: NDArray[np.int64], *, rules: Rules, scale: Array) -> tuple[Parts, Flags, Mask]:
    """Return parts, flags and which rows are sparse, for a matrix of scaled values."""
    sparse = _sparse(values)
    # of a sparse series only the busy days are compared with each other
    used = np.where(sparse[:, None] & (values == 0), np.nan, values)
    parts = split(used, last_weekday, step_sigmas=rules.step_sigmas)
    return parts, flag(used, parts, rules=rules, sparse=sparse, scale=scale), sparse


def _quiet(frame: pl.DataFrame, quiet: pl.DataFrame | None) -> pl.DataFrame:
    """Withdraw alarms on known days: holidays, price dates; `quiet` holds ds and, if it likes, unique_id."""
    if quiet is None or quiet.height == 0:
        return frame
    keys = ["unique_id", "ds"] if "unique_id" in quiet.columns else ["ds"]
    known = quiet.select(keys).unique().with_columns(pl.col("ds").cast(pl.Date), known=pl.lit(value=True))
    joined = frame.join(known, on=keys, how="left", maintain_order="left")
    calm = pl.col("known").fill_null(value=False)
    return joined.with_columns(
        is_anomaly=pl.col("is_anomaly") & ~calm, kind=pl.when(calm).then(pl.lit("")).otherwise("kind")
    ).drop("known")


def _frame(series: Sequence[Daily], rules: Rules) -> pl.DataFrame:
    values, seen, weekday = _matrix(series)
    scale = np.array([s.scale for s in series])
    inside = np.isfinite(values)
    tail = _tail(seen, inside)
    parts, flags, sparse = analyse(np.where(tail, np.nan, values), weekday, rules=rules, scale=scale)
    floor = parts.floor[:, None]

    def unit(logs: Array) -> Array:
        with np.errstate(over="ignore"):
            money = np.maximum(np.exp(np.minimum(logs, 80.0)) - floor, 0.0) * scale[:, None]
        return np.asarray(np.minimum(money, LARGEST))

    usual = parts.expected - flags.moved  # of a new level the old one: that is what was to be expected
    expected = np.where(np.isfinite(usual), unit(usual), values * scale[:, None])
    lower = np.where(np.isfinite(usual), unit(usual - flags.low * parts.sigma), 0.0)
    upper = np.where(np.isfinite(usual), unit(usual + flags.high * parts.sigma), expected)
    lower = np.where(sparse[:, None], 0.0, np.minimum(lower, expected))
    gap = inside & ~seen & ~sparse[:, None]
    awaited = tail & (expected > 0.05 * scale[:, None])
    kind = np.where(gap, np.where((values == 0) & ~awaited, 0, 4), flags.kind).astype(np.int8)
    kind = np.where(inside & ~seen & (kind != 4), 0, kind).astype(np.int8)
    observed = np.where(seen[inside], np.concatenate([s.y for s in series]), np.nan)
    sizes = inside.sum(axis=1)
    names = [s.unique_id for s in series]
    firsts = np.array([(s.first - date(1970, 1, 1)).days for s in series])
    column = np.concatenate([np.arange(n) for n in sizes]) if len(sizes) else np.empty(0)
    day = np.repeat(firsts, sizes) + column
    flat = kind[inside]
    return pl.DataFrame(
        {
            "unique_id": pl.Series(names).gather(np.repeat(np.arange(len(names)), sizes)),
            "ds": pl.Series(day.astype(np.int32)).cast(pl.Date),
            "y": pl.Series(observed).fill_nan(None),
            "expected": expected[inside],
            "lower": lower[inside],
            "upper": np.maximum(upper, expected)[inside],
            "score": np.where(flat == 4, 0.0, flags.score[inside]),
            "is_anomaly": flat > 0,
            "kind": pl.Series(np.array(KINDS, dtype=object)[flat].tolist(), dtype=pl.String),
        }
    ).with_columns(effect=(pl.col("y") - pl.col("expected")).fill_null(0.0))


def detect(
    panel: pl.DataFrame,
    *,
    rules: Rules | None = None,
    quiet: pl.DataFrame | None = None,
    as_of: date | None = None,
    align: bool | date = False,
) -> pl.DataFrame:
    """Return every day of every series with what was expected, how far off it was, and its kind.

    Days without a row inside a steady series are `missing` and have no y. Series that cannot be read are
    left out; `panel.clean` names them. `effect` is actual minus expected, in the unit of the series.
    """
    cleaned = clean(panel, as_of=as_of, align=align)
    starts = range(0, len(cleaned.series), CHUNK)
    blocks = [_frame(cleaned.series[start : start + CHUNK], rules or Rules()) for start in starts]
    if not blocks:
        return pl.DataFrame(schema=SCHEMA)
    return _quiet(pl.concat(blocks).cast(dict(SCHEMA)), quiet)  # type: ignore[arg-type]
