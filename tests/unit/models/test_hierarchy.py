from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costops.models.hierarchy import HierarchyError, reconcile, reconcile_levels, summing_matrix

SUMMING = np.array([[1.0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
EDGES = pl.DataFrame({"parent": ["t", "t", "m", "m"], "child": ["m", "c", "a", "b"]})


def frame(values: dict[str, float]) -> pl.DataFrame:
    rows = [(n, date(2026, 3, 1), v, v / 2, v * 2) for n, v in values.items()]
    return pl.DataFrame(rows, schema=["unique_id", "ds", "yhat", "lo95", "hi95"], orient="row")


def value(out: pl.DataFrame, name: str, column: str = "yhat") -> float:
    return float(out.filter(pl.col("unique_id") == name)[column][0])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 1e6), min_size=5, max_size=5),
    st.lists(st.floats(1e-3, 1e6), min_size=5, max_size=5),
)
def test_sums_are_exact_and_nothing_is_negative(base: list[float], variances: list[float]) -> None:
    out = reconcile_levels(np.array(base)[:, None], SUMMING, np.array(variances))[:, 0]
    assert (out >= 0).all()
    np.testing.assert_allclose(out, SUMMING @ out[2:], rtol=1e-9, atol=1e-6)


def test_coherent_forecasts_stay_as_they_are() -> None:
    base = SUMMING @ np.array([[3.0], [2.0], [5.0]])
    np.testing.assert_allclose(reconcile_levels(base, SUMMING, np.ones(5)), base)


def test_the_uncertain_part_takes_the_gap() -> None:
    out = reconcile(
        frame({"t": 12, "m": 5, "a": 3, "b": 2, "c": 5}),
        EDGES,
        pl.DataFrame({"unique_id": ["t", "m", "a", "b", "c"], "variance": [0.01, 0.01, 0.01, 0.01, 100.0]}),
    )
    assert value(out, "c") == pytest.approx(7, abs=0.01)
    assert value(out, "a") == pytest.approx(3, abs=0.01)


def test_without_variances_the_parts_are_added_up() -> None:
    out = reconcile(frame({"t": 99, "m": 99, "a": 3, "b": 2, "c": 5}), EDGES)
    assert [value(out, n) for n in "tmabc"] == [10, 5, 3, 2, 5]


def test_the_interval_of_the_total_keeps_its_own_width() -> None:
    out = reconcile(frame({"t": 12, "m": 5, "a": 3, "b": 2, "c": 5}), EDGES)
    assert value(out, "t", "hi95") - value(out, "t", "lo95") == pytest.approx(24 - 6)


def test_a_level_without_a_forecast_is_named() -> None:
    with pytest.raises(HierarchyError, match="no forecast for c"):
        reconcile(frame({"t": 12, "m": 5, "a": 3, "b": 2}), EDGES)


def test_a_cycle_is_refused() -> None:
    with pytest.raises(HierarchyError, match="own ancestor"):
        summing_matrix(["a", "b"], [("a", "b"), ("b", "a")])


def test_of_intermittent_parts_the_means_are_added_up() -> None:
    base = frame({"t": 10, "m": 5, "a": 0, "b": 0, "c": 5}).with_columns(mean=pl.Series([10.0, 5, 3, 2, 5]))
    out = reconcile(base, EDGES)
    assert [value(out, n) for n in "tmabc"] == [10, 5, 3, 2, 5]
    assert value(out, "a", "hi95") >= 3
