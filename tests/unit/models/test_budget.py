from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from costops.models.budget import dependence, month_view


def actual(days: int, y: float = 10.0) -> pl.DataFrame:
    return pl.DataFrame({"ds": [date(2026, 3, 1) + timedelta(days=i) for i in range(days)], "y": [y] * days})


def ahead(first: int, days: int, y: float = 10.0, half: float = 2.0) -> pl.DataFrame:
    start = date(2026, 3, 1) + timedelta(days=first)
    return pl.DataFrame(
        {"ds": [start + timedelta(days=i) for i in range(days)], "yhat": y, "lo95": y - half, "hi95": y + half}
    )


def test_the_month_is_what_was_spent_and_what_is_to_come() -> None:
    got = month_view(actual(10), ahead(10, 60), month=date(2026, 3, 15))
    assert got.spent == 100
    assert got.expected == pytest.approx(310)
    assert got.low95 < got.low80 < 310 < got.high80 < got.high95


def test_a_day_that_is_actual_is_not_forecast_again() -> None:
    assert month_view(actual(10), ahead(5, 60), month=date(2026, 3, 1)).expected == pytest.approx(310)


def test_a_budget_at_the_expectation_is_a_coin_toss() -> None:
    assert month_view(actual(10), ahead(10, 30), month=date(2026, 3, 1), budget=310).chance_exceeded == pytest.approx(
        0.5
    )


def test_a_budget_already_spent_is_exceeded_for_certain_on_a_past_day() -> None:
    got = month_view(actual(10), ahead(10, 30), month=date(2026, 3, 1), budget=45)
    assert got.chance_exceeded == 1.0
    assert got.exhausted_on == date(2026, 3, 5)


def test_the_day_of_exhaustion_and_its_early_case() -> None:
    got = month_view(actual(10), ahead(10, 30, half=8), month=date(2026, 3, 1), budget=205)
    assert got.exhausted_on == date(2026, 3, 21)
    assert got.exhausted_early is not None
    assert got.exhausted_early < date(2026, 3, 21)


def test_a_budget_out_of_reach_has_no_day() -> None:
    got = month_view(actual(10), ahead(10, 30), month=date(2026, 3, 1), budget=10_000)
    assert got.exhausted_on is None
    assert got.chance_exceeded == pytest.approx(0, abs=1e-6)


def test_a_finished_month_is_certain() -> None:
    got = month_view(actual(31), ahead(31, 30), month=date(2026, 3, 1), budget=300)
    assert (got.expected, got.low95, got.high95, got.chance_exceeded) == (310, 310, 310, 1.0)


def test_dependence_tells_shared_errors_from_independent_ones() -> None:
    rng = np.random.default_rng(0)
    one = [np.ones(30)] * 300
    shared = dependence([np.full(30, rng.normal()) for _ in range(300)], one)
    apart = dependence([rng.normal(size=30) for _ in range(300)], one)
    assert shared > 0.6
    assert apart < 0.15
