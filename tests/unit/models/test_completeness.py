from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from costops.models.completeness import complete, curve, of_series, silent_ends, still_filling

FIRST = date(2026, 3, 1)
TODAY = FIRST + timedelta(30)


def snapshots(shares: tuple[float, ...]) -> pl.DataFrame:
    rows = [
        ("a", FIRST + timedelta(d), FIRST + timedelta(d + age), 100.0 * share)
        for d in range(20)
        for age, share in enumerate((*shares, 1.0), start=1)
    ]
    return pl.DataFrame(rows, schema=["unique_id", "ds", "seen_on", "y"], orient="row")


def panel() -> pl.DataFrame:
    days = [FIRST + timedelta(d) for d in range(30)]
    return pl.DataFrame({"unique_id": "a", "ds": days, "y": [100.0] * 28 + [90.0, 40.0]})


def late(shares: tuple[float, ...]) -> pl.DataFrame:
    return still_filling(curve(snapshots(shares)), TODAY)


def test_the_curve_is_the_median_share_by_age() -> None:
    got = curve(snapshots((0.4, 0.9)))
    assert got.select("age", "share").rows() == [(1, pytest.approx(0.4)), (2, pytest.approx(0.9))]


def test_a_day_that_is_mostly_there_is_scaled_and_one_that_is_not_is_left_out() -> None:
    whole, told = complete(panel(), late((0.4, 0.9)))
    assert whole["y"].to_list() == pytest.approx([100.0] * 29)
    assert told["done"].to_list() == ["scaled", "left out"]


@pytest.mark.parametrize("seen", [late((1.0, 1.0)), late((0.4,)).head(0)])
def test_a_feed_that_is_whole_or_has_no_history_stays_as_it_is(seen: pl.DataFrame) -> None:
    whole, told = complete(panel(), seen)
    assert whole.equals(panel())
    assert told.height == 0


def delivered(days: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"unique_id": "s", "ds": [FIRST + timedelta(d) for d in days]})


def test_a_steady_source_that_is_silent_for_days_is_late_and_one_silent_for_long_has_stopped() -> None:
    last = TODAY - timedelta(1)
    assert silent_ends(delivered(list(range(27))), last)["ds"].to_list() == [FIRST + timedelta(d) for d in (27, 28, 29)]
    assert silent_ends(delivered(list(range(20))), last).is_empty()
    assert silent_ends(delivered(list(range(30))), last).is_empty()
    assert silent_ends(delivered([d for d in range(28) if d % 7 < 5]), last).is_empty()      # works five days a week


def test_a_series_has_of_a_late_day_what_its_other_sources_are_of_it() -> None:
    parts = pl.DataFrame([(one, source, FIRST + timedelta(d), y) for d in range(29) for one, source, y in (
        ("total", "s", 10.0), ("total", "t", 90.0), ("team=x", "s", 1.0))],
        schema=["unique_id", "source", "ds", "y"], orient="row")
    silent = silent_ends(delivered(list(range(29))), TODAY - timedelta(1))
    got = dict(of_series(silent, parts).select("unique_id", "share").iter_rows())
    assert got == {"total": pytest.approx(0.9), "team=x": pytest.approx(0.0)}
