"""Seeded cost-like series: they teach small panels, and they are the ground of tests and benchmarks."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl

from costops.models.features import Array

KINDS = ("steady", "growing", "bursty", "uneven", "sparse")


def one(rng: np.random.Generator, days: int, *, kind: str | None = None, weekday: int = 0) -> Array:
    """Return one daily series: level, growth, weekly rhythm, autocorrelated lognormal noise, slow year."""
    kind = kind or str(rng.choice(KINDS, p=[0.3, 0.25, 0.15, 0.25, 0.05]))
    when = np.arange(days, dtype=np.float64)
    level = 10 ** rng.uniform(-1, 4)
    growth = rng.uniform(-0.2, 1.2) if kind == "growing" else rng.uniform(-0.15, 0.3)
    weekend = rng.uniform(0.25, 1.05)
    profile = np.concatenate([1 + rng.normal(0, 0.06, 5), weekend * (1 + rng.normal(0, 0.04, 2))])
    place = (np.arange(days) + weekday) % 7
    sigma = rng.uniform(0.04, 0.25) if kind != "bursty" else rng.uniform(0.2, 0.4)
    shock = rng.normal(0, sigma, days)
    if kind in ("uneven", "bursty"):
        shock = shock * np.where(place >= 5, rng.uniform(1.2, 2.2), 1.0)
    carry = rng.uniform(0.0, 0.4)
    noise = np.empty(days)
    last = 0.0
    for i in range(days):
        last = carry * last + float(np.sqrt(1 - carry**2)) * shock[i]
        noise[i] = last
    year = rng.uniform(0.0, 0.15) * np.sin(2 * np.pi * (when / 365.25 + rng.random()))
    drift = np.cumsum(rng.normal(0, sigma * rng.uniform(0.0, 0.12), days))
    trend = np.log1p(max(growth, -0.9)) * when / 365.25
    y = level * profile[place] * np.exp(trend + year + drift + noise)
    if kind == "sparse":
        y = np.where(rng.random(days) < rng.uniform(0.2, 0.6), 0.0, y)
    return np.asarray(y)


def many(count: int, *, days: int = 400, seed: int = 0) -> list[Array]:
    """Return `count` series of `days`, always the same for one seed; each starts on a Monday."""
    rng = np.random.default_rng(seed)
    return [one(rng, days) for _ in range(count)]


def frame(count: int, *, days: int = 400, seed: int = 0, first: date = date(2024, 1, 1)) -> pl.DataFrame:
    """Return the same series as a long panel of unique_id, ds, y."""
    values = many(count, days=days, seed=seed)
    calendar = pl.date_range(first, first + timedelta(days=days - 1), "1d", eager=True)
    return pl.concat(
        pl.DataFrame({"unique_id": [f"s{i:05d}"] * days, "ds": calendar, "y": y}) for i, y in enumerate(values)
    )
