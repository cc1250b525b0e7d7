from __future__ import annotations

import numpy as np
import pytest

from costops.models import choice
from costops.models.backtest import Fold, Outlook, origins
from costops.models.intervals import Calibration, Widths, band, calibrate, weighted_quantile, widths
from costops.models.statistical import Member, fit_member, is_retired, members, tier


def fold(name: str, *, classical: float, boosted: float, actual: float = 10.0, days: int = 30) -> Fold:
    flat = np.full(days, classical)
    spread = np.array([0.9, 0.95, 1.0, 1.05, 1.1])[:, None] * np.full(days, boosted)
    view = Outlook((Member("seasonal_naive", flat, np.full(days, 2.0)),), spread)
    return Fold(name, "regular", 100, view, np.full(days, actual), 1.0)


def test_the_default_share_of_the_boosted_model_grows_with_the_horizon() -> None:
    share = choice.default_weight(90)
    assert (np.diff(share) > 0).all()
    assert share[0] == pytest.approx(0.4)
    assert share[-1] < 0.9


def test_a_panel_moves_the_weights_but_not_all_the_way() -> None:
    learned = choice.learn([fold(str(i), classical=20, boosted=10) for i in range(50)]).by_day("regular", 30)
    assert (learned > choice.default_weight(30)).all()
    assert learned[0] < 0.7


def test_a_panel_that_taught_nothing_uses_the_default() -> None:
    np.testing.assert_array_equal(choice.learn([]).by_day("regular", 30), choice.default_weight(30))


def test_the_blend_lies_between_its_members() -> None:
    view = fold("a", classical=10, boosted=20).outlook
    got = choice.blend(view, choice.default_weight(30))
    assert ((got > 10) & (got < 20)).all()


def test_a_series_own_evidence_moves_its_share_a_little() -> None:
    assert 0 < choice.own_shift([fold("a", classical=20, boosted=11)], 30) <= 0.25
    assert choice.own_shift([], 30) == 0


def test_an_intermittent_series_gets_the_middle_of_classical_boosted_and_usual_day() -> None:
    made = fold("a", classical=3, boosted=9).outlook
    share = choice.default_weight(30)
    for usual, middle in ((0.0, 3.0), (5.0, 5.0), (20.0, 9.0)):
        view = Outlook(made.found, made.boosted, usual)
        np.testing.assert_allclose(choice.centre(view, "intermittent", share), middle)
        np.testing.assert_array_equal(choice.centre(view, "regular", share), choice.blend(view, share))


def test_half_widths_mix_as_a_geometric_mean_and_neither_vanishes_beside_the_other() -> None:
    wide = np.array([2.0, 5.0, 10.0, 15.0, 18.0])[:, None] * np.ones(7)
    calm, wild = (Outlook((Member("theta", np.full(7, 10.0), np.full(7, half)),), wide) for half in (0.0, 800.0))
    usual = Outlook((Member("theta", np.full(7, 10.0), np.full(7, 2.0)),), wide)
    np.testing.assert_allclose(widths(usual).up[95], 4.0)                           # of 2 and 8
    np.testing.assert_allclose(widths(calm).up[95], (8 / 6 * 8) ** 0.5)
    np.testing.assert_allclose(widths(wild).up[95], (800 * 800 / 6) ** 0.5)


def test_naive_is_published_only_on_lasting_evidence() -> None:
    assert choice.loses_to_naive([0.3, 0.4], pooled=-0.1, days=180)
    assert not choice.loses_to_naive([0.3], pooled=-0.2, days=7)
    assert not choice.loses_to_naive([], pooled=-0.2, days=0)


@pytest.mark.parametrize(("error", "letter"), [(0.05, "A"), (0.15, "B"), (0.3, "C"), (0.9, "D"), (float("nan"), "-")])
def test_grades(error: float, letter: str) -> None:
    assert choice.grade([error]) == letter


def test_factors_make_backtests_hold_their_level() -> None:
    rng = np.random.default_rng(0)
    made = []
    for i in range(60):
        one = fold(str(i), classical=10, boosted=10)
        made.append(Fold(one.unique_id, "regular", 100, one.outlook, 10 + rng.normal(0, 1.5, 30), 1.0))
    found = calibrate(made, [np.full(30, 10.0)] * 60)
    bounds = found.apply(np.full(30, 10.0), widths(made[0].outlook), segment="regular", signed=True)
    assert (bounds["hi95"] > bounds["hi80"]).all()
    held = np.mean([((f.actual <= bounds["hi95"]) & (f.actual >= bounds["lo95"])).mean() for f in made])
    assert 0.93 < held < 0.98


def test_without_factors_the_raw_width_is_used() -> None:
    raw = Widths({80: np.ones(3), 95: np.full(3, 2.0)}, {80: np.ones(3), 95: np.full(3, 2.0)})
    got = Calibration({}).apply(np.ones(3), raw, segment="regular", signed=False)
    assert got["lo95"].tolist() == [0, 0, 0]
    assert got["hi95"].tolist() == [3, 3, 3]


def test_weighted_quantiles_count_weights() -> None:
    assert weighted_quantile(np.array([1.0, 2, 3]), np.array([1.0, 1, 8]), 0.5) == 3


def test_bands_and_origins() -> None:
    assert [band(s) for s in (1, 7, 8, 30, 31, 90, 400)] == [0, 0, 1, 2, 3, 4, 4]
    assert origins(400, 90) == (280, 310, 370)
    assert origins(20, 90) == ()
    assert all(o >= 14 for o in origins(30, 90))


@pytest.mark.parametrize("days", [1, 6, 7, 13, 14, 27, 28, 59, 60, 400])
def test_every_length_of_history_has_a_finite_forecast(days: int) -> None:
    y = 10 + np.arange(days) % 7
    found = members(y.astype(float), 30)
    assert {m.name for m in found} <= set(tier(days)) | {"seasonal_naive"}
    assert all(np.isfinite(m.mean).all() for m in found)


def test_arima_is_a_named_member_on_request() -> None:
    y = 10 + np.tile([0.0, 1, 2, 3, 2, 1, 0], 20) + np.random.default_rng(0).normal(0, 0.1, 140)
    got = fit_member("arima", y, 14)
    assert got is not None
    assert np.abs(got.mean - np.tile([0.0, 1, 2, 3, 2, 1, 0], 2) - 10).max() < 1


def test_silence_after_steady_use_is_retirement_and_sparse_use_is_not() -> None:
    assert is_retired(np.r_[np.ones(40), np.zeros(14)])
    assert not is_retired(np.r_[np.ones(40), np.zeros(5)])
    assert not is_retired(np.r_[np.tile([1.0, 0, 0], 20), np.zeros(14)])
