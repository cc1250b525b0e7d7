from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from costops.models import holiday

FIRST, LAST = date(2025, 7, 1), date(2026, 6, 30)


def total(on_holidays: float) -> pl.DataFrame:
    """A year of spend with a calm weekend, a little noise, and a share of it on holidays."""
    days = [FIRST + timedelta(days=i) for i in range((LAST - FIRST).days + 1)]
    off = set(holiday.holidays("DE", FIRST, LAST)["ds"])
    noise = np.random.default_rng(3).normal(1.0, 0.05, len(days))
    y = [100.0 * (0.5 if day.weekday() > 4 else on_holidays if day in off else 1.0) * one
         for day, one in zip(days, noise, strict=True)]
    return pl.DataFrame({"ds": days, "y": y})


def test_holidays_of_a_country_and_an_unknown_one() -> None:
    found = holiday.holidays("DE", date(2026, 12, 1), date(2027, 1, 31))
    assert found["ds"].to_list() == [date(2026, 12, 25), date(2026, 12, 26), date(2027, 1, 1)]
    with pytest.raises(ValueError, match="'XX' is no country"):
        holiday.holidays("XX", FIRST, LAST)


def test_what_holidays_spend_is_learnt_and_drawn_to_a_usual_day() -> None:
    assert 0.55 < holiday.effect(total(0.5), holiday.holidays("DE", FIRST, LAST)) < 0.72


def test_holidays_that_change_nothing_change_nothing() -> None:
    assert holiday.effect(total(1.0), holiday.holidays("DE", FIRST, LAST)) == 1.0


def test_too_few_holidays_say_nothing() -> None:
    few = total(0.5).filter(pl.col("ds") < date(2025, 10, 20))
    assert holiday.effect(few, holiday.holidays("DE", FIRST, LAST)) == 1.0


def test_only_working_days_that_are_holidays_move_and_sums_stay_sums() -> None:
    days = [date(2026, 12, 23) + timedelta(days=i) for i in range(5)]         # Christmas is a Friday and a Saturday
    rows = pl.concat(pl.DataFrame({"unique_id": name, "ds": days, **{c: [size] * 5 for c in holiday.COLUMNS}})
                     for name, size in (("a", 1.0), ("b", 2.0), ("total", 3.0)))
    got = holiday.apply(rows, holiday.holidays("DE", days[0], days[-1]), 0.5)
    assert got.filter(pl.col("unique_id") == "total")["yhat"].to_list() == [3.0, 3.0, 1.5, 3.0, 3.0]
    parts = got.filter(pl.col("unique_id") != "total").group_by("ds").agg(pl.col("mean").sum()).sort("ds")["mean"]
    assert parts.to_list() == got.filter(pl.col("unique_id") == "total")["mean"].to_list()
