"""Forecasts that need no fitting: the bar that every other model has to clear."""

from __future__ import annotations

import numpy as np

from costops.models.features import Array

WEEK = 7


def last_value(y: Array, horizon: int) -> Array:
    """Return the last value again and again."""
    return np.full(horizon, y[-1])


def seasonal_naive(y: Array, horizon: int) -> Array:
    """Return last week again and again; with less than a week of history, the last value."""
    if y.size < WEEK:
        return last_value(y, horizon)
    return np.asarray(np.resize(y[-WEEK:], horizon))


def weekday_mean(y: Array, horizon: int, *, weeks: int = 4) -> Array:
    """Return the mean of the same weekday over the last `weeks`."""
    if y.size < WEEK:
        return np.full(horizon, y.mean())
    whole = y[-WEEK * min(weeks, y.size // WEEK) :].reshape(-1, WEEK)
    return np.asarray(np.resize(whole.mean(axis=0), horizon))


def naive_error(y: Array) -> float:
    """Return the in-sample mean absolute error of repeating last week, the scale of MASE and CRPS."""
    lag = WEEK if y.size > WEEK else 1
    if y.size <= lag:
        return float(np.abs(y).mean()) if y.size else 0.0
    return float(np.abs(y[lag:] - y[:-lag]).mean())


def naive_width(y: Array, horizon: int) -> Array:
    """Return half the width of a 95 % interval round seasonal naive, growing with whole weeks."""
    lag = WEEK if y.size >= 3 * WEEK else 1
    step = y[lag:] - y[:-lag] if y.size > lag else np.zeros(1)
    spread = float(np.sqrt(np.mean(step[-112:] ** 2)))
    periods = (np.arange(horizon) // WEEK) if lag == WEEK else np.arange(horizon)
    return np.asarray(1.96 * spread * np.sqrt(1.0 + periods))
