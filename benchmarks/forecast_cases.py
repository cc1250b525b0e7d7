"""Rolling origins over the shared daily series, and classical forecasts to compare with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[np.float64]
ORIGINS = 3
PER_FAMILY = 7
BOUNDS = ("lo80", "hi80", "lo95", "hi95")


@dataclass(frozen=True)
class Case:
    """One series of the scored subset, with the horizon and the distance of its origins."""

    unique_id: str
    family: str
    segment: str
    first: date
    y: Array
    horizon: int
    step: int

    def cut(self, origin: int) -> int:
        """Return the number of known days at an origin; 0 is the newest."""
        return int(self.y.size) - self.horizon - origin * self.step


def load(folder: Path) -> list[Case]:
    """Return the first seven series of each family."""
    daily = pl.read_csv(folder / "daily.csv", try_parse_dates=True).sort("unique_id", "ds")
    meta = pl.read_csv(folder / "series_meta.csv")
    return _cases(daily, meta.filter(pl.int_range(pl.len()).over("family") < PER_FAMILY))


def family_cases(folder: Path, family: str, most: int) -> list[Case]:
    """Return up to `most` series of one family that share their calendar."""
    daily = pl.read_csv(folder / "daily.csv", try_parse_dates=True).sort("unique_id", "ds")
    cases = _cases(daily, pl.read_csv(folder / "series_meta.csv").filter(pl.col("family") == family))
    shared = [c for c in cases if c.first == cases[0].first and c.y.size == cases[0].y.size]
    return shared[:most]


def _cases(daily: pl.DataFrame, meta: pl.DataFrame) -> list[Case]:
    cases = []
    for row in meta.iter_rows(named=True):
        own = daily.filter(pl.col("unique_id") == row["unique_id"])
        y = own["y"].to_numpy().astype(np.float64)
        segment = "short" if y.size < 100 else "intermittent" if row["zero_share"] > 0.05 else "regular"
        horizon, step = (90, 30) if y.size >= 170 else (30, 7) if y.size >= 69 else (7, 7)
        cases.append(Case(row["unique_id"], row["family"], segment, own["ds"][0], y, horizon, step))
    return cases


def panel(cases: list[Case], origin: int) -> pl.DataFrame:
    """Return what is known at an origin as a long panel."""
    blocks = []
    for case in cases:
        days = case.cut(origin)
        if days < 14:
            continue
        calendar = pl.date_range(case.first, case.first + timedelta(days=days - 1), "1d", eager=True)
        blocks.append(pl.DataFrame({"unique_id": [case.unique_id] * days, "ds": calendar, "y": case.y[:days]}))
    return pl.concat(blocks)


Forecasts = dict[tuple[str, int], dict[str, Array]]


def classical(cases: list[Case]) -> dict[str, Forecasts]:
    """Return the forecasts of each single statistical model, with its own intervals."""
    from statsforecast import models as sf

    makers = {
        "seasonal naive": lambda: sf.SeasonalNaive(season_length=7),
        "DOT": lambda: sf.DynamicOptimizedTheta(season_length=7),
        "AutoTheta": lambda: sf.AutoTheta(season_length=7),
        "AutoETS": lambda: sf.AutoETS(season_length=7),
        "MSTL": lambda: sf.MSTL(season_length=7),
        "AutoCES": lambda: sf.AutoCES(season_length=7),
    }
    out: dict[str, Forecasts] = {name: {} for name in makers}
    for case in cases:
        for origin in range(ORIGINS):
            known = case.y[: case.cut(origin)]
            if known.size < 14:
                continue
            naive = np.resize(known[-7:], case.horizon)
            for name, make in makers.items():
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        raw = make().forecast(y=known, h=case.horizon, level=[80, 95])
                    found = {"yhat": raw["mean"], "lo80": raw["lo-80"], "hi80": raw["hi-80"],
                             "lo95": raw["lo-95"], "hi95": raw["hi-95"]}  # fmt: skip
                except Exception:  # noqa: BLE001 - a model that cannot be fitted is scored as naive
                    found = dict.fromkeys(("yhat", *BOUNDS), naive)
                out[name][case.unique_id, origin] = {k: np.maximum(np.asarray(v), 0) for k, v in found.items()}
    return out


def boosted_baseline(cases: list[Case]) -> Forecasts:
    """Return mlforecast's recursive LightGBM on weekly differences, point forecasts only."""
    import lightgbm as lgb
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    out: Forecasts = {}
    for origin in range(ORIGINS):
        known = panel(cases, origin).filter(pl.len().over("unique_id") > 40)
        model = MLForecast(
            models={"boosted": lgb.LGBMRegressor(n_estimators=200, verbosity=-1, num_threads=2, seed=7)},
            freq="1d", lags=[1, 2, 3, 7, 14, 21, 28],
            lag_transforms={1: [RollingMean(7), RollingMean(28)]}, date_features=["weekday"],
            target_transforms=[Differences([7]), LocalStandardScaler()],
        )  # fmt: skip
        model.fit(known)
        for key, rows in model.predict(90).group_by("unique_id", maintain_order=True):
            out[str(key[0]), origin] = {"yhat": np.maximum(rows["boosted"].to_numpy(), 0)}
    return out
