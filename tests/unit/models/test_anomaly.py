from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models.conftest import odd_panel, series

from costops.models.anomaly import Rules, detect, edges
from costops.models.synthetic import frame

FIRST = date(2025, 1, 6)


def cost(days: int = 280, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    week = np.tile([100.0, 105, 110, 105, 100, 40, 35], days // 7 + 1)[:days]
    return week * np.exp(0.001 * np.arange(days) + rng.normal(0, 0.06, days))


def found(y: np.ndarray, **rules: float) -> dict[int, str]:
    out = detect(series("a", y), rules=Rules(**rules) if rules else None)  # type: ignore[arg-type]
    hot = out.filter("is_anomaly")
    return {(d - FIRST).days: k for d, k in zip(hot["ds"], hot["kind"], strict=True)}


def test_a_calm_growing_weekly_series_raises_nothing() -> None:
    assert found(cost()) == {}


def test_a_spike_and_a_drop_are_named_on_their_days() -> None:
    y = cost()
    y[100] *= 2.5
    y[200] *= 0.3
    assert found(y) == {100: "spike", 200: "drop"}


def test_a_level_shift_is_one_alarm_of_three_days_and_then_silence() -> None:
    y = cost()
    y[150:] *= 1.6
    got = found(y)
    assert set(got.values()) == {"level_shift"}
    assert min(got) == 150
    assert len(got) <= 4


def test_a_quiet_weekend_is_no_drop() -> None:
    y = cost()
    assert not [d for d in found(y) if d % 7 >= 5]


def test_missing_days_are_not_low_spend() -> None:
    out = detect(series("a", cost()).filter(~pl.col("ds").is_between(FIRST + timedelta(99), FIRST + timedelta(101))))
    gone = out.filter(pl.col("kind") == "missing")
    assert gone.height == 3
    assert gone["y"].null_count() == 3
    assert out.filter(pl.col("is_anomaly") & (pl.col("kind") != "missing")).height == 0


def test_a_zero_that_was_written_down_is_a_drop() -> None:
    y = cost()
    y[120] = 0.0
    assert found(y) == {120: "drop"}


def test_the_effect_is_actual_minus_expected_in_money() -> None:
    y = cost()
    usual = y[100]
    y[100] *= 3
    row = detect(series("a", y)).filter(pl.col("kind") == "spike").row(0, named=True)
    assert abs(row["effect"] - 2 * usual) < 0.3 * usual
    assert row["lower"] <= row["expected"] <= row["upper"] < row["y"]


def test_small_money_is_not_an_alarm() -> None:
    y = cost() / 1e4
    y[100] *= 3
    assert found(y, least_effect=1.0) == {}
    assert found(y) == {100: "spike"}


def test_known_days_are_quiet() -> None:
    y = cost()
    y[100] *= 3
    out = detect(series("a", y), quiet=pl.DataFrame({"ds": [FIRST + timedelta(100)]}))
    assert out.filter("is_anomaly").height == 0


def test_a_short_history_says_nothing() -> None:
    assert found(np.array([1.0, 1, 1, 50, 1, 1])) == {}


def test_an_intermittent_series_is_not_a_row_of_drops() -> None:
    rng = np.random.default_rng(1)
    y = np.where(rng.random(200) < 0.5, 0.0, 10 * np.exp(rng.normal(0, 0.3, 200)))
    assert "drop" not in found(y).values()


def carried(share: float, days: int = 300, seed: int = 3) -> np.ndarray:
    """Noise of one sigma of which each day carries a share over to the next."""
    shock = np.random.default_rng(seed).normal(size=days)
    noise = [float(shock[0])]
    for one in shock[1:]:
        noise.append(share * noise[-1] + np.sqrt(1 - share**2) * float(one))
    return np.array(noise)


def test_a_day_that_yesterday_announced_is_allowed_more_than_one_that_it_did_not() -> None:
    z = carried(0.6)
    z[149], z[249] = 0.0, 3.0
    low, high = edges(z[None], np.array([4.25]))
    assert high[0, 150] < 4.0 < high[0, 250] == 4.25
    assert low[0, 150] == high[0, 150]
    calm = edges(carried(0.0)[None], np.array([4.25]))
    assert min(side.min() for side in calm) > 4.0


def test_a_spike_that_carried_noise_cannot_explain_is_seen() -> None:
    for share, seen in ((0.65, True), (0.0, False)):
        noise = carried(share)
        day = 150 + int(np.abs(noise[150:200]).argmin()) + 1        # after a day as it was to be expected
        usual, noise[day] = 100 * np.exp(0.1 * noise), 3.8
        assert found(usual) == {}
        assert found(100 * np.exp(0.1 * noise)) == ({day: "spike"} if seen else {})


def test_spikes_and_drops_lie_outside_their_bounds_and_calm_days_within() -> None:
    odd_days = pl.col("ds").dt.ordinal_day() % 45
    panel = frame(40, days=300, seed=21).with_columns(
        y=pl.when(odd_days == 0).then(pl.col("y") * 1.6).when(odd_days == 20).then(pl.col("y") * 0.6).otherwise("y"))
    out = detect(panel)
    outside = (pl.col("y") < pl.col("lower") * (1 - 1e-9)) | (pl.col("y") > pl.col("upper") * (1 + 1e-9))
    odd = out.filter(pl.col("kind").is_in(["spike", "drop"]))
    assert odd.height > 100
    assert odd.filter(~outside).height == 0
    assert out.filter(~pl.col("is_anomaly") & outside).height < 0.002 * out.height      # less than 12 % off


def test_false_alarms_are_rare_over_many_series() -> None:
    out = detect(frame(60, days=300, seed=8))
    assert out["is_anomaly"].mean() < 0.005  # type: ignore[operator]


def test_odd_series_give_finite_numbers_and_one_row_a_day() -> None:
    out = detect(odd_panel())
    numbers = pl.all_horizontal(pl.col("expected", "lower", "upper", "score", "effect").is_finite())
    assert out.select(numbers.all()).item()
    assert out.select("unique_id", "ds").is_unique().all()


def test_the_other_series_do_not_matter() -> None:
    alone = detect(series("a", cost()))
    together = detect(pl.concat([series("long", cost(400)), series("a", cost())])).filter(pl.col("unique_id") == "a")
    assert alone["kind"].to_list() == together["kind"].to_list()
    np.testing.assert_allclose(alone["expected"].to_numpy(), together["expected"].to_numpy())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=80))
def test_any_values_keep_the_expected_value_between_its_bounds(values: list[float]) -> None:
    out = detect(series("a", np.array(values)))
    assert out.height == len(values)
    assert out.filter(~((pl.col("lower") <= pl.col("expected")) & (pl.col("expected") <= pl.col("upper")))).height == 0


def test_a_feed_that_stops_is_missing_and_not_a_drop() -> None:
    still = series("whole", cost())
    late = series("late", cost(277, seed=1))
    out = detect(pl.concat([still, late]), align=True).filter("is_anomaly")
    assert out.select("unique_id", "kind").rows() == [("late", "missing")] * 3


def test_free_weekends_are_rhythm_and_a_silent_tuesday_is_a_drop() -> None:
    y = np.where(np.arange(280) % 7 >= 5, 0.0, cost())
    y[141] = 0.0
    assert found(y) == {141: "drop"}
