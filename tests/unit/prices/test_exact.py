"""The same integer by every route, and as Python's decimals say, over usage drawn from all of the book."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from costops.transforms.charge import keys_sql, pico_sql, price_cells, tokens_first_sql
from costops.transforms.prices.book import book
from costops.transforms.prices.effects import reprice_difference, split
from costops.transforms.units import UNIT, UNITS, parts_of

PICO = Decimal("1e-12")
FROM = datetime(2026, 9, 1)
INPUT = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h")
COUNT = st.integers(0, 300_000)


@lru_cache(maxsize=1)
def _entries() -> list[dict[str, Any]]:
    """Entries of the book without a schedule or mode, sold under their own name."""
    held = book().filter((pl.col("schedule") == "") & (pl.col("mode") == "")
                         & ~pl.col("model_id").str.contains("regional.", literal=True))
    return held.group_by("price_id", maintain_order=True).agg(
        pl.col("provider", "model_id", "service_tier", "region", "min_input", "max_input", "valid_from",
               "valid_to").first(), pl.col("minimum").max(), rates=pl.struct("unit", "price_usd", "per"),
    ).to_dicts()


def _sample(size: int, seed: int) -> list[tuple[dict[str, Any], Decimal | None]]:
    """Usage drawn over entries, units, tiers, regions and context ranges, with its cost in decimals."""
    drawn = random.Random(seed)
    entries = [e for e in _entries() if e["valid_to"] > FROM and e["region"] in {"global", "us", "eu"}
               and not (e["region"] != "global" and e["provider"] not in {"openai", "anthropic"})]
    found: list[tuple[dict[str, Any], Decimal | None]] = []
    while len(found) < size:
        entry = drawn.choice(entries)
        rates = {rate["unit"]: (rate["price_usd"], rate["per"]) for rate in entry["rates"]}
        counts = {unit: drawn.choice((0, drawn.randrange(5_000), drawn.randrange(400_000)))
                  for unit in rates if UNIT[unit].part_of is None and unit != "request"}
        for unit in rates:
            parent = UNIT[unit].part_of
            if parent is not None:
                counts[unit] = counts.get(parent, 0) // 3 if parent in counts else 0
        total = sum(counts.get(unit, 0) for unit in INPUT)
        if not entry["min_input"] <= total < entry["max_input"]:
            continue
        at = max(entry["valid_from"], FROM) + timedelta(microseconds=drawn.randrange(10**6))
        if at >= entry["valid_to"]:
            continue
        row: dict[str, Any] = {
            "provider": entry["provider"], "model_id": entry["model_id"], "service_tier": entry["service_tier"],
            "region": None if entry["region"] == "global" else entry["region"], "used_at": at, "input_tokens": total,
            **{UNIT[unit].column: count for unit, count in counts.items()}}
        found.append((row, _cost(counts, rates, entry["minimum"])))
    return found


def _cost(counts: dict[str, int], rates: dict[str, tuple[Decimal, int]], minimum: int) -> Decimal:
    total = Decimal(0)
    for unit, (usd, per) in rates.items():
        count = 1 if unit == "request" else counts.get(unit, 0)
        billed = count - sum(counts.get(part.name, 0) for part in parts_of(unit) if part.name in rates)
        if unit == "audio_second" and count:
            billed = max(billed, minimum)
        total += (usd * billed / per).quantize(PICO, ROUND_HALF_UP)
    return total


def test_twenty_thousand_rows_over_the_whole_book_equal_decimals(pricing: Any) -> None:
    sample = _sample(20_000, seed=4)
    done = pricing.charge_frame(pricing.usage_frame([row for row, _ in sample]))
    got = done["list_cost_usd"].to_list()
    wrong = [(row, expected, cost) for (row, expected), cost in zip(sample, got, strict=True) if cost != expected]
    assert wrong[:3] == []
    assert set(done["service_tier"]) >= {"standard", "batch", "flex", "priority", "fast"}
    assert done["price_status"].is_in(["priced", "free"]).all()


def test_two_routes_and_any_order_give_the_same_integer(pricing: Any) -> None:
    rows = [row for row, _ in _sample(3_000, seed=5)]
    usage = pricing.usage_frame(rows).filter(pl.sum_horizontal(
        pl.col(u.column).fill_null(0) for u in UNITS if u.name not in {*INPUT[:4], "output", "request"}) == 0)
    with duckdb.connect() as connection:
        connection.register("usage", usage.to_arrow())
        cells = price_cells(connection.sql(keys_sql("usage")).pl(), book())
        connection.register("cells", cells.to_arrow())
        by_row = connection.sql(f"SELECT sum(_pico)::HUGEINT, count(*) FROM ({pico_sql('usage', 'cells')})").fetchall()
        first = connection.sql(tokens_first_sql("usage", "cells")).fetchall()
    assert by_row[0][0] == first[0][0]
    assert by_row[0][1] == usage.height
    shuffled = pricing.charge_frame(usage.sample(fraction=1.0, shuffle=True, seed=1))
    straight = pricing.charge_frame(usage)
    assert shuffled.sort("record_id").equals(straight.sort("record_id"))


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(COUNT, COUNT, COUNT), min_size=1, max_size=6), st.integers(1, 5))
def test_splitting_tokens_over_rows_changes_no_total(pricing: Any, counts: list[tuple[int, int, int]],
                                                     pieces: int) -> None:
    whole, parts = [], []
    for plain, cached, made in counts:
        row: dict[str, Any] = {"model_id": "gpt-4o", "uncached_input_tokens": plain, "cache_read_tokens": cached,
               "output_tokens": made}
        whole.append(row)
        parts += [{"model_id": "gpt-4o", **{
            name: count // pieces + (count % pieces if piece == 0 else 0)
            for name, count in row.items() if isinstance(count, int)}} for piece in range(pieces)]
    once, split_up = (sum(d["list_cost_usd"] for d in pricing.charges(rows)) for rows in (whole, parts))
    assert once == split_up


@settings(max_examples=10, deadline=None)
@given(COUNT, COUNT)
def test_cached_input_never_costs_more_than_uncached(pricing: Any, plain: int, cached: int) -> None:
    done = pricing.charges([
        {"model_id": "gpt-4o", "uncached_input_tokens": plain, "cache_read_tokens": cached},
        {"model_id": "gpt-4o", "uncached_input_tokens": plain + cached}])
    assert done[0]["list_cost_usd"] <= done[1]["list_cost_usd"]


def test_repricing_on_the_same_basis_changes_nothing(pricing: Any) -> None:
    usage = pricing.usage_frame([row for row, _ in _sample(500, seed=6)])
    told = reprice_difference(pricing.charge_frame(usage), pricing.charge_frame(usage))
    assert told["difference_usd"].to_list() == [Decimal(0)] * told.height
    assert told["became_priced"].sum() == 0


def test_price_volume_mix_and_cache_add_up_to_the_change(pricing: Any) -> None:
    def period(at: str, scale: int, cached: int) -> pl.DataFrame:
        rows = [{"provider": "mistral_ai", "model_id": "mistral-large-4", "used_at": at,
                 "uncached_input_tokens": 1_000 * scale - cached, "cache_read_tokens": cached, "output_tokens": 300},
                {"model_id": "gpt-4o", "used_at": at, "uncached_input_tokens": 5_000 * scale, "output_tokens": 70},
                {"model_id": "unknown", "used_at": at, "uncached_input_tokens": 5}]
        done: pl.DataFrame = pricing.charge_frame(pricing.usage_frame(rows))
        return done

    told = split(period("2026-10-19T12:00:00Z", 1, 0), period("2026-10-21T12:00:00Z", 2, 400))
    parts = ("volume_usd", "mix_usd", "cache_usd", "price_usd", "other_usd")
    for row in told.iter_rows(named=True):
        assert sum(row[part] for part in parts) == row["after_usd"] - row["before_usd"]
    mistral = told.filter(pl.col("model_id") == "mistral-large-4").row(0, named=True)
    assert mistral["price_usd"] > 0
    assert mistral["cache_usd"] < 0
    assert mistral["volume_usd"] > 0
    openai = told.filter(pl.col("model_id") == "gpt-4o").row(0, named=True)
    assert openai["price_usd"] == 0
