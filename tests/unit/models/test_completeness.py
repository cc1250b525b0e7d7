from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from costops.models.completeness import complete, curve

FIRST = date(2026, 3, 1)


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


def test_the_curve_is_the_median_share_by_age() -> None:
    got = curve(snapshots((0.4, 0.9)))
    assert got.select("age", "share").rows() == [(1, pytest.approx(0.4)), (2, pytest.approx(0.9))]


def test_a_day_that_is_mostly_there_is_scaled_and_one_that_is_not_is_left_out() -> None:
    whole, told = complete(panel(), curve(snapshots((0.4, 0.9))))
    assert whole["y"].to_list() == pytest.approx([100.0] * 29)
    assert told["done"].to_list() == ["scaled", "left out"]


def test_a_feed_that_is_always_whole_stays_as_it_is() -> None:
    whole, told = complete(panel(), curve(snapshots((1.0, 1.0))))
    assert whole.equals(panel())
    assert told.height == 0


def test_a_series_without_history_stays_as_it_is() -> None:
    whole, told = complete(panel(), curve(snapshots((0.4,)).head(0)))
    assert whole.equals(panel())
    assert told.height == 0
