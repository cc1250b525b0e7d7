"""How good a forecast was: every loss takes the same arrays and returns one number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from costops.models.features import Array

SCHEMA = {
    "unique_id": pl.String, "model": pl.String, "horizon": pl.Int64, "folds": pl.Int64,
    "mae": pl.Float64, "wape": pl.Float64, "mase": pl.Float64, "mape": pl.Float64, "smape": pl.Float64,
    "total_ape": pl.Float64, "relative_mae": pl.Float64, "crps": pl.Float64, "interval_score95": pl.Float64,
    "coverage80": pl.Float64, "coverage95": pl.Float64,
}  # fmt: skip


def mae(actual: Array, yhat: Array) -> float:
    """Return the mean absolute error."""
    return float(np.abs(actual - yhat).mean())


def wape(actual: Array, yhat: Array) -> float:
    """Return the absolute error as a share of the actual total; NaN when nothing was used."""
    total = float(np.abs(actual).sum())
    return float(np.abs(actual - yhat).sum() / total) if total > 0 else float("nan")


def mape(actual: Array, yhat: Array, level: float) -> float:
    """Return the mean relative error; NaN where more than 5 % of days lie below 1 % of the level."""
    small = np.abs(actual) < 0.01 * level
    if level <= 0 or small.mean() > 0.05:
        return float("nan")
    kept = ~small & (actual != 0)
    if not kept.any():
        return float("nan")
    return float((np.abs(actual - yhat)[kept] / np.abs(actual)[kept]).mean())


def smape(actual: Array, yhat: Array) -> float:
    """Return the symmetric relative error between 0 and 2; a day of two zeros counts as exact."""
    size = np.abs(actual) + np.abs(yhat)
    return float(np.where(size > 0, 2 * np.abs(actual - yhat) / np.where(size > 0, size, 1.0), 0.0).mean())


def total_ape(actual: Array, yhat: Array) -> float:
    """Return the relative error of the period total, what a budget needs; NaN when the total is zero."""
    total = float(actual.sum())
    return abs(float(yhat.sum()) - total) / abs(total) if total != 0 else float("nan")


def pinball(actual: Array, quantile: Array, q: float) -> float:
    """Return the mean pinball loss of one quantile."""
    gap = actual - quantile
    return float(np.maximum(q * gap, (q - 1) * gap).mean())


def crps(actual: Array, yhat: Array, bounds: Mapping[str, Array]) -> float:
    """Return twice the mean pinball loss at 2.5, 10, 50, 90 and 97.5 %."""
    pairs = (
        (0.025, bounds["lo95"]),
        (0.1, bounds["lo80"]),
        (0.5, yhat),
        (0.9, bounds["hi80"]),
        (0.975, bounds["hi95"]),
    )
    return 2.0 * float(np.mean([pinball(actual, values, q) for q, values in pairs]))


def interval_score(actual: Array, low: Array, high: Array, level: int) -> float:
    """Return the width of the interval plus the price of each miss."""
    alpha = 1 - level / 100
    missed = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return float((high - low + 2 / alpha * missed).mean())


def coverage(actual: Array, low: Array, high: Array) -> float:
    """Return the share of days inside the interval; a bound that is hit counts as inside."""
    slack = 1e-9 * np.maximum(np.abs(actual), 1.0)
    return float(((actual >= low - slack) & (actual <= high + slack)).mean())


def score(
    actual: Array, yhat: Array, *, naive: Array, naive_error: float, level: float, bounds: Mapping[str, Array] | None
) -> dict[str, float]:
    """Return every score of one forecast; those that need bounds are NaN without them."""
    scale = naive_error if naive_error > 0 else float("nan")
    error, base = mae(actual, yhat), mae(actual, naive)
    out = {
        "mae": error,
        "wape": wape(actual, yhat),
        "mase": error / scale,
        "mape": mape(actual, yhat, level),
        "smape": smape(actual, yhat),
        "total_ape": total_ape(actual, yhat),
        "relative_mae": error / base if base > 0 else float("nan"),
        "crps": float("nan"),
        "interval_score95": float("nan"),
        "coverage80": float("nan"),
        "coverage95": float("nan"),
    }
    if bounds is not None:
        out["crps"] = crps(actual, yhat, bounds) / scale
        out["interval_score95"] = interval_score(actual, bounds["lo95"], bounds["hi95"], 95) / scale
        out["coverage80"] = coverage(actual, bounds["lo80"], bounds["hi80"])
        out["coverage95"] = coverage(actual, bounds["lo95"], bounds["hi95"])
    return out
