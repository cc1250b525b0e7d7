"""What is learned from a panel, and what is published of one outlook with it: centre, bounds, name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from costops.models import budget, choice, intervals
from costops.models.backtest import Fold, Outlook
from costops.models.boosted import Boosted
from costops.models.features import Array
from costops.models.statistical import classical_blend


@dataclass(frozen=True)
class Decision:
    """What the backtest of one series decided."""

    shift: float = 0.0
    naive: bool = False
    grade: str = "-"


@dataclass(frozen=True)
class Fitted:
    """Everything that is learned from a panel and can be used again on other days."""

    horizon: int
    boosted: Boosted | None
    past: Boosted | None
    weights: choice.Weights
    calibration: intervals.Calibration
    pooled: float = 0.0
    dependence: float = budget.DEPENDENCE  # correlation between the errors of two days
    decisions: dict[str, Decision] = field(default_factory=dict)
    trained_to: date | None = None


def naive_of(view: Outlook) -> Array:
    """Return last week again and again, as the members have it; the classical median where none has."""
    for member in view.found:
        if member.name in ("seasonal_naive", "last_value"):
            return member.mean
    return classical_blend(list(view.found))


def publish(view: Outlook, segment: str, fitted: Fitted, decision: Decision) -> Array:
    """Return the centre that is published for one outlook."""
    if decision.naive:
        return naive_of(view)
    view = view.instead or view
    horizon = view.found[0].mean.size
    share = np.clip(fitted.weights.by_day(segment, horizon) + decision.shift, 0, 1)
    return choice.centre(view, segment, share)


def centre_on(fold: Fold, view: Outlook, fitted: Fitted) -> Array:
    """Return what would be published of a view of one fold; another view than its own is never replaced by naive."""
    decision = fitted.decisions.get(fold.unique_id, Decision())
    return publish(view, fold.segment, fitted, replace(decision, naive=decision.naive and not view.by))


def named(view: Outlook, decision: Decision) -> str:
    """Return what the `model` column says of one outlook."""
    names = [m.name for m in view.found]
    if decision.naive:
        return "seasonal_naive"
    if view.instead is not None:
        return f"{named(replace(view.instead, instead=None), decision)} with {view.instead.by}"
    if len(names) == 1 and view.boosted is None:
        return names[0]
    return f"blend({', '.join([*names, *(['boosted'] if view.boosted is not None else [])])})"


def bounds_of(centre: Array, view: Outlook, segment: str, fitted: Fitted, days: int) -> dict[str, Array]:
    """Return the calibrated bounds round a centre; of less than two weeks of history, as wide as ignorance."""
    raw = intervals.widths(view.instead or view)
    if days < 14:
        # nothing is known about the rhythm yet: at least the level itself either way, more with distance
        least = np.abs(centre) * np.sqrt(1 + np.arange(centre.size) / 30)
        widest = {95: np.maximum(raw.up[95], least), 80: np.maximum(raw.up[80], 0.6 * least)}
        raw = intervals.Widths(widest, widest)
    return fitted.calibration.apply(centre, raw, segment=segment, signed=segment == "signed")


def mean_of(centre: Array, bounds: dict[str, Array], segment: str) -> Array:
    """Return what to add up for a total: of an intermittent series the mean, far above its usual day.

    The mean is the quantile function integrated over its five known points.
    """
    if segment != "intermittent":
        return centre
    outer, inner = bounds["lo95"] + bounds["hi95"], bounds["lo80"] + bounds["hi80"]
    return 0.0625 * outer + 0.2375 * inner + 0.4 * centre
