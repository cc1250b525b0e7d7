from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from costops.models.forecast import Result, forecast
from costops.models.hourly import BY_DAY

START = datetime(2026, 3, 2)
COURSE = np.r_[np.full(8, 0.2), np.full(10, 1.5), np.full(6, 0.5)]


def hours(name: str, days: int, level: np.ndarray, seed: int = 0) -> pl.DataFrame:
    """Hourly rows of some days, each at its level."""
    rng = np.random.default_rng(seed)
    y = (np.tile(COURSE, (days, 1)) * level[:, None] * np.exp(rng.normal(0, 0.05, (days, 24)))).ravel()
    return pl.DataFrame({"unique_id": name, "ds": [START + timedelta(hours=step) for step in range(y.size)], "y": y})


def by_day(panel: pl.DataFrame) -> pl.DataFrame:
    return panel.group_by("unique_id", pl.col("ds").dt.date(), maintain_order=True).agg(pl.col("y").sum())


def noisy(days: int = 12) -> np.ndarray:
    """Days that differ by chance: last week's Tuesday says nothing about this one's."""
    return 10 * np.exp(np.random.default_rng(7).normal(0, 0.3, days))


def weekly(days: int = 13) -> np.ndarray:
    return np.where(np.arange(days) % 7 > 4, 1.0, 10.0)


def of(result: Result, name: str) -> pl.DataFrame:
    return result.forecasts.filter(pl.col("unique_id") == name)


def test_hours_are_used_where_the_held_out_days_are_better_with_them(steady: Result) -> None:
    panel = pl.concat([hours("noisy", 12, noisy()), hours("weekly", 13, weekly())])
    got = forecast(panel, horizon=14, fitted=steady.fitted)
    days = forecast(by_day(panel), horizon=14, fitted=steady.fitted)
    assert of(got, "noisy")["model"][0] == f"{of(days, 'noisy')['model'][0]} with hours"
    spread = [float(np.std(of(one, "noisy")["yhat"].to_numpy())) for one in (got, days)]
    assert spread[0] < 0.7 * spread[1]                                  # half of it is one level
    assert of(got, "weekly").equals(of(days, "weekly"))                 # a rhythm that the hours do not know
    assert dict(got.notes.iter_rows())["weekly"] == BY_DAY
    assert "noisy" not in got.notes["unique_id"]


def test_the_backtest_of_a_forecast_from_hours_is_its_own(steady: Result) -> None:
    got = forecast(hours("noisy", 14, noisy(14)), horizon=14, fitted=steady.fitted)
    held = got.scores.filter((pl.col("model") == "published") & (pl.col("horizon") == 7))
    assert held["folds"].to_list() == [4]                               # four cutoffs have a whole week after them
    assert of(got, "noisy")["grade"][0] in "ABCD"
    assert got.backtest("noisy")["cutoff"].n_unique() == 10


def test_hours_may_be_told_beside_the_days(steady: Result) -> None:
    panel = hours("noisy", 12, noisy())
    got = forecast(by_day(panel).with_columns(pl.col("y") * 2), horizon=7, fitted=steady.fitted, hours=panel)
    alone = forecast(panel, horizon=7, fitted=steady.fitted)
    np.testing.assert_allclose(of(got, "noisy")["yhat"], 2 * of(alone, "noisy")["yhat"].to_numpy())


@pytest.mark.parametrize(("panel", "why"), [
    (hours("a", 28, noisy(28)), "four weeks"),
    (hours("a", 5, noisy(5)), "too few cutoffs"),
    (hours("a", 12, noisy()).filter(pl.col("ds").dt.hour().is_in([3, 15])), "two feeds a day"),
    (hours("a", 12, noisy()).with_columns(pl.col("y") * 0), "zeros"),
    (hours("a", 12, noisy()).with_columns(pl.col("y") - 200.0), "credits"),
])
def test_elsewhere_nothing_changes(steady: Result, panel: pl.DataFrame, why: str) -> None:
    got = forecast(panel, horizon=7, fitted=steady.fitted)
    assert got.forecasts.equals(forecast(by_day(panel), horizon=7, fitted=steady.fitted).forecasts), why
    assert BY_DAY not in got.notes["note"]


def test_holes_doubles_and_silent_nights_give_finite_nested_intervals(steady: Result) -> None:
    whole = hours("a", 12, noisy())
    odd = pl.concat([
        whole.filter(pl.col("ds").dt.day() != 6), whole.head(30),
        whole.with_columns(unique_id=pl.lit("b"), y=pl.when(pl.col("ds").dt.hour() < 8).then(0.0).otherwise("y")),
        whole.with_columns(unique_id=pl.lit("c"), y=pl.when(pl.col("ds").dt.day() > 8).then(0.0).otherwise("y")),
        whole.with_columns(unique_id=pl.lit("d"), y=pl.col("y") * 1e300),
    ])
    got = forecast(odd, horizon=30, fitted=steady.fitted).forecasts
    assert set(got["unique_id"]) == {"a", "b", "c", "d"}
    columns = ["lo95", "lo80", "yhat", "hi80", "hi95"]
    assert got.select(pl.all_horizontal(pl.col(columns).is_finite()).all()).item()
    assert got.select(pl.all_horizontal(pl.col(a) <= pl.col(b) for a, b in pairwise(columns)).all()).item()
    assert got["lo95"].min() >= 0  # type: ignore[operator]
