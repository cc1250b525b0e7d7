from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from tests.unit.models.conftest import series

from costops.models import synthetic
from costops.models.drivers import elasticities
from costops.models.forecast import Result, forecast

DAYS, HORIZON = 200, 30
FIRST = date(2025, 1, 6)
LAST = FIRST + timedelta(days=DAYS - 1)


def users(seed: int = 2) -> np.ndarray:
    """Active users with campaigns that come and go, and a plan that doubles them."""
    rng = np.random.default_rng(seed)
    level = 1_000 * np.exp(np.cumsum(rng.normal(0, 0.03, DAYS + HORIZON)))
    level[DAYS:] *= 2.0
    return level


def panel() -> pl.DataFrame:
    rng = np.random.default_rng(4)
    week = np.tile([1.0, 1.1, 1.1, 1.0, 0.9, 0.5, 0.4], 40)[:DAYS]
    follows = 0.02 * users()[:DAYS] * week * np.exp(rng.normal(0, 0.05, DAYS))
    own = 30 * week * np.exp(rng.normal(0, 0.05, DAYS))
    return pl.concat([series("follows", follows), series("own", own), series("short", own[-30:], LAST - timedelta(29)),
                      series("zeros", np.zeros(DAYS))])


def plan(values: np.ndarray | None = None, *, first: date = FIRST, name: str = "users", owner: str | None = None
         ) -> pl.DataFrame:
    values = users() if values is None else values
    return pl.DataFrame({"unique_id": owner, "ds": [first + timedelta(i) for i in range(values.size)], "driver": name,
                         "value": values}, schema_overrides={"unique_id": pl.String})


@pytest.fixture(scope="module")
def without(steady: Result) -> Result:
    return forecast(panel(), horizon=HORIZON, fitted=steady.fitted)


def of(result: Result, name: str) -> pl.DataFrame:
    return result.forecasts.filter(pl.col("unique_id") == name)


def test_a_series_that_follows_a_driver_follows_its_plan(steady: Result, without: Result) -> None:
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=plan())
    assert of(got, "follows")["model"][0] == "blend(theta, mstl, seasonal_naive, boosted) with users"
    ratio = float(of(got, "follows")["yhat"].sum()) / float(of(without, "follows")["yhat"].sum())
    moved = users()[DAYS:].mean() / users()[DAYS - 28 : DAYS].mean()
    assert ratio == pytest.approx(moved, rel=0.35)
    assert ratio > 1.5
    told = {row["unique_id"]: row["mae"] for row in got.scores.filter(
        (pl.col("model") == "published") & (pl.col("horizon") == HORIZON)).iter_rows(named=True)}
    before = without.scores.filter((pl.col("model") == "published") & (pl.col("unique_id") == "follows") & (
        pl.col("horizon") == HORIZON))["mae"][0]
    assert told["follows"] < 0.8 * before                 # the published backtest is that with the driver
    wide = of(got, "follows").select((pl.col("hi95") - pl.col("lo95")) / pl.col("yhat")).mean().item()
    assert 0 < wide < 1.5
    assert got.drivers.is_empty()


def test_what_does_not_follow_it_is_forecast_as_without(steady: Result, without: Result) -> None:
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=plan())
    for name in ("own", "short", "zeros"):
        assert of(got, name).equals(of(without, name))


def test_noise_that_is_declared_a_driver_hardly_ever_counts(steady: Result) -> None:
    frame = synthetic.frame(24, days=DAYS, seed=8, first=FIRST)
    got = forecast(frame, horizon=HORIZON, fitted=steady.fitted, drivers=plan())
    with_it = got.forecasts.group_by("unique_id").agg(pl.col("model").first().str.contains("users"))["model"].sum()
    assert with_it <= 6


def test_a_driver_that_ends_early_is_named_with_its_day_and_left_out(steady: Result, without: Result) -> None:
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=plan(users()[: DAYS + 5]))
    assert got.forecasts.equals(without.forecasts)
    (driver, owner, text), = got.drivers.rows()
    assert (driver, owner) == ("users", None)
    assert text.startswith(f"ends on {LAST + timedelta(5)} and the forecast on {LAST + timedelta(HORIZON)}: give")


def test_one_driver_that_ends_early_leaves_the_other(steady: Result) -> None:
    both = pl.concat([plan(users()[:DAYS], name="signups"), plan()])
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=both)
    assert of(got, "follows")["model"][0].endswith("with users")
    assert got.drivers["driver"].to_list() == ["signups"]


def test_a_driver_that_begins_late_is_named_with_the_day_from_which_it_is_needed(steady: Result, without: Result) -> None:
    late = plan(users()[-60:], first=LAST + timedelta(HORIZON - 59))
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=late)
    assert got.forecasts.equals(without.forecasts)
    text = dict(got.drivers.select("unique_id", "note").iter_rows())["follows"]
    assert text.startswith(f"begins on {LAST + timedelta(HORIZON - 59)}: give its values from 20")


def test_a_driver_of_one_series_is_not_that_of_another(steady: Result, without: Result) -> None:
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=plan(owner="own"))
    assert of(got, "follows").equals(of(without, "follows"))


@pytest.mark.parametrize(("values", "why"), [
    (np.full(DAYS + HORIZON, np.nan), "no day with a number"),
    (np.r_[-1.0, users()[1:]], f"is negative on {FIRST}"),
    (np.where(np.arange(DAYS + HORIZON) // 12 == 3, np.nan, users()), "has no value in the 12 days before"),
])
def test_a_driver_of_no_use_is_said_and_stops_nothing(steady: Result, without: Result, values: np.ndarray, why: str
                                                      ) -> None:
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=plan(values))
    assert why in got.drivers["note"][0]
    assert got.forecasts.equals(without.forecasts)


@pytest.mark.parametrize("values", [
    np.ones(DAYS + HORIZON), np.zeros(DAYS + HORIZON), np.r_[users()[:DAYS], np.full(HORIZON, 1e300)],
    np.r_[users()[:DAYS], np.zeros(HORIZON)],
])
def test_odd_drivers_give_finite_nested_intervals(steady: Result, values: np.ndarray) -> None:
    got = forecast(panel(), horizon=HORIZON, fitted=steady.fitted, drivers=plan(values)).forecasts
    columns = ["lo95", "lo80", "yhat", "hi80", "hi95"]
    assert got.select(pl.all_horizontal(pl.col(columns).is_finite()).all()).item()
    for low, high in pairwise(columns):
        assert (got[low] <= got[high]).all()
    assert got["lo95"].min() >= 0  # type: ignore[operator]


def test_an_elasticity_is_found_and_growth_alone_is_none() -> None:
    rng = np.random.default_rng(9)
    grown = np.log(users()[:DAYS])[:, None]
    y = np.exp(0.7 * grown[:, 0] + rng.normal(0, 0.05, DAYS))
    assert elasticities(y, grown, 0)[0] == pytest.approx(0.7, abs=0.1)
    walks = [np.cumsum(rng.normal(0.01, 0.05, (2, DAYS)), axis=1) for _ in range(40)]
    found = [elasticities(np.exp(a), b[:, None], 0)[0] for a, b in walks]
    assert np.median(np.abs(found)) < 0.15
