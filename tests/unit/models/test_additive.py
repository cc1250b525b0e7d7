from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from costops.models.additive import AdditiveError, additive

START = date(2025, 1, 6)


def days(count: int) -> list[date]:
    return [START + timedelta(i) for i in range(count)]


def history(count: int = 120) -> pl.DataFrame:
    step = (np.arange(count) >= 60) * 5.0
    return pl.DataFrame({"ds": days(count), "y": 10 + np.tile([0.0, 1, 2, 1, 0, -3, -3], 20)[:count] + step})


def test_a_price_change_as_a_regressor_is_a_component_in_money() -> None:
    regressor = pl.DataFrame({"ds": days(134), "new_price": [float(i >= 60) for i in range(134)]})
    forecast, parts = additive(history(), horizon=14, regressors=regressor)
    assert forecast.height == 14
    assert (forecast["lo95"] <= forecast["hi95"]).all()
    assert forecast["lo95"].min() >= 0  # type: ignore[operator]
    moved = parts["new_price"][100] - parts["new_price"][10]
    assert moved == pytest.approx(5, abs=1.5)


def test_a_regressor_that_ends_early_is_refused_with_the_day() -> None:
    with pytest.raises(AdditiveError, match="regressor price covers 130 of 134 days and ends on 2025-05-15"):
        additive(history(), horizon=14, regressors=pl.DataFrame({"ds": days(130), "price": 1.0}))


def test_a_short_history_is_refused_with_the_way_out() -> None:
    with pytest.raises(AdditiveError, match="use the default blend"):
        additive(history(10), horizon=7)
