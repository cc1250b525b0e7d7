"""Intervals that hold what they promise: mixed half-widths times conformal factors pooled over series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from costops.models.backtest import Fold, Outlook
from costops.models.features import Array
from costops.models.statistical import classical_width

BANDS = ((1, 7), (8, 14), (15, 30), (31, 60), (61, 90))
LEVELS = (80, 95)
NORMAL_80 = 1.2816 / 1.9600
# Neither half-width counts for less than this share of the other: the boosted model learns from the pool and
# cannot know that this series has just become wild, and to a classical one a constant has no noise at all.
LEAST_OF_OTHER = 1 / 6
FEWEST = 8  # series; a smaller pool borrows the factors of all series
TRUST = 5.0  # series at which a pool's own factor counts half against no correction at all
LIMITS = (0.35, 4.0)
# The days to come differ more from a backtest than backtests differ from each other, so the outer
# bound aims a little beyond its name: 95.9 % in the backtest to hold 95 % live.
AIM = {80: 0.787, 95: 0.959}

Key = tuple[str, int, int, str]  # segment, band, level, side


@dataclass(frozen=True)
class Widths:
    """Distances from the forecast to its bounds, by level and side, before calibration."""

    up: dict[int, Array]
    down: dict[int, Array]


def band(step: int) -> int:
    """Return the index of the horizon band of day `step` after the cutoff; the last one is open."""
    for i, (_, stop) in enumerate(BANDS):
        if step <= stop:
            return i
    return len(BANDS) - 1


def band_index(horizon: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the band of each day of a horizon."""
    return np.array([band(step) for step in range(1, horizon + 1)])


def widths(view: Outlook) -> Widths:
    """Return the geometric mean of the classical and the boosted half-widths; the classical alone without the other.

    An arithmetic mean is ruled by the wider of the two, which is mostly the classical one far ahead.
    """
    half = classical_width(list(view.found))
    classical = {95: half, 80: half * NORMAL_80}
    if view.boosted is None:
        return Widths(classical, classical)
    low95, low80, middle, high80, high95 = view.boosted

    def mixed(level: int, boosted: Array) -> Array:
        own, taught = np.maximum(classical[level], 0.0), np.maximum(boosted, 0.0)
        return np.asarray(np.sqrt(np.maximum(own, LEAST_OF_OTHER * taught) * np.maximum(taught, LEAST_OF_OTHER * own)))

    up = {95: mixed(95, high95 - middle), 80: mixed(80, high80 - middle)}
    down = {95: mixed(95, middle - low95), 80: mixed(80, middle - low80)}
    return Widths(up, down)


def weighted_quantile(values: Array, weights: Array, q: float) -> float:
    """Return the smallest value below which at least a share `q` of the weight lies."""
    order = np.argsort(values)
    running = np.cumsum(weights[order])
    place = int(np.searchsorted(running, q * running[-1]))
    return float(values[order][min(place, values.size - 1)])


@dataclass(frozen=True)
class Calibration:
    """Factors by segment, band, level and side; a missing one is 1."""

    factors: dict[Key, float]

    def apply(self, centre: Array, raw: Widths, *, segment: str, signed: bool) -> dict[str, Array]:
        """Return lo80, hi80, lo95, hi95 round `centre`: nested, round it, and non-negative unless signed."""
        places = band_index(centre.size)
        out: dict[str, Array] = {}
        for level in LEVELS:
            up = np.array([self.factors.get((segment, int(b), level, "up"), 1.0) for b in places])
            down = np.array([self.factors.get((segment, int(b), level, "down"), 1.0) for b in places])
            out[f"hi{level}"] = centre + up * np.maximum(raw.up[level], 0)
            out[f"lo{level}"] = centre - down * np.maximum(raw.down[level], 0)
        out["hi95"] = np.maximum(out["hi95"], out["hi80"])
        out["lo95"] = np.minimum(out["lo95"], out["lo80"])
        if not signed:
            out = {name: np.maximum(bound, 0.0) for name, bound in out.items()}
        return out


def _scores(fold: Fold, centre: Array, inside: slice) -> dict[tuple[int, str], Array]:
    """Return how many half-widths the truth lay above (below) the forecast, by level and side."""
    raw = widths(fold.outlook)
    error = (fold.actual - centre)[inside]
    out = {}
    for level in LEVELS:
        for side, half, sign in (("up", raw.up[level], 1.0), ("down", raw.down[level], -1.0)):
            size = np.maximum(half[: fold.actual.size][inside], 1e-9)
            out[level, side] = sign * error / size
    return out


def calibrate(tested: Sequence[Fold], centres: Sequence[Array]) -> Calibration:
    """Return the pooled factors of backtest folds, each series weighing the same in its pool."""
    pools: dict[Key, list[tuple[str, Array]]] = {}
    for fold, centre in zip(tested, centres, strict=True):
        size = fold.actual.size
        for b, (start, stop) in enumerate(BANDS):
            inside = slice(start - 1, size if b == len(BANDS) - 1 else min(stop, size))
            if start > size:
                break
            for (level, side), values in _scores(fold, centre[:size], inside).items():
                for pool in (fold.segment, "all"):
                    pools.setdefault((pool, b, level, side), []).append((fold.unique_id, values))
    return Calibration(_factors(pools))


def _factors(pools: dict[Key, list[tuple[str, Array]]]) -> dict[Key, float]:
    """Return the factor of each pool; one with few series borrows from all."""
    segments = {key[0] for key in pools} | {"regular", "short", "intermittent", "signed"}
    out: dict[Key, float] = {}
    for segment, b, level, side in product(sorted(segments), range(len(BANDS)), LEVELS, ("up", "down")):
        own = pools.get((segment, b, level, side), [])
        if len({name for name, _ in own}) < FEWEST:
            own = pools.get(("all", b, level, side), [])
        if own:
            factor = _factor(own, level)
            # a short history hides its own risks: it never gets less than the raw width
            out[segment, b, level, side] = max(factor, 1.0) if segment == "short" else factor
    return out


def _factor(pool: list[tuple[str, Array]], level: int) -> float:
    """Return the pooled quantile of the scores, drawn toward 1 when few series stand behind it."""
    per_series: dict[str, int] = {}
    for name, values in pool:
        per_series[name] = per_series.get(name, 0) + values.size
    values = np.concatenate([v for _, v in pool])
    weights = np.concatenate([np.full(v.size, 1.0 / per_series[name]) for name, v in pool])
    tail = (1 - AIM[level]) / 2
    raw = float(np.clip(weighted_quantile(values, weights, 1 - tail), *LIMITS))
    trust = len(per_series) / (len(per_series) + TRUST)
    return float(np.exp(trust * np.log(raw)))
