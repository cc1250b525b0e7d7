from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costops.models import scenario as what
from costops.models.scenario import ScenarioError

DAY, LATER = date(2026, 3, 1), date(2026, 3, 2)
TOKENS = {"uncached_input_tokens": 900_000, "cache_read_tokens": 100_000, "output_tokens": 50_000}
VOLUMES = pl.DataFrame(
    [
        (day, model, unit, "standard", tokens)
        for day in (DAY, LATER)
        for model in ("big", "small")
        for unit, tokens in (
            ("uncached_input_tokens", 900_000),
            ("cache_read_tokens", 100_000),
            ("output_tokens", 50_000),
        )
    ],
    schema=["day", "model_id", "unit", "tier", "quantity"],
    orient="row",
)
PER_MILLION = {"uncached_input_tokens": 3.0, "cache_read_tokens": 0.3, "output_tokens": 15.0}
PRICES = pl.DataFrame(
    [
        (
            model,
            unit,
            tier,
            date(2025, 1, 1),
            usd / 1e6 * (1.0 if model == "big" else 0.1) * (0.5 if tier == "batch" else 1),
        )
        for model, part in (("big", 1.0), ("small", 0.1))
        for unit, usd in PER_MILLION.items()
        for tier, discount in (("standard", 1.0), ("batch", 0.5))
    ],
    schema=["model_id", "unit", "tier", "valid_from", "price_usd"],
    orient="row",
)
BIG_DAY = 0.9 * 3 + 0.1 * 0.3 + 0.05 * 15  # 3.48 USD, by hand


def total(volumes: pl.DataFrame, prices: pl.DataFrame = PRICES) -> float:
    return float(what.cost(volumes, prices)["cost_usd"].sum())


def test_the_baseline_is_the_sum_worked_out_by_hand() -> None:
    assert total(VOLUMES) == pytest.approx(2 * BIG_DAY * 1.1)


def test_half_of_the_big_models_traffic_on_the_small_one() -> None:
    moved = what.move_traffic(VOLUMES, source="big", target="small", share=0.5)
    assert total(moved) == pytest.approx(2 * BIG_DAY * (0.5 + 0.15))


def test_moving_traffic_from_a_date_leaves_the_days_before() -> None:
    moved = what.move_traffic(VOLUMES, source="big", target="small", share=1.0, start=LATER)
    assert total(moved) == pytest.approx(BIG_DAY * 1.1 + BIG_DAY * 0.2)


def test_a_cache_rate_moves_writes_with_the_rest() -> None:
    written = VOLUMES.filter(pl.col("unit") == "uncached_input_tokens").with_columns(
        unit=pl.lit("cache_write_5m_tokens"), quantity=pl.lit(300_000, pl.Int64))
    got = what.set_cache_rate(pl.concat([VOLUMES, written]), rate=0.5, model="big").filter(
        (pl.col("model_id") == "big") & (pl.col("day") == DAY))
    assert dict(got.select("unit", "quantity").iter_rows()) == pytest.approx({
        "cache_read_tokens": 650_000, "uncached_input_tokens": 650_000 * 9 / 12, "cache_write_5m_tokens": 650_000 * 3 / 12,
        "output_tokens": 50_000})


def test_the_total_of_a_period_is_surer_than_its_days() -> None:
    ahead = pl.DataFrame({"unique_id": "a", "ds": [DAY, LATER], "yhat": [10.0, 10.0], "mean": [10.0, 10.0],
                          "lo95": [8.0, 8.0], "hi95": [14.0, 14.0]})
    assert what.bounds(ahead, 1.0).row(0) == ("a", pytest.approx(0.2), pytest.approx(0.4))
    assert what.bounds(ahead, 0.0).row(0) == ("a", pytest.approx(0.2 / 2**0.5), pytest.approx(0.4 / 2**0.5))


def test_a_cache_rate_keeps_the_sum_of_input_tokens() -> None:
    cached = what.set_cache_rate(VOLUMES, rate=0.8, model="big")
    by_hand = 0.2 * 3 + 0.8 * 0.3 + 0.05 * 15
    assert total(cached) == pytest.approx(2 * by_hand + 2 * BIG_DAY * 0.1)
    assert cached["quantity"].sum() == pytest.approx(VOLUMES["quantity"].sum())


def test_a_batch_share_is_charged_at_batch_prices() -> None:
    assert total(what.set_batch_share(VOLUMES, share=0.4)) == pytest.approx(total(VOLUMES) * 0.8)


def test_an_announced_price_change_starts_on_its_day() -> None:
    cheaper = what.change_price(PRICES, model="big", start=LATER, factor=0.5)
    assert total(VOLUMES, cheaper) == pytest.approx(BIG_DAY * 1.1 + BIG_DAY * 0.6)


def test_a_price_of_one_unit_leaves_the_others() -> None:
    changed = what.change_price(PRICES, model="big", start=DAY, unit="output_tokens", price=30 / 1e6)
    assert total(VOLUMES, changed) == pytest.approx(total(VOLUMES) + 2 * 0.05 * 15)


def test_growth_multiplies_from_its_start() -> None:
    assert total(what.grow(VOLUMES, factor=2.0, start=LATER)) == pytest.approx(3 * BIG_DAY * 1.1)


def test_the_difference_is_told_by_day_and_in_total() -> None:
    base, more = what.cost(VOLUMES, PRICES), what.cost(what.grow(VOLUMES, factor=2.0, start=LATER), PRICES)
    by_day = what.compare(base, more)
    assert by_day["difference_usd"].to_list() == [0.0, pytest.approx(BIG_DAY * 1.1)]
    assert what.compare(base, more, by=())["difference_usd"][0] == pytest.approx(BIG_DAY * 1.1)


def test_a_volume_without_a_price_is_refused_by_name() -> None:
    with pytest.raises(ScenarioError, match="no price of huge"):
        what.cost(what.move_traffic(VOLUMES, source="big", target="huge", share=0.1), PRICES)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ScenarioError, match="between 0 and 1"):
        what.set_batch_share(VOLUMES, share=share)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_no_change_of_routing_creates_or_loses_tokens(move: float, rate: float, batch: float) -> None:
    changed = what.move_traffic(VOLUMES, source="big", target="small", share=move)
    changed = what.set_batch_share(what.set_cache_rate(changed, rate=rate), share=batch)
    assert changed["quantity"].sum() == pytest.approx(VOLUMES["quantity"].sum())


def test_an_announced_price_change_is_a_step_in_the_forecast() -> None:
    tokens = pl.DataFrame(
        {
            "unique_id": "big out",
            "ds": [DAY, LATER],
            "yhat": 1e6,
            "lo95": 0.5e6,
            "hi95": 2e6,
            "cutoff": date(2026, 2, 28),
        }
    )
    members = pl.DataFrame({"unique_id": ["big out"], "model_id": "big", "unit": "output_tokens", "tier": "standard"})
    book = what.change_price(PRICES, model="big", start=LATER, factor=2.0)
    got = what.price_forecast(tokens, members, book)
    assert got["yhat"].to_list() == pytest.approx([15, 30])
    assert got["hi95"].to_list() == pytest.approx([30, 60])
