"""Mix changes, threat patterns, drift and the dense-stream detector."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from costops.models import stream, threat
from costops.models.drift import coverage_alarm, drift, live
from costops.models.mix import detect_mix, distance

START = date(2026, 1, 5)


def parts(change_at: int, days: int = 84) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(days):
        share = 0.7 if i < change_at else 0.2
        total = 100 + rng.normal(0, 3)
        rows += [("t", "a", START + timedelta(i), total * share), ("t", "b", START + timedelta(i), total * (1 - share))]
    return pl.DataFrame(rows, schema=["unique_id", "part", "ds", "y"], orient="row")


def test_money_that_changes_sides_under_a_calm_total_is_a_mix_change() -> None:
    hot = detect_mix(parts(63)).filter("is_anomaly")
    assert hot["ds"].min() == START + timedelta(69)
    assert hot["part"][0] == "b"
    assert hot["moved"][0] == pytest.approx(350, rel=0.1)


def test_a_steady_mix_is_silent() -> None:
    assert detect_mix(parts(999)).filter("is_anomaly").height == 0


def test_the_distance_is_zero_for_the_same_and_one_for_the_disjoint() -> None:
    assert distance(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0
    assert distance(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(1)


def hours(burst: float) -> pl.DataFrame:
    rows = [
        ("key", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=d, hours=h), 1.0 if h >= 8 else 0.1)
        for d in range(20)
        for h in range(24)
    ]
    rows.append(("key", datetime(2026, 1, 20, 3, tzinfo=UTC), burst))
    return pl.DataFrame(rows, schema=["subject", "at", "usd"], orient="row")


def test_a_key_that_explodes_at_night_is_found_and_a_calm_one_is_not() -> None:
    found = threat.night_burst(hours(200.0))
    assert found["at"].dt.date().to_list() == [date(2026, 1, 20)]
    assert threat.night_burst(hours(0.1)).height == 0


def test_a_single_request_of_absurd_cost() -> None:
    at = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=i) for i in range(500)]
    frame = pl.DataFrame({"subject": "key", "at": at, "usd": [0.02] * 499 + [60.0]})
    assert threat.absurd_request(frame)["usd"].to_list() == [60.0]


def test_a_new_key_at_full_speed_but_not_the_first_day_of_the_data() -> None:
    rows = [("old", START + timedelta(d), 100.0) for d in range(30)] + [("new", START + timedelta(25), 40.0)]
    frame = pl.DataFrame(rows, schema=["subject", "day", "usd"], orient="row")
    assert threat.new_key(frame)["subject"].to_list() == ["new"]


def lived(error: float, days: int = 40) -> pl.DataFrame:
    ds = [START + timedelta(i) for i in range(days)]
    made = pl.DataFrame(
        {"unique_id": "a", "ds": ds, "cutoff": START - timedelta(1), "yhat": 10.0, "lo80": 9.0, "hi80": 11.0,
         "lo95": 8.0, "hi95": 12.0}
    )  # fmt: skip
    return live(made, pl.DataFrame({"unique_id": "a", "ds": ds, "y": [10.0 + error] * days}))


SCORES = pl.DataFrame({"unique_id": "a", "model": "published", "horizon": [7, 30, 90], "mae": [1.0, 1.2, 1.5]})


def test_an_error_as_promised_is_no_drift() -> None:
    got = drift(lived(1.0), SCORES).row(0, named=True)
    assert not got["is_drift"]
    assert got["horizon"] == 90


def test_twice_the_promised_error_is_drift_with_the_reason() -> None:
    got = drift(lived(3.0), SCORES).row(0, named=True)
    assert got["is_drift"]
    assert got["reason"] == "live error is 2.0 times the backtest's"


def test_a_few_days_prove_nothing() -> None:
    assert not drift(lived(3.0, days=5), SCORES)["is_drift"][0]


def test_coverage_outside_its_range_alarms() -> None:
    many = pl.concat([lived(3.0)] * 30)
    assert coverage_alarm(many)["is_alarm"].all()
    assert coverage_alarm(many)["band"].to_list() == ["1-7", "8-14", "15-30", "31-60"]


def test_the_stream_detector_sees_a_jump_and_is_causal() -> None:
    rng = np.random.default_rng(0)
    y = 10 + rng.normal(0, 1, 3000)
    y[2000] = 40
    score = stream.scores(y)
    assert int(np.argmax(score)) in range(2000, 2013)
    changed = y.copy()
    changed[2500:] = 0
    np.testing.assert_array_equal(stream.scores(changed)[:2500], score[:2500])


def test_one_incident_is_one_alarm() -> None:
    score = np.zeros(1000)
    score[500:510] = 2.0
    assert (stream.cool_down(score, 1.0) > 0).sum() == 1
