from __future__ import annotations

import numpy as np

from costops.models import synthetic
from costops.models.boosted import Series, Settings, predict, train
from costops.models.features import NAMES, build


def test_features_do_not_see_beyond_the_origin() -> None:
    y = synthetic.many(1, days=500, seed=2)[0]
    changed = y.copy()
    changed[300:] = 1e9
    at, ahead = np.full(90, 300), np.arange(1, 91)
    before = build(y, at, ahead, weekday=0, day_of_year=1)
    after = build(changed, at, ahead, weekday=0, day_of_year=1)
    np.testing.assert_array_equal(before.x, after.x)


def test_features_do_not_depend_on_the_unit() -> None:
    y = synthetic.many(1, days=300, seed=4)[0]
    at, ahead = np.arange(100, 290, 10), np.full(19, 5)
    small = build(y, at, ahead, weekday=0, day_of_year=1).x
    large = build(y * 1e9, at, ahead, weekday=0, day_of_year=1).x
    np.testing.assert_allclose(small, large, rtol=1e-6, atol=1e-9)


def test_a_single_known_day_is_enough_for_finite_levels() -> None:
    frame = build(np.array([3.0]), np.array([1]), np.array([1]), weekday=0, day_of_year=1)
    assert frame.x.shape == (1, len(NAMES))
    assert np.isfinite(frame.level).all()


def test_ratio_and_value_are_inverse() -> None:
    y = synthetic.many(1, days=200, seed=5)[0]
    frame = build(y, np.full(30, 150), np.arange(1, 31), weekday=0, day_of_year=1)
    np.testing.assert_allclose(frame.from_ratio(frame.to_ratio(y[150:180])), y[150:180])


def test_quantiles_never_cross_and_are_never_negative() -> None:
    known = [Series(y / y.mean(), 0, 1) for y in synthetic.many(8, days=250, seed=6)]
    model = train(known, horizon=30, settings=Settings(rows=2_000, trees=10))
    assert model is not None
    out = predict(model, known, horizon=45)  # further than it was taught
    assert out.shape == (8, 5, 45)
    assert (np.diff(out, axis=1) >= 0).all()
    assert (out >= 0).all()


def test_too_little_data_trains_nothing() -> None:
    assert train([Series(np.ones(5), 0, 1)], horizon=7) is None
