"""How members are combined: a default blend, moved a little by evidence, never one winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from costops.models.backtest import Fold, Outlook
from costops.models.features import Array
from costops.models.intervals import BANDS, band_index
from costops.models.statistical import classical_blend

GRID = np.linspace(0.0, 1.0, 21)
POOL_TRUST = 150.0  # series at which the panel's own best weight counts half
DAYS_TRUST = 60.0  # backtest days at which a series' own evidence counts half
NAIVE_TRUST = 200.0  # the same for the harder verdict that a series is not worth modelling
LOSING = 0.02  # log MAE ratio to naive, after shrinkage, above which naive is published
GRADES = ((0.10, "A"), (0.20, "B"), (0.40, "C"))


def default_weight(horizon: int) -> Array:
    """Return the boosted share by day: the further the day, the more a model that knows the year helps."""
    return np.asarray(0.4 + 0.5 * (1 - np.exp(-np.arange(horizon) / 20)))


@dataclass(frozen=True)
class Weights:
    """The boosted share by segment and band; what a panel did not teach is the default."""

    shares: dict[tuple[str, int], float] = field(default_factory=dict)

    def by_day(self, segment: str, horizon: int) -> Array:
        """Return the boosted share of each day of the horizon."""
        base = default_weight(horizon)
        taught = [self.shares.get((segment, int(b)), np.nan) for b in band_index(horizon)]
        shift = np.asarray(taught)
        return np.asarray(np.clip(np.where(np.isnan(shift), base, base + shift), 0.0, 1.0))


def blend(view: Outlook, share: Array) -> Array:
    """Return the weighted mean of the classical median and the boosted median; never negative with the latter."""
    centre = classical_blend(list(view.found))
    if view.boosted is None:
        return centre
    return np.asarray((1 - share) * np.maximum(centre, 0.0) + share * view.boosted[2])


def centre(view: Outlook, segment: str, share: Array) -> Array:
    """Return what is published for one outlook: the blend, or of an intermittent series the middle of three views.

    Where most days are silent neither a season nor a trend is there to be fitted, and the usual day is as good a
    view as any; the middle one of classical, boosted and usual keeps out whichever is far off.
    """
    if segment != "intermittent" or view.boosted is None:
        return blend(view, share)
    classical = np.maximum(classical_blend(list(view.found)), 0.0)
    return np.asarray(np.median([classical, view.boosted[2], np.full(classical.size, view.usual)], axis=0))


def learn(tested: Sequence[Fold]) -> Weights:
    """Return how far the pooled backtest moves the boosted share of each segment and band."""
    losses: dict[tuple[str, int], dict[str, list[Array]]] = {}
    for fold in tested:
        if fold.outlook.boosted is None:
            continue
        size = fold.actual.size
        centre = np.maximum(classical_blend(list(fold.outlook.found))[:size], 0.0)
        boosted = fold.outlook.boosted[2][:size]
        mixed = (1 - GRID[:, None]) * centre + GRID[:, None] * boosted
        errors = np.abs(mixed - fold.actual) / max(fold.naive_error, 1e-9)
        for b, (start, stop) in enumerate(BANDS):
            if start <= size:
                key = (fold.segment, b)
                losses.setdefault(key, {}).setdefault(fold.unique_id, []).append(
                    errors[:, start - 1 : stop].mean(axis=1)
                )
    shares = {}
    for (segment, b), by_series in losses.items():
        curve = np.mean([np.minimum(np.mean(v, axis=0), 10.0) for v in by_series.values()], axis=0)
        start, stop = BANDS[b]
        base = float(default_weight(stop)[start - 1 : stop].mean())
        trust = len(by_series) / (len(by_series) + POOL_TRUST)
        shares[segment, b] = trust * (float(GRID[int(np.argmin(curve))]) - base)
    return Weights(shares)


def own_shift(tested: Sequence[Fold], horizon: int) -> float:
    """Return how far one series' own backtest moves its boosted share, at most a quarter."""
    classical = boosted = 0.0
    days = 0
    for fold in tested:
        if fold.outlook.boosted is None:
            continue
        size = min(fold.actual.size, horizon)
        classical += float(np.abs(classical_blend(list(fold.outlook.found))[:size] - fold.actual[:size]).sum())
        boosted += float(np.abs(fold.outlook.boosted[2][:size] - fold.actual[:size]).sum())
        days += size
    if days == 0 or classical + boosted <= 0:
        return 0.0
    own = classical / (classical + boosted)  # half when both err alike
    return float(np.clip(days / (days + DAYS_TRUST) * (own - 0.5), -0.25, 0.25))


def loses_to_naive(relative: Sequence[float], pooled: float, days: int) -> bool:
    """Whether a series' log MAE ratios to seasonal naive, drawn to the pool's, still say naive is better."""
    if not relative:
        return False
    trust = days / (days + NAIVE_TRUST)
    return trust * float(np.mean(relative)) + (1 - trust) * pooled > LOSING


def grade(total_errors: Sequence[float]) -> str:
    """Return the forecastability grade of a series from its backtest errors of the period total."""
    finite = [e for e in total_errors if np.isfinite(e)]
    if not finite:
        return "-"
    typical = float(np.median(finite))
    for limit, letter in GRADES:
        if typical < limit:
            return letter
    return "D"
