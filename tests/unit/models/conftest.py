from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from costops.models import synthetic
from costops.models.boosted import Settings
from costops.models.forecast import Result, forecast

QUICK = Settings(rows=6_000, trees=25)


def series(name: str, y: object, first: date = date(2025, 1, 6)) -> pl.DataFrame:
    values = np.asarray(y, dtype=np.float64)
    days = [first + timedelta(days=i) for i in range(values.size)]
    schema = {"unique_id": pl.String, "ds": pl.Date, "y": pl.Float64}
    return pl.DataFrame({"unique_id": [name] * values.size, "ds": days, "y": values}, schema=schema)


def odd_panel() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    week = np.tile([10.0, 11, 12, 11, 10, 4, 3], 60)
    return pl.concat(
        [
            series("zeros", np.zeros(150)),
            series("one point", [5.0]),
            series("two points", [5.0, 6.0]),
            series("constant", np.full(200, 7.0)),
            series("credits", rng.normal(5, 4, 200)),
            series("negative", -np.abs(rng.normal(5, 1, 200))),
            series("thirty orders", 10.0 ** rng.uniform(-15, 15, 200)),
            series("huge", 1e300 * rng.uniform(1, 2, 120)),
            series("tiny", 1e-300 * rng.uniform(1, 2, 120)),
            series("too big", np.full(60, 1.79e308)),
            series("retired", np.r_[week[:200], np.zeros(20)]),
            series("new", np.r_[np.zeros(60), week[:10]]),
            series("nothing", np.full(30, np.nan)),
            series("sparse", np.where(rng.random(300) < 0.7, 0.0, rng.exponential(5, 300))),
            series("weekly", week + rng.normal(0, 0.3, week.size)),
        ]
    )


@pytest.fixture(scope="session")
def odd() -> Result:
    return forecast(odd_panel(), horizon=30, settings=QUICK)


@pytest.fixture(scope="session")
def steady() -> Result:
    return forecast(synthetic.frame(24, days=260, seed=1), horizon=30, settings=QUICK)
