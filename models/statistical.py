"""The classical members, from statsforecast, each caught on its own so that one failure stops nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from costops.models.baselines import last_value, naive_width, seasonal_naive
from costops.models.features import Array

HISTORY = 730  # days a classical member looks at; more costs time and changes nothing
RETIRED_AFTER = 14  # silent days after which a model counts as switched off


@dataclass(frozen=True)
class Member:
    """One member's forecast of one series: the mean, and half of its 95 % interval where it has one."""

    name: str
    mean: Array
    half95: Array | None = None


def _make(name: str) -> Any:
    from statsforecast import models as classical

    makers: dict[str, Callable[[], Any]] = {
        "theta": lambda: classical.DynamicOptimizedTheta(season_length=7),
        "mstl": lambda: classical.MSTL(season_length=7),
        "ets": lambda: classical.AutoETS(season_length=7, model="AAA", damped=True),
        "hours": lambda: classical.AutoETS(season_length=24, model="ANA"),
        "arima": lambda: classical.AutoARIMA(season_length=7, max_p=3, max_q=3, max_P=1, max_Q=1, approximation=True),
    }
    return makers[name]()


def tier(days: int) -> tuple[str, ...]:
    """Return the members worth fitting to a history of `days`; below three weeks the season is not there."""
    if days < 7:
        return ("last_value",)
    if days < 14:
        return ("seasonal_naive",)
    if days < 60:  # Theta finds no week in so few days
        return ("ets", "mstl", "seasonal_naive")
    return ("theta", "mstl", "seasonal_naive")


def fit_member(name: str, y: Array, horizon: int) -> Member | None:
    """Return one member's forecast of a scaled series; nothing when the library cannot fit it."""
    if name == "last_value":
        return Member(name, last_value(y, horizon), naive_width(y, horizon))
    if name == "seasonal_naive":
        return Member(name, seasonal_naive(y, horizon), naive_width(y, horizon))
    recent = np.ascontiguousarray(y[-HISTORY:] if name != "arima" else y[-400:])
    wide = name in ("theta", "ets", "arima")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = _make(name).forecast(y=recent, h=horizon, level=[95] if wide else None)
    except Exception:  # noqa: BLE001 - the library raises bare exceptions; the caller publishes who is missing
        return None
    mean = np.asarray(out["mean"], dtype=np.float64)
    if not np.isfinite(mean).all():
        return None
    half = None
    if wide:
        half = (np.asarray(out["hi-95"]) - np.asarray(out["lo-95"])) / 2
        half = half if np.isfinite(half).all() else None
    # a runaway trend is a fitting accident, not news: ten times the largest recent value is the end
    cap = 10 * float(np.abs(recent[-364:]).max(initial=0.0)) + 1e-9
    return Member(name, np.clip(mean, -cap, cap), None if half is None else np.minimum(half, 3 * cap))


def members(y: Array, horizon: int, *, extra: tuple[str, ...] = ()) -> list[Member]:
    """Return every member that fits this history, seasonal naive (or last value) always among them."""
    started = int(np.flatnonzero(y)[0]) if y.any() else y.size - 1
    history = y[started:]
    found = [fit_member(name, history, horizon) for name in (*tier(history.size), *extra)]
    kept = [m for m in found if m is not None]
    if not kept:
        kept = [Member("seasonal_naive", seasonal_naive(y, horizon), naive_width(y, horizon))]
    return kept


def classical_blend(found: list[Member]) -> Array:
    """Return the median of the members, day by day."""
    return np.asarray(np.median(np.vstack([m.mean for m in found]), axis=0))


def classical_width(found: list[Member]) -> Array:
    """Return half of the 95 % interval of the best founded member: Theta, else ETS, else naive."""
    for name in ("theta", "ets", "seasonal_naive", "last_value"):
        for member in found:
            if member.name == name and member.half95 is not None:
                return member.half95
    return np.asarray(np.abs(classical_blend(found)))


def silent_days(y: Array) -> int:
    """Return how many days without use a series ends with."""
    busy = np.flatnonzero(y)
    return int(y.size - 1 - busy[-1]) if busy.size else int(y.size)


def is_retired(y: Array) -> bool:
    """Whether a series that once ran steadily has been silent for two weeks or more."""
    silent = silent_days(y)
    before = y[: y.size - silent][-28:]
    return bool(silent >= RETIRED_AFTER and before.size >= 14 and (before > 0).mean() > 0.8)
