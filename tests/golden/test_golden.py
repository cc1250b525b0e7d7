"""Every golden request costs exactly what was worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

PICO = Decimal("1e-12")


def test_every_published_cost_is_exact_or_unpriced_as_it_says(golden: list[Any], pricing: Any) -> None:
    assert wrong(golden, pricing) == []


def test_every_shared_golden_cost_is_exact_or_unpriced_as_it_says(handed: list[Any], pricing: Any) -> None:
    assert len(handed) >= 61
    assert wrong(handed, pricing) == []


def wrong(golden: list[Any], pricing: Any) -> list[Any]:
    """The rows that come out otherwise."""
    found = []
    for (row, _), done in zip(golden, pricing.charges([usage for _, usage in golden]), strict=True):
        expected = Decimal(row["expected_usd"]).quantize(PICO) if row["expected_usd"] else None
        if done["list_cost_usd"] != expected or (expected is None) != (done["price_status"] == "unpriced"):
            found.append((row["provider"], row["model"], row["timestamp"], expected, done["list_cost_usd"]))
    return found


def test_unit_costs_add_up_to_the_list_cost(golden: list[Any], pricing: Any) -> None:
    for done in pricing.charges([usage for _, usage in golden]):
        if done["price_status"] == "priced":
            parts = [value for name, value in done.items() if name.endswith("_cost_usd") and value is not None
                     and name not in {"list_cost_usd", "effective_cost_usd", "reported_cost_usd"}]
            assert sum(parts, Decimal(0)) == done["list_cost_usd"]
