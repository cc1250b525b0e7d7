"""The month-end view: expected total, chance to exceed a budget, day on which it is used up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from costops.models.features import Array

DEPENDENCE = 0.35  # correlation of one day's error with another's, where no backtest says better


@dataclass(frozen=True)
class MonthView:
    """What the rest of a month will bring, in the unit of the series."""

    spent: float
    expected: float
    low80: float
    high80: float
    low95: float
    high95: float
    budget: float | None
    chance_exceeded: float | None
    exhausted_on: date | None
    exhausted_early: date | None  # a bad but not unlikely case: one in ten


def dependence(errors: Sequence[Array], sigmas: Sequence[Array]) -> float:
    """Return the correlation between days that makes period totals as uncertain as the backtest saw them."""
    if len(errors) < 10:
        return DEPENDENCE
    best, found = math.inf, DEPENDENCE
    for rho in np.linspace(0.0, 1.0, 21):
        ratios = [
            float(e.sum()) ** 2 / max(rho * float(s.sum()) ** 2 + (1 - rho) * float((s**2).sum()), 1e-18)
            for e, s in zip(errors, sigmas, strict=True)
        ]
        # the median of a squared standard normal is 0.455
        gap = abs(float(np.median(ratios)) - 0.455)
        if gap < best:
            best, found = gap, float(rho)
    trust = len(errors) / (len(errors) + 30)
    return trust * found + (1 - trust) * DEPENDENCE


def spread(sigma: Array, rho: float) -> Array:
    """Return the standard deviation of running totals whose days are correlated."""
    return np.asarray(np.sqrt(rho * np.cumsum(sigma) ** 2 + (1 - rho) * np.cumsum(sigma**2)))


def _above(gap: float, up: float, down: float) -> float:
    """Return the chance that a total ends more than `gap` above its centre."""
    side = up if gap >= 0 else down
    if side <= 0:
        return 0.0 if gap >= 0 else 1.0
    return 0.5 * math.erfc(gap / side / math.sqrt(2))


def month_view(
    actual: pl.DataFrame, forecast: pl.DataFrame, *, month: date, budget: float | None = None, rho: float = DEPENDENCE
) -> MonthView:
    """Return the view of one series for the month of `month`.

    `actual` holds ds and y, `forecast` the rows of the same series; a day that is in both counts as
    actual. Days that neither covers are not guessed: forecast further to include them.
    """
    start = month.replace(day=1)
    inside = (pl.col("ds") >= start) & (pl.col("ds") < pl.lit(start).dt.offset_by("1mo"))
    past = actual.with_columns(pl.col("ds").cast(pl.Date)).filter(inside)
    spent = float(past["y"].sum()) if past.height else 0.0
    last = past["ds"].max()
    ahead = forecast.filter(inside).sort("ds")
    if isinstance(last, date):
        ahead = ahead.filter(pl.col("ds") > last)
    centre = ahead["yhat"].to_numpy()
    up = np.maximum(ahead["hi95"].to_numpy() - centre, 0) / 1.96
    down = np.maximum(centre - ahead["lo95"].to_numpy(), 0) / 1.96
    # of an intermittent series the mean lies far above the median, and only means add up
    mean = np.cumsum(ahead["mean"].to_numpy() if "mean" in ahead.columns else centre)
    total_up, total_down = spread(up, rho), spread(down, rho)
    expected = spent + (float(mean[-1]) if mean.size else 0.0)
    wide_up = float(total_up[-1]) if mean.size else 0.0
    wide_down = float(total_down[-1]) if mean.size else 0.0
    days = ahead["ds"].to_list()

    def first_over(path: Array) -> date | None:
        if budget is None:
            return None
        if spent >= budget:
            over = past.sort("ds").with_columns(pl.col("y").cum_sum()).filter(pl.col("y") >= budget)["ds"].min()
            return over if isinstance(over, date) else None
        hit = np.flatnonzero(spent + path >= budget)
        return days[int(hit[0])] if hit.size else None

    return MonthView(
        spent=spent,
        expected=expected,
        low80=max(expected - 1.2816 * wide_down, min(spent, expected)),
        high80=expected + 1.2816 * wide_up,
        low95=max(expected - 1.96 * wide_down, min(spent, expected)),
        high95=expected + 1.96 * wide_up,
        budget=budget,
        chance_exceeded=None
        if budget is None
        else (1.0 if spent > budget else _above(budget - expected, wide_up, wide_down)),
        exhausted_on=first_over(mean),
        exhausted_early=first_over(mean + 1.2816 * total_up),
    )
