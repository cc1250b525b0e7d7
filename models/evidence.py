"""When something beside a series' own past is used: only where the series' own held-out days were better with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from costops.models.backtest import Fold, Outlook
from costops.models.features import Array
from costops.models.scores import mae
from costops.models.statistical import Member

BETTER = 0.98  # of the error without it
FEWEST_FOLDS = 2


def helps(tried: Sequence[float], usual: Sequence[float]) -> bool:
    """Whether errors fall by a fiftieth over all cutoffs, and at more than half of them."""
    if len(tried) < FEWEST_FOLDS:
        return False
    wins = sum(a < b for a, b in zip(tried, usual, strict=True))
    return sum(tried) < BETTER * sum(usual) and 2 * wins > len(tried)


def error(fold: Fold, centre: Array) -> float:
    """Return the mean absolute error of a centre on the held-out days of one fold."""
    return mae(fold.actual, centre[: fold.actual.size])


def scaled(view: Outlook, factor: Array, by: str) -> Outlook:
    """Return an outlook with every member, and its width, times a positive factor by day."""
    found = tuple(
        Member(m.name, m.mean * factor, None if m.half95 is None else m.half95 * factor) for m in view.found
    )
    boosted = None if view.boosted is None else view.boosted * factor
    return Outlook(found, boosted, view.usual, by=by)


def instead(view: Outlook, other: Outlook | None) -> Outlook:
    """Return the outlook with another to be published in its place."""
    return view if other is None else replace(view, instead=other)


def log_floored(values: Array) -> Array:
    """Return logs of non-negative values, with a twentieth of their mean added where some are zero."""
    low = float(values.min(initial=np.inf))
    return np.asarray(np.log(values + (0.0 if low > 0 else 0.05 * float(values.mean()) + 1e-12)))
