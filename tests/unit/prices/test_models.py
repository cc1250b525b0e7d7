"""Which price list entry a model id means: only by stated rules, and the path is told."""

from __future__ import annotations

from datetime import datetime

import pytest

from costops.transforms.prices.book import book
from costops.transforms.prices.explain import explain, resolve

FOUND = [
    ("openai", "gpt-4o", None, "openai/gpt-4o"),
    ("openai", "gpt-4o-2024-08-06", None, "openai/gpt-4o"),
    ("openai", "gpt-4o-2024-05-13", None, "openai/gpt-4o-2024-05-13"),
    ("openai", "gpt-5.4-20260305", None, "openai/gpt-5.4"),
    ("openai", "ft:gpt-4o-2024-08-06:acme::AbC123", None, "openai/ft:gpt-4o"),
    ("azure.ai.openai", "gpt-4o-2024-11-20", None, "openai/gpt-4o"),
    ("azure", "gpt-4.1", None, "openai/gpt-4.1"),
    ("anthropic", "claude-haiku-4-5-20251001", None, "anthropic/claude-haiku-4-5"),
    ("gcp.vertex_ai", "publishers/anthropic/models/claude-sonnet-4-5@20250929", None, "gcp.gemini/claude-sonnet-4-5"),
    ("gcp.vertex_ai", "projects/p/locations/us-east5/publishers/google/models/gemini-2.5-flash", "us-east5",
     "gcp.gemini/gemini-2.5-flash"),
    ("gcp.gemini", "models/gemini-2.5-pro", None, "gcp.gemini/gemini-2.5-pro"),
    ("aws.bedrock", "global.anthropic.claude-sonnet-4-6", None,
     "aws.bedrock/global.anthropic.claude-sonnet-4-6-v1:0"),
    ("aws.bedrock", "us.anthropic.claude-sonnet-4-6-v1:0", None,
     "aws.bedrock/regional.anthropic.claude-sonnet-4-6-v1:0"),
    ("aws.bedrock", "anthropic.claude-sonnet-4-6", None, "aws.bedrock/regional.anthropic.claude-sonnet-4-6-v1:0"),
    ("aws.bedrock", "us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", None,
     "aws.bedrock/us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("aws.bedrock", "arn:aws:bedrock:us-east-1:111122223333:inference-profile/global.anthropic.claude-opus-4-5-v1:0",
     "us-east-1", "aws.bedrock/global.anthropic.claude-opus-4-5-v1:0"),
    ("aws.bedrock", "us.amazon.nova-lite-v1:0", None, "aws.bedrock/amazon.nova-lite-v1:0"),
    ("mistral", "mistral-large-4", None, "mistral_ai/mistral-large-4"),
    ("groq", "openai/gpt-oss-120b", None, "groq/openai/gpt-oss-120b"),
    ("dashscope", "qwen-flash", None, "dashscope/qwen-flash"),
]


@pytest.mark.parametrize(("provider", "model", "region", "expected"), FOUND)
def test_a_stated_rule_leads_to_the_entry(provider: str, model: str, region: str | None, expected: str) -> None:
    match = resolve(book(), provider, model, region=region)
    assert f"{match.provider}/{match.model_id}" == expected
    assert match.path.startswith(tuple("abcdefghijklmnopqrstuvwxyz"))
    assert expected in match.path


@pytest.mark.parametrize(("provider", "model"), [
    ("openai", "gpt-exp-0000"), ("openai", "gpt-4oo"), ("openai", "gpt-4o-turbo-plus"),
    ("anthropic", "claude-sonnet-4-5-thinking"), ("deepseek", "deepseek-r1-distill-llama-70b"),
    ("aws.bedrock", "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc123def456"),
    ("azure.ai.openai", "my-deployment"), ("nobody", "gpt-4o"), ("openai", ""),
])
def test_nothing_is_guessed(provider: str, model: str) -> None:
    match = resolve(book(), provider, model)
    assert match.provider is None
    assert "in no price list" in match.path


def test_an_explanation_names_path_prices_and_source() -> None:
    rows = explain(book(), "claude-haiku-4-5-20251001", datetime(2026, 11, 1), provider="anthropic")
    prices = dict(rows.select("unit", "price_usd").iter_rows())
    assert prices["uncached_input"] == 1
    assert prices["cache_write_1h"] == 2
    assert set(rows["path"]) == {"anthropic/claude-haiku-4-5-20251001 > date or version suffix > "
                                 "anthropic/claude-haiku-4-5"} or "claude-haiku-4-5" in rows["path"][0]
    assert explain(book(), "gpt-exp-0000", datetime(2026, 11, 1), provider="openai").height == 1
