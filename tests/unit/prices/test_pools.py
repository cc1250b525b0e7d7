"""Allowances that requests share, and things billed by the hour."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl

from costops.transforms.prices.pools import Pool, cache_storage_usd, pool_credits, provisioned_usd


def test_a_free_pool_is_drawn_down_in_order_over_the_month() -> None:
    charges = pl.DataFrame({
        "provider": ["gcp.gemini"] * 3, "model_id": ["gemini-3-flash", "gemini-3-pro", "gemini-3-flash"],
        "account_id": ["a"] * 3, "day": [date(2026, 10, 1), date(2026, 10, 2), date(2026, 11, 1)],
        "web_searches": [60, 80, 10], "web_search_cost_usd": [Decimal("0.6"), Decimal("0.8"), Decimal("0.1")],
    })
    told = pool_credits(charges, (Pool("gcp.gemini", "gemini-3", "web_searches", 100, "month"),))
    assert told.select("period", "used", "free", "credit_usd").rows() == [
        ("2026-10", 140, 100, Decimal("-1.0")), ("2026-11", 10, 10, Decimal("-0.1"))]


def test_storage_and_throughput_cost_by_time() -> None:
    assert cache_storage_usd(1_000_000, 3_600, Decimal("4.5")) == Decimal("4.5")
    assert provisioned_usd(50, 1_800, Decimal("1")) == 25
