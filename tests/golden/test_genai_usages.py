"""Real usage objects against the genai-prices package at the same instant: every difference is explained."""

from __future__ import annotations

import gzip
import json
import warnings
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from costops.transforms.prices.feeds.genai import _providers
from costops.transforms.prices.providers import GENAI_NAMES, provider_name

AT = datetime(2026, 11, 16, 12)

EXPLAINED = {
    # their provider, the model they found: why we differ
    ("openai", "gpt-4o-audio-preview"): "audio at its own price, where they take the price of text",
    ("azure", "gpt-4o-audio-preview"): "audio at its own price, where they take the price of text",
    ("azure", "gpt-oss-120b"): "the price of Azure, where they take one of OpenAI's list, which sells no such model",
    ("cerebras", "qwen-3-coder-480b"): "they have the model without any price: 0 there, unpriced here",
    ("google", "gemini-2.0-flash"): "gemini-2.0-flash-exp is in no list: not guessed from a part of its name",
    ("openrouter", "google/gemini-2.0-flash-exp:free"): "they have the model without any price: 0 there, unpriced here",
    ("deepseek", "deepseek-reasoner"): "a distilled model of others, which DeepSeek does not sell: not guessed",
    ("aws", "regional.anthropic.claude-3-opus-20240229-v1:0"): "no Bedrock id: not guessed from a part of the name",
}


def _usage(told: dict[str, Any], provider: str, model: str) -> dict[str, Any]:
    def count(name: str) -> int:
        return int(told.get(name) or 0)

    read, hour = count("cache_read_tokens"), count("cache_write_1h_tokens")
    short = count("cache_write_5m_tokens") or max(count("cache_write_tokens") - hour, 0)
    audio, image, video = (count(f"cache_{kind}_read_tokens") for kind in ("audio", "image", "video"))
    return {
        "provider": provider, "model_id": model, "used_at": AT, "input_tokens": count("input_tokens"),
        "uncached_input_tokens": count("input_tokens") - read - short - hour, "cache_read_tokens": read,
        "cache_write_5m_tokens": short, "cache_write_1h_tokens": hour, "output_tokens": count("output_tokens"),
        "reasoning_tokens": count("output_reasoning_tokens"),
        "audio_input_tokens": count("input_audio_tokens") - audio or None, "audio_cache_read_tokens": audio or None,
        "image_input_tokens": count("input_image_tokens") - image or None, "image_cache_read_tokens": image or None,
        "video_input_tokens": count("input_video_tokens") - video or None,
        "audio_output_tokens": count("output_audio_tokens") or None,
        "image_output_tokens": count("output_image_tokens") or None, "web_searches": count("web_searches") or None,
    }


def test_real_usage_costs_what_the_package_says_or_the_difference_is_explained(pricing: Any) -> None:
    from genai_prices.types import Usage

    path = pricing.shared("data", "traces", "genai_prices_usages.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        objects = [json.loads(line) for line in lines]
    sellers = {provider.id: provider for provider in _providers()}
    rows, theirs = [], []
    for one in objects:
        for reading in one["extracted"]:
            for seller in reading["extractors"]:
                model = one.get("model") or one["body"].get("model")
                if "input_price" in seller:
                    name = seller["provider_id"]
                    rows.append(_usage(reading["usage"], GENAI_NAMES.get(name) or provider_name(name), model))
                    theirs.append((name, model, reading["usage"]))
    different: Counter[tuple[str, str]] = Counter()
    for (name, model, told), done in zip(theirs, pricing.charges(rows), strict=True):
        found = sellers[name].find_model(model, all_providers=list(sellers.values()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = found.calc_price(Usage(**told), sellers[name],
                                        genai_request_timestamp=AT.replace(tzinfo=UTC)).total_price
        if done["list_cost_usd"] != expected.quantize(Decimal("1e-12")):
            different[name, found.id] += 1
    assert len(objects) == 937
    assert len(rows) > 2_000
    assert set(different) == set(EXPLAINED)
    assert sum(different.values()) < 20
