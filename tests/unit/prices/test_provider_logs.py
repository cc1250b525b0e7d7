"""The prices and costs that came with the provider logs: the book knows them, to the digit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

PROVIDER = {"openai": "openai", "anthropic": "anthropic", "bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai",
            "azure": "azure.ai.openai", "litellm": "mistral_ai", "otel": "groq"}


def _truth(pricing: Any, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(pricing.shared("data", "provider_logs", name, "truth.json").read_text())
    return read


@pytest.mark.parametrize("name", ["clean_october", "faulty_fortnight"])
def test_every_day_of_every_model_costs_what_the_truth_says(pricing: Any, name: str) -> None:
    told = _truth(pricing, name)["log_by_source_model_day"]
    rows = [{
        "provider": PROVIDER[day["source"]], "model_id": day["model"], "service_tier": day["tier"],
        "used_at": f"{day['day']}T12:00:00Z", "uncached_input_tokens": day["input_tokens"],
        "cache_read_tokens": day["cache_read_tokens"], "cache_write_5m_tokens": day["cache_write_tokens"],
        "output_tokens": day["output_tokens"], "input_tokens": 1000, "requests": day["requests"],
    } for day in told]
    wrong = [(day["source"], day["model"], day["tier"], day["day"], day["cost_usd"], str(done["list_cost_usd"]))
             for day, done in zip(told, pricing.charges(rows), strict=True)
             if done["price_status"] != "unpriced" and done["list_cost_usd"] != Decimal(day["cost_usd"])]
    assert wrong == []
