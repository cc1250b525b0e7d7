from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.models.conftest import QUICK, odd_panel, series

from costops.models.forecast import Result, forecast

NUMBERS = ["yhat", "lo80", "hi80", "lo95", "hi95"]


def test_no_number_is_ever_missing_or_infinite(odd: Result) -> None:
    assert odd.forecasts.select(pl.all_horizontal(pl.col(NUMBERS).is_finite()).all()).item()


def test_intervals_are_nested_round_the_forecast(odd: Result) -> None:
    ordered = (pl.col("lo95") <= pl.col("lo80")) & (pl.col("lo80") <= pl.col("yhat"))
    ordered = ordered & (pl.col("yhat") <= pl.col("hi80")) & (pl.col("hi80") <= pl.col("hi95"))
    assert odd.forecasts.filter(~ordered).height == 0


def test_a_series_that_was_never_negative_has_no_negative_bound(odd: Result) -> None:
    signed = ["credits", "negative"]
    assert odd.forecasts.filter(~pl.col("unique_id").is_in(signed), pl.col("lo95") < 0).height == 0


def test_credits_may_go_below_zero(odd: Result) -> None:
    assert odd.forecasts.filter(pl.col("unique_id") == "negative")["yhat"].max() < 0  # type: ignore[operator]


def test_every_series_is_forecast_or_refused_with_a_reason(odd: Result) -> None:
    named = set(odd.forecasts["unique_id"]) | set(odd.refusals["unique_id"])
    assert named == set(odd_panel()["unique_id"])
    assert set(odd.refusals["unique_id"]) == {"nothing", "too big"}
    assert odd.refusals["reason"].str.len_chars().min() > 10  # type: ignore[operator]


def test_zeros_stay_zero_and_say_so(odd: Result) -> None:
    own = odd.forecasts.filter(pl.col("unique_id") == "zeros")
    assert own["hi95"].max() == 0
    assert own["model"].unique().to_list() == ["zero"]


def test_a_switched_off_model_is_expected_to_stay_off_but_may_come_back(odd: Result) -> None:
    own = odd.forecasts.filter(pl.col("unique_id") == "retired")
    assert own["model"].unique().to_list() == ["retired"]
    assert own["yhat"].max() == 0
    assert own["hi95"].min() > 5  # type: ignore[operator]


def test_a_constant_is_continued(odd: Result) -> None:
    own = odd.forecasts.filter(pl.col("unique_id") == "constant")
    np.testing.assert_allclose(own["yhat"].to_numpy(), 7.0, rtol=0.05)


def test_one_point_is_repeated_with_an_interval_as_wide_as_ignorance(odd: Result) -> None:
    own = odd.forecasts.filter(pl.col("unique_id") == "one point")
    assert own["model"][0] == "last_value"
    assert own["yhat"].to_list() == [5.0] * 30
    assert own["hi95"][29] - own["lo95"][29] > 5


def test_the_weekly_rhythm_is_kept(odd: Result) -> None:
    own = odd.forecasts.filter(pl.col("unique_id") == "weekly")
    weekend = own.filter(pl.col("ds").dt.weekday() >= 6)["yhat"].mean()
    working = own.filter(pl.col("ds").dt.weekday() < 6)["yhat"].mean()
    assert weekend < 0.6 * working  # type: ignore[operator]


def test_days_follow_the_cutoff_without_a_gap(odd: Result) -> None:
    step = (pl.col("ds") - pl.col("cutoff")).dt.total_days()
    assert odd.forecasts.group_by("unique_id").agg(ok=(step == pl.int_range(1, 31)).all())["ok"].all()


def test_the_sum_of_an_intermittent_series_uses_its_mean(odd: Result) -> None:
    own = odd.forecasts.filter(pl.col("unique_id") == "sparse")
    assert own["mean"].sum() > own["yhat"].sum()


def test_every_long_series_carries_its_backtest_and_a_grade(steady: Result) -> None:
    held = steady.scores.filter(pl.col("model") == "published", pl.col("horizon") == 30)
    assert held.height == 24
    assert set(steady.forecasts["grade"]) <= {"A", "B", "C", "D"}
    assert {"seasonal_naive", "theta", "mstl", "boosted", "published"} <= set(steady.scores["model"])


def test_it_beats_repeating_last_week_on_growing_noisy_series(steady: Result) -> None:
    held = steady.scores.filter(pl.col("model") == "published", pl.col("horizon") == 30)
    assert held["relative_mae"].log().mean() < -0.1  # type: ignore[operator]


def test_measured_coverage_is_reported_and_sensible(steady: Result) -> None:
    regular = steady.coverage.filter(pl.col("segment") == "regular")
    assert regular["coverage95"].min() > 0.85  # type: ignore[operator]
    assert (regular["coverage80"] < regular["coverage95"]).all()


def test_the_same_panel_gives_the_same_forecast(steady: Result) -> None:
    frame = series("again", 10 + np.sin(np.arange(200)) + np.tile([0, 1, 2, 3, 2, 1, 0], 29)[:200])
    once = forecast(frame, horizon=14, fitted=steady.fitted)
    twice = forecast(frame.sample(fraction=1.0, shuffle=True, seed=5), horizon=14, fitted=steady.fitted)
    assert once.forecasts.equals(twice.forecasts)


def test_the_unit_does_not_matter(steady: Result) -> None:
    y = 10 + np.random.default_rng(0).normal(0, 1, 200)
    small = forecast(series("a", y), horizon=14, fitted=steady.fitted, with_backtest=False).forecasts
    large = forecast(series("a", y * 1e12), horizon=14, fitted=steady.fitted, with_backtest=False).forecasts
    np.testing.assert_allclose(large["yhat"].to_numpy() / 1e12, small["yhat"].to_numpy(), rtol=1e-6)


def test_the_future_is_not_used() -> None:
    rng = np.random.default_rng(1)
    y = 10 + rng.normal(0, 1, 120)
    frame = series("a", y)
    cut = date(2025, 1, 6) + timedelta(days=99)
    changed = frame.with_columns(y=pl.when(pl.col("ds") > cut).then(1e6).otherwise("y"))
    known = forecast(series("a", y[:100]), horizon=7, settings=QUICK).forecasts
    assert forecast(changed, horizon=7, as_of=cut, settings=QUICK).forecasts.equals(known)


def test_a_horizon_beyond_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 to"):
        forecast(series("a", [1.0, 2.0]), horizon=0)


def test_an_empty_panel_gives_empty_tables() -> None:
    got = forecast(series("a", []), horizon=7)
    assert got.forecasts.height == 0
    assert "unique_id" in got.forecasts.columns


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-1e15, 1e15, allow_nan=False), min_size=1, max_size=90), st.integers(1, 40))
def test_any_values_give_finite_nested_intervals(steady: Result, values: list[float], horizon: int) -> None:
    got = forecast(series("a", values), horizon=horizon, fitted=steady.fitted, with_backtest=False).forecasts
    assert got.height == horizon
    assert got.select(pl.all_horizontal(pl.col(NUMBERS).is_finite()).all()).item()
    if min(values) >= 0:
        assert got["lo95"].min() >= 0  # type: ignore[operator]
