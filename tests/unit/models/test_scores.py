from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from utilsforecast import losses

from costops.models import scores


def frame() -> tuple[np.ndarray, np.ndarray, pl.DataFrame]:
    rng = np.random.default_rng(0)
    actual, yhat = rng.uniform(1, 10, 50), rng.uniform(1, 10, 50)
    return actual, yhat, pl.DataFrame({"unique_id": "a", "ds": range(50), "y": actual, "m": yhat})


@pytest.mark.parametrize("name", ["mae", "smape"])
def test_losses_agree_with_utilsforecast(name: str) -> None:
    actual, yhat, table = frame()
    theirs = getattr(losses, name)(table, models=["m"])["m"][0]
    ours = getattr(scores, name)(actual, yhat)
    assert ours == pytest.approx(2 * theirs if name == "smape" else theirs)


def test_pinball_agrees_with_utilsforecast() -> None:
    actual, yhat, table = frame()
    theirs = losses.quantile_loss(table, models={"m": "m"}, q=0.9)["m"][0]
    assert scores.pinball(actual, yhat, 0.9) == pytest.approx(theirs)


def test_mape_is_not_shown_for_intermittent_series() -> None:
    actual = np.array([0.0, 0, 5, 0, 5])
    assert np.isnan(scores.mape(actual, actual + 1, level=1.0))


def test_wape_and_total_of_an_empty_period_are_undefined_not_infinite() -> None:
    zero = np.zeros(5)
    assert np.isnan(scores.wape(zero, zero + 1))
    assert np.isnan(scores.total_ape(zero, zero + 1))


def test_the_interval_score_charges_misses_twenty_fold_per_side() -> None:
    assert scores.interval_score(np.array([3.0]), np.array([0.0]), np.array([2.0]), 95) == pytest.approx(2 + 40)


def test_a_bound_that_is_hit_counts_as_inside() -> None:
    edge = np.array([1.0, 2.0])
    assert scores.coverage(edge, edge, edge) == 1.0
