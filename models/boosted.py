"""One LightGBM for all series: direct over the horizon, five quantiles, log ratio to the level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from costops.models.features import NAMES, Array, Frame, Index, build

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
ROWS = 60_000  # sampled training rows; more moved the backtest by less than 1 %
SHORTEST_ORIGIN = 14
CHUNK = 400  # series predicted at once; bounds the memory


@dataclass(frozen=True)
class Series:
    """One clean daily series, scaled to a level near one, with the calendar of its first day."""

    y: Array
    weekday: int
    day_of_year: int


@dataclass(frozen=True)
class Settings:
    """How the boosted model is trained; the defaults were not tuned to any series."""

    rows: int = ROWS
    trees: int = 120
    leaves: int = 31
    rate: float = 0.06
    seed: int = 7
    threads: int = 1  # more spin against each other on shared cores: ten times the CPU for nothing
    recent: int = 900  # origins older than this teach another regime


@dataclass(frozen=True)
class Boosted:
    """A trained set of quantile models and the furthest horizon that they have seen."""

    models: tuple[lgb.Booster, ...]
    horizon: int


def with_young(series: Sequence[Series], horizon: int, seed: int) -> list[Series]:
    """Return the series and a short slice of each long one, so that short histories are no surprise."""
    rng = np.random.default_rng(seed)
    out = list(series)
    for one in series:
        if one.y.size < 150:
            continue
        length = int(rng.integers(28, 91)) + min(horizon, 60)
        start = int(rng.integers(0, one.y.size - length + 1)) if one.y.size > length else 0
        out.append(Series(one.y[start : start + length], (one.weekday + start) % 7, (one.day_of_year + start) % 365))
    return out


def sample(series: Sequence[Series], horizon: int, settings: Settings) -> tuple[Array, Array, Array]:
    """Return features, targets and weights of training pairs, the same number for each series."""
    rng = np.random.default_rng(settings.seed)
    usable = [s for s in with_young(series, horizon, settings.seed) if s.y.size > SHORTEST_ORIGIN + 7]
    share = max(settings.rows // max(len(usable), 1), 20)
    frames: list[Frame] = []
    targets: list[Array] = []
    for one in usable:
        n = one.y.size
        first = max(SHORTEST_ORIGIN, n - settings.recent)
        size = min(share, 12 * (n - first))
        origins = rng.integers(first, n, size)
        # squared: near days are asked for by every reader, far days by few
        reach = np.minimum(horizon, n - origins)
        horizons = 1 + np.floor(reach * rng.random(size) ** 1.3).astype(np.int64)
        horizons = np.minimum(horizons, reach)
        frame = build(one.y, origins, horizons, weekday=one.weekday, day_of_year=one.day_of_year)
        frames.append(frame)
        targets.append(frame.to_ratio(one.y[origins + horizons - 1]))
    if not frames:
        return np.empty((0, len(NAMES))), np.empty(0), np.empty(0)
    x = np.vstack([f.x for f in frames])
    return x, np.concatenate(targets), np.ones(len(x))


def train(series: Sequence[Series], *, horizon: int, settings: Settings | None = None) -> Boosted | None:
    """Return the trained quantile models; nothing when the panel is too small to teach."""
    settings = settings or Settings()
    x, target, weight = sample(series, horizon, settings)
    if len(x) < 200:
        return None
    data = lgb.Dataset(
        x, target, weight=weight, feature_name=list(NAMES), free_raw_data=False,
        params={"max_bin": 127, "verbose": -1, "num_threads": settings.threads},
    )  # fmt: skip
    models = []
    for q in QUANTILES:
        params = {
            "objective": "quantile", "alpha": q, "num_leaves": settings.leaves,
            "learning_rate": settings.rate, "min_data_in_leaf": 30, "feature_fraction": 0.7,
            "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "seed": settings.seed,
            "deterministic": True, "force_row_wise": True, "num_threads": settings.threads,
            "verbose": -1, "max_bin": 127,
        }  # fmt: skip
        models.append(lgb.train(params, data, num_boost_round=settings.trees))
    return Boosted(tuple(models), horizon)


def _asked(model: Boosted, horizon: int) -> Index:
    """Return the horizons to ask for: beyond the taught ones, the last taught week again."""
    steps = np.arange(1, horizon + 1)
    over = np.maximum(steps - model.horizon, 0)
    return np.asarray(np.maximum(steps - 7 * np.ceil(over / 7).astype(np.int64), 1))


def predict(model: Boosted, known: Sequence[Series], *, horizon: int) -> Array:
    """Return quantiles of the days after each series ends, shape (series, 5, horizon), never crossing."""
    out = np.empty((len(known), len(QUANTILES), horizon))
    asked = _asked(model, horizon)
    for start in range(0, len(known), CHUNK):
        part = known[start : start + CHUNK]
        frames = [
            build(s.y, np.full(horizon, s.y.size), asked, weekday=s.weekday, day_of_year=s.day_of_year) for s in part
        ]
        x = np.vstack([f.x for f in frames])
        for q, booster in enumerate(model.models):
            ratio = np.asarray(booster.predict(x, num_threads=1)).reshape(len(part), horizon)
            for i, frame in enumerate(frames):
                out[start + i, q] = frame.from_ratio(ratio[i])
    return np.sort(out, axis=1)
