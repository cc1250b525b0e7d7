"""What one request costs: tiers, context, cache, parts, time, and what must not happen."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costops.transforms.charge import charge_sql
from costops.transforms.prices.book import build
from costops.transforms.prices.entry import Price, instant
from costops.transforms.tables import CHARGE_COSTS, CORE_USAGE

START = datetime(2026, 1, 1)


def price(unit: str, usd: str, **more: Any) -> Price:
    return Price("openai", "gpt-test", unit, Decimal(usd), more.pop("per", 10**6), "test", **more)


def rows(**more: Any) -> dict[str, Any]:
    return {"provider": "openai", "model_id": "gpt-test"} | more


def test_a_price_change_does_not_touch_the_microsecond_before(pricing: Any) -> None:
    change = instant("2026-10-20T00:00+00:00")
    prices = build([price("uncached_input", "1", valid_to=change), price("uncached_input", "2", valid_from=change)])
    done = pricing.charges([rows(used_at="2026-10-19T23:59:59.999999Z", uncached_input_tokens=10**6),
                            rows(used_at="2026-10-20T00:00:00Z", uncached_input_tokens=10**6)], prices)
    assert [d["list_cost_usd"] for d in done] == [1, 2]


def test_every_usage_column_comes_through_and_the_costs_follow(pricing: Any) -> None:
    done = pricing.charge_frame(pricing.usage_frame([{}]))
    assert set(done.columns) == set(CORE_USAGE.columns) | (set(CHARGE_COSTS) - {"counted"})
    money = [name for name in CHARGE_COSTS if name.endswith("_usd")]
    assert all(done.schema[name] == pl.Decimal(18, 12) for name in money)
    assert "SELECT" in charge_sql("usage", "cells")


@pytest.mark.parametrize(("tokens", "expected"), [(272_000, "0.272"), (272_001, "0.544002")])
def test_the_whole_request_takes_the_rate_of_its_context(pricing: Any, tokens: int, expected: str) -> None:
    prices = build([price("uncached_input", "1", max_input=272_001), price("uncached_input", "2", min_input=272_001)])
    assert pricing.cost(rows(uncached_input_tokens=tokens), prices) == Decimal(expected)


def test_a_bucket_of_a_model_with_context_bands_is_a_range(pricing: Any) -> None:
    prices = build([price("uncached_input", "1", max_input=272_001), price("uncached_input", "2", min_input=272_001)])
    done = pricing.charges([rows(uncached_input_tokens=10**6, granularity="1d", requests=40)], prices)[0]
    assert (done["price_status"], done["list_cost_usd"]) == ("unpriced", None)
    assert (done["unpriced_low_usd"], done["unpriced_high_usd"]) == (1, 2)
    flat = build([price("uncached_input", "1")])
    assert pricing.cost(rows(uncached_input_tokens=10**6, granularity="1d", requests=40), flat) == 1


def test_an_unknown_model_is_unpriced_within_its_family(pricing: Any) -> None:
    done = pricing.charges([{"model_id": "gpt-99", "uncached_input_tokens": 10**6}])[0]
    assert (done["price_status"], done["list_cost_usd"], done["price_id"]) == ("unpriced", None, None)
    assert 0 < done["unpriced_low_usd"] < done["unpriced_high_usd"]


def test_zero_tokens_of_a_known_model_cost_zero(pricing: Any) -> None:
    done = pricing.charges([{}])[0]
    assert (done["price_status"], done["list_cost_usd"]) == ("priced", 0)


def test_a_unit_without_a_price_makes_the_row_unpriced(pricing: Any) -> None:
    prices = build([price("uncached_input", "1"), price("output", "2"), price("cache_read", "0.1")])
    done = pricing.charges([rows(uncached_input_tokens=10**6, cache_write_1h_tokens=5), rows(web_searches=1),
                            rows(output_tokens=10**6, reasoning_tokens=9)], prices)
    assert [d["price_status"] for d in done] == ["unpriced", "unpriced", "priced"]
    assert done[2]["list_cost_usd"] == 2


def test_reasoning_with_its_own_price_is_taken_out_of_output(pricing: Any) -> None:
    prices = build([price("uncached_input", "1"), price("output", "8"), price("reasoning", "3")])
    done = pricing.charges([rows(output_tokens=6_000_000, reasoning_tokens=4_000_000)], prices)[0]
    assert (done["output_cost_usd"], done["reasoning_cost_usd"], done["list_cost_usd"]) == (16, 12, 28)


def test_audio_is_text_only_where_the_list_says_so(pricing: Any) -> None:
    row = {"uncached_input_tokens": 20_000, "audio_input_tokens": 8_000}
    assert pricing.cost({"provider": "gcp.gemini", "model_id": "gemini-2.5-pro"} | row) == Decimal("0.025")
    assert pricing.cost({"provider": "gcp.gemini", "model_id": "gemini-2.5-flash"} | row) == Decimal("0.0116")
    assert pricing.charges([{"model_id": "gpt-4o"} | row])[0]["price_status"] == "unpriced"


def test_parts_beyond_the_whole_are_impossible_not_negative(pricing: Any) -> None:
    row = {"provider": "gcp.gemini", "model_id": "gemini-2.5-flash", "uncached_input_tokens": 5,
           "audio_input_tokens": 9}
    done = pricing.charges([row])[0]
    assert (done["price_status"], done["list_cost_usd"]) == ("impossible", None)


@pytest.mark.parametrize("tokens", [2**62, 10**15, 2**63 - 2])
def test_a_cost_that_does_not_fit_is_marked_never_wrapped(pricing: Any, tokens: int) -> None:
    done = pricing.charges([{"model_id": "gpt-4o", "uncached_input_tokens": tokens, "input_tokens": tokens},
                            {"model_id": "gpt-4o", "uncached_input_tokens": 1000},
                            {"provider": "groq", "model_id": "whisper-large-v3", "audio_seconds": tokens}])
    assert [d["price_status"] for d in done[:2]] == ["overflow", "priced"]
    assert done[0]["list_cost_usd"] is None
    assert all(d["list_cost_usd"] is None or d["list_cost_usd"] >= 0 for d in done)


def test_ten_seconds_at_least_and_a_price_by_the_hour(pricing: Any) -> None:
    whisper = {"provider": "groq", "model_id": "whisper-large-v3"}
    assert pricing.cost(whisper | {"audio_seconds": 3}) == Decimal("0.000308333333")
    assert pricing.cost(whisper | {"audio_seconds": 3600}) == Decimal("0.111")
    assert pricing.cost(whisper | {"audio_seconds": 0}) == 0


def test_states_other_than_a_price_are_told_apart(pricing: Any) -> None:
    done = pricing.charges([
        {"service_tier": "provisioned", "uncached_input_tokens": 5},
        {"provider": "openrouter", "model_id": "nobody/nothing", "uncached_input_tokens": 5,
         "reported_cost_usd": Decimal("0.0123")},
        {"provider": "openai", "model_id": "nothing", "reported_cost_usd": Decimal("0.0123")},
        {"service_tier": "ultra"},
        {"provider": "anthropic", "model_id": "claude-opus-4-6", "service_tier": "priority"},
    ])
    assert [d["price_status"] for d in done] == ["covered", "provider_reported", "unpriced", "unpriced", "covered"]
    assert done[1]["list_cost_usd"] == done[1]["effective_cost_usd"] == Decimal("0.0123")
    assert done[0]["effective_cost_usd"] == 0


def test_a_contract_lowers_the_effective_cost_while_it_runs(pricing: Any) -> None:
    deal = {"provider": "openai", "model_id": None, "account_id": "acme", "valid_from": START,
            "valid_to": datetime(2026, 11, 1), "multiplier": "0.85", "name": "acme-2026"}
    contracts = pl.DataFrame([deal], schema_overrides={"model_id": pl.String})
    done = pricing.charges([{"account_id": "acme", "uncached_input_tokens": 10**6, "used_at": at}
                            for at in ("2026-10-31T23:59:59Z", "2026-11-01T00:00:00Z")]
                           + [{"account_id": None, "uncached_input_tokens": 10**6, "used_at": "2026-10-01T00:00:00Z"}],
                           contracts=contracts)
    assert [d["effective_cost_usd"] for d in done] == [Decimal("2.125"), Decimal("2.5"), Decimal("2.5")]
    assert {d["list_cost_usd"] for d in done} == {Decimal("2.5")}


def test_the_users_own_id_is_priced_as_told(pricing: Any) -> None:
    told = pl.DataFrame({"provider": ["azure.ai.openai"], "model_id": ["prod-chat"], "priced_as": ["gpt-4o-mini"]})
    row = {"provider": "azure.ai.openai", "model_id": "prod-chat", "uncached_input_tokens": 10**6}
    assert pricing.cost(row, aliases=told) == Decimal("0.15")
    assert pricing.cost(row) is None


@pytest.mark.parametrize(("at", "expected"), [
    ("2026-11-16T02:00:00Z", "1.32"), ("2026-11-16T04:00:00Z", "0.66"), ("2026-11-16T03:59:59.999999Z", "1.32"),
    ("2026-11-14T02:00:00Z", "0.66"), ("2026-10-01T02:00:00Z", "0.66"), ("2026-08-18T02:00:00Z", "1.32"),
    ("2026-08-16T15:59:59.999999Z", "0.435"), ("2026-08-16T16:00:00Z", "0.66"),
])
def test_deepseek_knows_hours_weekends_and_holidays(pricing: Any, at: str, expected: str) -> None:
    row = {"provider": "deepseek", "model_id": "deepseek-v4-pro", "uncached_input_tokens": 10**6, "used_at": at}
    assert pricing.cost(row) == Decimal(expected)


@pytest.mark.parametrize(("row", "expected"), [
    ({"provider": "openai", "model_id": "gpt-5.4", "region": "eu"}, "2.75"),
    ({"provider": "anthropic", "model_id": "claude-opus-4-6", "region": "us"}, "5.5"),
    ({"provider": "anthropic", "model_id": "claude-opus-4-6", "region": "not_available"}, "5"),
    ({"provider": "anthropic", "model_id": "claude-opus-4-5", "region": "us"}, "5"),
    ({"provider": "gcp.vertex_ai", "model_id": "claude-sonnet-4-5", "region": "us-east5",
      "used_at": "2026-11-16T12:00:00Z", "input_tokens": 1000}, "3.3"),
    ({"provider": "azure.ai.openai", "model_id": "gpt-4o-2024-11-20", "region": "eu"}, "2.75"),
    ({"provider": "azure.ai.openai", "model_id": "gpt-6-sol", "region": "eu"}, "2.4"),
    ({"provider": "azure.ai.openai", "model_id": "gpt-6-sol", "region": "eastus2"}, "2"),
    ({"provider": "gcp.vertex_ai", "model_id": "gemini-2.5-flash", "region": "us-central1"}, "0.3"),
])
def test_a_region_costs_more_where_the_list_says_so(pricing: Any, row: dict[str, Any], expected: str) -> None:
    assert pricing.cost({"uncached_input_tokens": 10**6, "input_tokens": 1000} | row) == Decimal(expected)


def test_thinking_re_prices_the_whole_output_at_alibaba(pricing: Any) -> None:
    row = {"provider": "dashscope", "model_id": "qwen-plus", "output_tokens": 10**6, "uncached_input_tokens": 1}
    done = [pricing.cost(row | {"reasoning_tokens": n}) for n in (0, 1)]
    assert done == [Decimal("1.2000004"), Decimal("4.0000004")]


def test_what_was_known_then_prices_as_it_did_then(pricing: Any) -> None:
    then, now = datetime(2026, 6, 1), datetime(2026, 7, 1)
    old = build([price("uncached_input", "3")], recorded_at=then)
    new = build([price("uncached_input", "2")], recorded_at=now)
    both = pl.concat([old.with_columns(retracted_at=pl.lit(now, dtype=pl.Datetime("us"))), new])
    row = rows(uncached_input_tokens=10**6)
    assert pricing.cost(row, both) == 2
    assert pricing.cost(row, both, known_at=then) == 3
    assert pricing.cost(row, both, known_at=START) is None
