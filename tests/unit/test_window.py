"""Windows are half-open and add up."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costops.transforms.errors import Usage
from costops.transforms.window import Window, month_of, month_window

DAYS = st.dates(date(2020, 1, 1), date(2030, 12, 31))


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = Window(date(2026, 10, 1), date(2026, 10, 3))
    assert window.days() == [date(2026, 10, 1), date(2026, 10, 2)]
    assert date(2026, 10, 3) not in window
    assert str(window) == "2026-10-01 to 2026-10-02"
    assert str(Window(date(2026, 10, 1), date(2026, 10, 2))) == "2026-10-01"


def test_people_name_the_last_day_and_mean_it() -> None:
    window = Window.of_days(date(2026, 10, 1), date(2026, 10, 2))
    assert window == Window(date(2026, 10, 1), date(2026, 10, 3))
    assert Window.of_days(None, date(2026, 10, 2)) == Window(date(2026, 10, 2), date(2026, 10, 3))
    assert Window.of_days(date(2026, 10, 2), None) == Window(date(2026, 10, 2), date(2026, 10, 3))
    assert Window.of_days(None, None) is None


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(Usage, match="swap"):
        Window(date(2026, 10, 2), date(2026, 10, 1))
    with pytest.raises(Usage, match="swap them"):
        Window.of_days(date(2026, 10, 2), date(2026, 10, 1))


@pytest.mark.parametrize("text", ["2026-13", "2026", "10-2026", "2026-10-01", "", "2026-1"])
def test_a_month_is_written_one_way(text: str) -> None:
    with pytest.raises(Usage, match="YYYY-MM"):
        month_window(text)


@given(DAYS, st.integers(0, 400), st.lists(st.integers(0, 400), max_size=5))
def test_cut_anywhere_the_parts_are_the_whole(start: date, length: int, cuts: list[int]) -> None:
    whole = Window(start, start + timedelta(days=length))
    marks = [0, *sorted(min(cut, length) for cut in cuts), length]
    parts = [Window(start + timedelta(days=a), start + timedelta(days=b)) for a, b in pairwise(marks)]
    assert [day for part in parts for day in part.days()] == whole.days()
    assert all((day in whole) == (day in set(whole.days())) for day in (start - timedelta(days=1), start, whole.end))


@given(DAYS)
def test_every_day_lies_in_its_month_alone(day: date) -> None:
    window = month_window(month_of(day))
    assert day in window
    assert 28 <= len(window.days()) <= 31
    assert window.end == month_window(month_of(window.end)).start
