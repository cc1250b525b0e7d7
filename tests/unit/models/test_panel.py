from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costops.models.panel import PanelError, clean, fill


def rows(*found: tuple[object, object, object]) -> pl.DataFrame:
    return pl.DataFrame(list(found), schema=["unique_id", "ds", "y"], orient="row")


def test_text_dates_and_datetimes_mean_the_same_days() -> None:
    text = clean(rows(("a", "2026-03-01", 1.0), ("a", "2026-03-02", 2.0)))
    stamps = clean(rows(("a", datetime(2026, 3, 1, tzinfo=UTC), 1.0), ("a", datetime(2026, 3, 2, tzinfo=UTC), 2.0)))
    assert text.series[0].first == stamps.series[0].first == date(2026, 3, 1)
    assert text.series[0].y.tolist() == stamps.series[0].y.tolist() == [1.0, 2.0]


def test_hours_are_summed_to_days() -> None:
    got = clean(rows(("a", "2026-03-01 01:00:00", 1.0), ("a", "2026-03-01 02:00:00", 2.0)))
    assert got.series[0].y.tolist() == [3.0]


def test_of_two_rows_with_one_timestamp_the_later_counts_and_is_noted() -> None:
    got = clean(rows(("a", date(2026, 3, 1), 1.0), ("a", date(2026, 3, 1), 5.0)))
    assert got.series[0].y.tolist() == [5.0]
    assert "share a timestamp" in got.notes["note"][0]


def test_a_typing_error_in_the_year_does_not_stretch_the_series() -> None:
    days = pl.date_range(date(2026, 1, 1), date(2026, 2, 28), "1d", eager=True)
    frame = pl.DataFrame({"unique_id": "a", "ds": [*days, date(2099, 1, 1)], "y": 1.0})
    got = clean(frame)
    assert got.series[0].last == date(2026, 2, 28)
    assert "days away" in got.notes["note"][0]


def test_days_after_as_of_are_left_out() -> None:
    got = clean(rows(("a", date(2026, 3, 1), 1.0), ("a", date(2026, 3, 2), 2.0)), as_of=date(2026, 3, 1))
    assert got.series[0].last == date(2026, 3, 1)


def test_a_series_without_a_usable_row_is_refused_and_the_others_stay() -> None:
    got = clean(rows(("bad", date(2026, 3, 1), float("nan")), ("good", date(2026, 3, 1), 1.0)))
    assert got.refusals["unique_id"].to_list() == ["bad"]
    assert [s.unique_id for s in got.series] == ["good"]


def test_a_missing_column_is_named_with_what_came_instead() -> None:
    with pytest.raises(PanelError, match=r"column ds is missing.*got unique_id, day, y"):
        clean(pl.DataFrame({"unique_id": ["a"], "day": ["2026-03-01"], "y": [1.0]}))


def test_numbers_as_dates_are_refused_with_an_example() -> None:
    with pytest.raises(PanelError, match="text such as"):
        clean(pl.DataFrame({"unique_id": ["a"], "ds": [20260301], "y": [1.0]}))


def test_aligning_treats_the_end_of_a_short_series_as_silence() -> None:
    got = clean(rows(("a", date(2026, 3, 1), 1.0), ("b", date(2026, 3, 3), 1.0)), align=True)
    assert got.series[0].y.tolist() == [1.0, 0.0, 0.0]


def test_a_hole_in_a_weekly_series_is_filled_from_the_same_weekday() -> None:
    y = np.tile([1.0, 2, 3, 4, 5, 6, 7], 6)
    holed = y.copy()
    holed[15:22] = np.nan
    np.testing.assert_allclose(fill(holed), y)


def test_missing_weekends_are_silence_not_missing_data() -> None:
    y = np.tile([5.0, 5, 5, 5, 5, np.nan, np.nan], 8)
    assert fill(y)[5::7].tolist() == [0.0] * 8


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ""]),
            st.one_of(
                st.dates(date(2000, 1, 1), date(2090, 1, 1)).map(str), st.sampled_from(["", "soon", "2026-13-01"])
            ),
            st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
        ),
        max_size=30,
    )
)
def test_any_rows_give_finite_series_or_a_refusal(found: list[tuple[str, str, float | None]]) -> None:
    frame = pl.DataFrame(found, schema={"unique_id": pl.String, "ds": pl.String, "y": pl.Float64}, orient="row")
    got = clean(frame)
    assert all(np.isfinite(s.y).all() and s.y.size for s in got.series)
    names = {s.unique_id for s in got.series} | set(got.refusals["unique_id"])
    assert names == {name for name, _, _ in found}


def test_rows_that_cannot_be_used_are_told_with_the_first_of_them() -> None:
    days = [f"2026-03-{day:02d}" for day in range(1, 11)]
    found = clean(pl.DataFrame({"unique_id": "a", "ds": [*days, "01/06/2026", "2026-03-10"],
                                "y": [*map(str, range(9)), "abc", "1", "7"]}))
    assert found.notes["note"].to_list() == [
        "1 rows without a readable date left out (the first is row 11)",
        "1 rows without a finite value treated as missing (the first is row 10)"]


def test_a_weekly_series_is_told_to_be_read_as_daily() -> None:
    days = [date(2026, 1, 5) + timedelta(days=7 * week) for week in range(20)]
    found = clean(pl.DataFrame({"unique_id": "w", "ds": days, "y": [20.0] * 20}))
    assert "values lie 7 days apart" in " ".join(found.notes["note"])
