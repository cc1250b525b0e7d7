"""The book: no overlap, no wrong price, precedence, history, and what may replace it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costops.transforms.errors import Usage
from costops.transforms.prices import compare, reviewed
from costops.transforms.prices.book import book, build, overlaps, with_overrides
from costops.transforms.prices.entry import Price, clean, instant, rate
from costops.transforms.prices.feeds import genai, litellm, model_prices
from costops.transforms.prices.models import catalogue
from costops.transforms.tables import CORE_PRICE

NOW = datetime(2026, 11, 23, 12)


def price(unit: str = "output", usd: str = "1", **more: Any) -> Price:
    return Price("openai", more.pop("model_id", "gpt-test"), unit, Decimal(usd), more.pop("per", 10**6), "test", **more)


def test_the_shipped_book_has_the_tables_columns_and_no_overlap() -> None:
    assert book().schema == pl.Schema(CORE_PRICE.schema)
    assert overlaps(book()).is_empty()
    assert book().select("price_id", "unit", "recorded_at").is_unique().all()
    assert book().height > 10_000


def test_every_price_of_the_package_is_in_its_feed() -> None:
    own = {(p.provider, p.model_id) for p in genai.prices()}
    assert len(own) > 2_000
    assert {p.unit for p in genai.prices()} >= {"uncached_input", "cache_write_1h", "audio_input", "page", "web_search"}


@pytest.mark.parametrize(("wrong", "says"), [
    ({"usd": "-1"}, "at least 0"), ({"usd": "NaN"}, "finite"), ({"unit": "tokens"}, "unknown unit"),
    ({"valid_from": NOW, "valid_to": NOW}, "empty"), ({"min_input": 5, "max_input": 5}, "empty"),
    ({"usd": "5000", "per": 1}, "thousand dollars"), ({"model_id": ""}, "must be named"),
])
def test_a_wrong_price_is_refused_by_name(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Usage, match=says):
        build([price(**wrong)])


def test_a_feed_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(Usage, match="two prices of output"):
        build([price(usd="1"), price(usd="2")])
    with pytest.raises(Usage, match="two prices of output"):
        build([price(usd="1", max_input=100), price(usd="2", min_input=50)])
    for wrong, says in (("2026-10-20T00:00", "names no zone"), ("20 October", "no instant")):
        with pytest.raises(Usage, match=says):
            instant(wrong)


def test_the_higher_feed_wins_its_window_and_leaves_the_rest() -> None:
    start, end = instant("2026-03-01T00:00+00:00"), instant("2026-04-01T00:00+00:00")
    made = build([price(usd="5", rank=20), price("uncached_input", "1", rank=20),
                  price(usd="4", rank=10, valid_from=start, valid_to=end)])
    output = made.filter(pl.col("unit") == "output").sort("valid_from")
    assert output["price_usd"].to_list() == [5, 4, 5]
    assert output["valid_from"].to_list()[1:] == [start, end]
    assert overlaps(made).is_empty()


def test_the_users_price_stands_above_all(pricing: Any) -> None:
    own = Price("openai", "gpt-4o", "output", Decimal(7), 10**6, "override")
    mine = with_overrides(book(), [own], recorded_at=NOW)
    row = {"model_id": "gpt-4o", "output_tokens": 10**6, "uncached_input_tokens": 10**6}
    assert pricing.cost(row, mine) == Decimal("9.5")
    assert pricing.cost(row) == Decimal("12.5")
    assert overlaps(mine).is_empty()


def test_an_update_is_recorded_and_both_bases_stay() -> None:
    first = build([price(usd="3"), price("uncached_input", "1", model_id="gpt-other")], recorded_at=NOW)
    later = datetime(2026, 12, 1)
    second = build([price(usd="2"), price("uncached_input", "1", model_id="gpt-other")], recorded_at=later)
    both = compare.record(first, second, later)
    assert both.filter(pl.col("retracted_at").is_null())["price_usd"].sort().to_list() == [1, 2]
    assert both.filter(pl.col("retracted_at") == later)["price_usd"].to_list() == [3]
    assert both.filter(pl.col("model_id") == "gpt-other")["recorded_at"].to_list() == [NOW]
    assert compare.record(both, second, datetime(2027, 1, 1)).equals(both)


def test_a_price_that_is_given_an_end_overlaps_with_nothing() -> None:
    end, at = instant("2026-12-01T00:00+00:00"), datetime(2026, 11, 24)
    first = build([price(usd="3")], recorded_at=NOW)
    second = build([price(usd="3", valid_to=end), price(usd="2", valid_from=end)], recorded_at=at)
    both = compare.record(first, second, at)
    assert overlaps(both).is_empty()
    assert both.filter(pl.col("retracted_at").is_null()).sort("valid_from")["valid_to"].to_list()[0] == end
    assert both.filter(pl.col("retracted_at") == at).height == 1


def test_an_update_that_shrinks_jumps_or_is_older_is_refused() -> None:
    old = build([price(usd="3"), price("output", "1", model_id="gpt-other")])
    assert compare.refusals(old, old) == []
    assert "lacks 1 of 2 models" in compare.refusals(old, build([price(usd="3")]))[0]
    jump = build([price(usd="30"), price("output", "1", model_id="gpt-other")])
    assert "a factor of 10" in compare.refusals(old, jump)[0]
    assert "before the book in use" in compare.refusals(
        old, old, old_recorded=NOW, new_recorded=datetime(2026, 1, 1))[0]


def test_a_diff_tells_what_was_added_removed_and_changed() -> None:
    old = build([price(usd="3"), price("uncached_input", "1")])
    new = build([price(usd="4"), price("cache_read", "0.1")])
    told = compare.diff(old, new).select("change", "unit").rows()
    assert sorted(told) == [("added", "cache_read"), ("changed", "output"), ("removed", "uncached_input")]
    assert compare.diff(old, old).is_empty()


def test_feeds_disagree_only_where_somebody_looked() -> None:
    found = compare.check(compare.shipped_feeds(NOW))
    ours = found.filter(pl.col("seller").is_in([
        "openai", "anthropic", "gcp.gemini", "gcp.vertex_ai", "azure.ai.openai", "azure.ai.inference", "aws.bedrock"]))
    assert ours.filter(pl.col("state") == "new").select("seller", "model_id", "unit", "says").rows() == []
    assert ours["reason"].null_count() == 0


def test_a_disagreement_is_weighed_by_the_users_own_usage() -> None:
    feeds = [compare.at_instant([price(usd="1")], NOW),
             compare.at_instant([Price("openai", "gpt-test", "output", Decimal(3), 10**6, "other")], NOW)]
    usage = pl.DataFrame({"provider": ["openai"], "model_id": ["gpt-test"], "unit": ["output"],
                          "quantity": [5 * 10**6]})
    row = compare.check(feeds, usage).row(0, named=True)
    assert (row["at_stake_usd"], row["spread"], row["state"], row["applied"]) == (10.0, 2.0, "new", "test")


def test_what_ends_soon_is_announced() -> None:
    soon = compare.ending(book(), NOW, days=60)
    told = {(row["model_id"], row["reason"]) for row in soon.iter_rows(named=True)}
    assert ("gemini-4-argon", "price changes") in told
    assert ("cn_holidays", "a holiday calendar ends") in told
    assert ("gpt-5.6-sol", "a promotion ends about then") in told


def test_reviewed_files_say_why_and_when() -> None:
    for document in reviewed.documents():
        for entry in (document.get("prices") or []) + (document.get("uplifts") or []):
            assert entry["reason"]
            assert entry["link"].startswith("https://")
            assert entry["checked"] >= "2026-01-01"
    with pytest.raises(Usage, match="unknown keys"):
        list(reviewed.read({"provider": "openai", "prices": [
            {"models": ["m"], "usd": {"output": "1"}, "checked": "2026-11-25", "reason": "", "color": "red"}]}))


def test_litellms_map_is_read_and_its_dust_is_gone() -> None:
    data = b"""{"azure/eu/gpt-x": {"litellm_provider": "azure", "input_cost_per_token": 0.000015000020000000002,
        "output_cost_per_token": 6e-05, "input_cost_per_token_above_272k_tokens": 3e-05,
        "cache_creation_input_token_cost_above_1hr": 1e-05, "input_cost_per_token_batches": 7.5e-06},
        "unknown": {"litellm_provider": "openai", "input_cost_per_token": 0.0, "output_cost_per_token": 0.0}}"""
    found = {(p.region, p.service_tier, p.unit, p.min_input): p.price_usd for p in litellm.read(data, version="test")}
    assert found == {("eu", "standard", "uncached_input", 0): Decimal("15.00002"),
                     ("eu", "standard", "uncached_input", 272_001): 30, ("eu", "standard", "output", 0): 60,
                     ("eu", "standard", "cache_write_1h", 0): 10, ("eu", "batch", "uncached_input", 0): Decimal("7.5")}
    assert litellm.compact(litellm.read(data, version="test")).count("\n") == 6
    assert litellm.unread(b'{"m": {"litellm_provider": "openai", "cost_per_dream": 1.5}}') == {"cost_per_dream": 1}
    with pytest.raises(Usage, match="no JSON object"):
        list(litellm.read(b"[1]", version="test"))


def test_rates_are_exact_fractions_of_a_pico_dollar() -> None:
    assert rate(Decimal("2.5"), 10**6) == (2_500_000, 1)
    assert rate(Decimal("0.111"), 3600) == (92_500_000, 3)
    assert clean(Decimal("0.18000000000000002")) == Decimal("0.18")


def test_dates_that_feeds_contest_are_shown() -> None:
    models = catalogue({(p.provider, p.model_id) for p in genai.prices()}, genai.aliases())
    told = compare.contested_dates(genai.prices(), litellm.aligned(model_prices.prices(), models))
    medium = (pl.col("model_id") == "mistral-medium-latest") & (pl.col("unit") == "output")
    moved = told.filter(medium).row(0, named=True)
    assert (moved["applied_from"].day, moved["other_from"].day, round(moved["days_apart"])) == (16, 4, 19)


def test_a_second_opinion_is_dated_and_never_charged_by() -> None:
    data = b"""{"prices": {"alibaba": {"qwen-x": {"thinking": [{"start": null, "rates": null},
        {"start": "2026-01-01T00:00:00Z", "rates": {"input": 0.4, "output": 4,
            "tiers": [{"above": 256000, "input": 1.2, "output": 12}]}},
        {"start": "2026-02-01T00:00:00Z", "rates": {"input": 0.4, "output": 5}}]}}}}"""
    prices = list(model_prices.read(data, version="test"))
    assert {p.mode for p in prices} == {"thinking"}
    assert sorted((p.unit, p.min_input, p.price_usd, p.valid_from.month) for p in prices) == [
        ("output", 0, 4, 1), ("output", 0, 5, 2), ("output", 256_001, 12, 1), ("uncached_input", 0, Decimal("0.4"), 1),
        ("uncached_input", 0, Decimal("0.4"), 2), ("uncached_input", 256_001, Decimal("1.2"), 1)]
    assert not book()["price_source"].str.contains("model-prices").any()
