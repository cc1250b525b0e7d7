"""What bill lines are about. Names from providers' catalogues and public code; made-up ones keep their money."""

from __future__ import annotations

import pytest

from costops.transforms.billing.grammar_anthropic import cost_row, model_name
from costops.transforms.billing.grammar_azure import meter
from costops.transforms.billing.grammar_bedrock import usage_line
from costops.transforms.billing.grammar_google import sku
from costops.transforms.billing.grammar_openai import line_item
from costops.transforms.billing.meaning import Meaning


def _said(meaning: Meaning) -> tuple[str | None, ...]:
    return meaning.model_id, meaning.unit, meaning.tier, meaning.region


@pytest.mark.parametrize(("text", "want"), [
    ("gpt-5.5-2026-04-23, input", ("gpt-5.5-2026-04-23", "uncached_input", None, None)),
    ("gpt-5.5-2026-04-23, cached input", ("gpt-5.5-2026-04-23", "cache_read", None, None)),
    ("gpt-5.5-2026-04-23, cache writes", ("gpt-5.5-2026-04-23", "cache_write_5m", None, None)),
    ("priority | gpt-5.6-sol, output, long context", ("gpt-5.6-sol", "output", "priority", None)),
    ("gpt-audio-mini-2025-12-15 audio, input", ("gpt-audio-mini-2025-12-15", "audio_input", None, None)),
    ("gpt-image-2.5-sunburst text, cached input", ("gpt-image-2.5-sunburst", "cache_read", None, None)),
    ("ft-gpt-4o-2024-08-06, output", ("ft:gpt-4o-2024-08-06", "output", None, None)),
    ("web search tool calls", (None, "web_search", None, None)),
    ("Vector storage", (None, None, None, None)), ("strange | gpt-5, input", (None, None, None, None)),
    ("gpt-5, hyper input", (None, None, None, None)),
])
def test_openai_line_items(text: str, want: tuple[str | None, ...]) -> None:
    assert _said(line_item(text, "tokens")) == want
    assert line_item(text, "tokens").status == ("mapped" if want[1] else "unmapped")


def test_the_quantity_unit_tells_what_a_bare_model_is_billed_by() -> None:
    assert line_item("whisper-1, audio", "duration_minutes").block == 60
    assert line_item("tts-1", "characters").unit == "character"
    assert line_item("text-embedding-3-small", "tokens").unit == "uncached_input"


_HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize(("usage", "product", "want"), [
    ("USE1-NovaLite-input-tokens", None, ("amazon.nova-lite-v1:0", "uncached_input", "standard", "us-east-1")),
    ("USE1-Claude4.5Haiku-output-tokens-cross-region-global", None, (
        f"global.{_HAIKU}", "output", "standard", "global")),
    ("EUC1-Claude4.5Haiku-cache-write-input-token-count-1-hour-batch", None, (
        _HAIKU, "cache_write_1h", "batch", "eu-central-1")),
    ("USE1-Claude4.6Opus-cache-write-1h-input-token-count", None, (
        "anthropic.claude-opus-4-6-v1:0", "cache_write_1h", "standard", "us-east-1")),
    ("USE1-openai.gpt-oss-120b-mantle-input-tokens-flex", None, (
        "openai.gpt-oss-120b-1:0", "uncached_input", "flex", "us-east-1")),
    ("USE1-MP:USE1_output_tokens_standard-Units", "Claude Opus 5 (Amazon Bedrock Edition)", (
        "anthropic.claude-opus-5", "output", "standard", "us-east-1")),
    ("USW2-MP:USW2_CacheReadInputTokenCount_Global-Units", "Claude Haiku 4.5 (Amazon Bedrock Edition)", (
        f"global.{_HAIKU}", "cache_read", "standard", "global")),
    ("USE1-Wonder9-input-tokens", None, (None, None, "standard", "us-east-1")),
    ("USE1-Guardrail-TextUnits", None, (None, None, None, "us-east-1")),
])
def test_bedrock_usage_types(usage: str, product: str | None, want: tuple[str | None, ...]) -> None:
    measure = "1M tokens" if "MP:" in usage else "1K tokens"
    made = usage_line("Usage", "AmazonBedrock", product, usage, None, measure)
    assert _said(made) == want
    assert made.block == (None if want[0] is None else 1_000_000 if "MP:" in usage else 1000)


def test_a_system_profile_in_the_resource_names_the_model_exactly() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"
    made = usage_line("Usage", "AmazonBedrock", None, "USE1-Claude4.5Haiku-input-tokens", arn, "1K tokens")
    assert made.model_id == f"us.{_HAIKU}"


def test_other_services_tax_and_credit_are_no_usage() -> None:
    assert usage_line("Usage", "AmazonEC2", None, "BoxUsage", None, "Hrs").status == "other_service"
    assert usage_line("Tax", "AmazonBedrock", None, "", None, None).status == "not_usage"
    assert usage_line("Credit", "AmazonBedrock", None, "", None, None).status == "not_usage"


@pytest.mark.parametrize(("name", "measure", "want", "block"), [
    ("gpt 4o 1120 Inp glbl Tokens", "1K", ("gpt-4o-2024-11-20", "uncached_input", "standard", "global"), 1000),
    ("gpt-4o-0806-Inp-glbl Tokens", "1K", ("gpt-4o-2024-08-06", "uncached_input", "standard", "global"), 1000),
    ("gpt 4o 1120 cached Inp glbl Tokens", "1K", ("gpt-4o-2024-11-20", "cache_read", "standard", "global"), 1000),
    ("gpt 4o mini 0718 Batch Outp glbl Tokens", "1K", ("gpt-4o-mini-2024-07-18", "output", "batch", "global"), 1000),
    ("GPT 5 Inpt Glbl 1M Tokens", "1M", ("gpt-5", "uncached_input", "standard", "global"), 1_000_000),
    ("5.4 opt Dz 1M Tokens", "1M", ("gpt-5.4", "output", "standard", "data_zone"), 1_000_000),
    ("5.5 ShortCo inp Gl 1M Tokens", "1M", ("gpt-5.5", "uncached_input", "standard", "global"), 1_000_000),
    ("5.4 cd inp PP Gl 1M Tokens", "1M", ("gpt-5.4", "cache_read", "priority", "global"), 1_000_000),
    ("Grok 4.1 Inp DZone Tokens", "1K", ("grok-4.1", "uncached_input", "standard", "data_zone"), 1000),
    ("gpt 9z 0101 Inp glbl Tokens", "1K", (None, None, "standard", "global"), None),
])
def test_azure_meters(name: str, measure: str, want: tuple[str | None, ...], block: int | None) -> None:
    made = meter("Foundry Models", "Azure OpenAI", name, measure, "Usage")
    assert _said(made) == want
    assert made.block == block


def test_the_measure_of_the_row_counts_and_not_the_meters_name() -> None:
    assert meter("Foundry Models", None, "GPT 5 Inpt Glbl 1M Tokens", "1K", "Usage").block == 1000


@pytest.mark.parametrize(("text", "model", "unit", "tier"), [
    ("Gemini 2.5 Flash GA Text Input - Predictions", "gemini-2.5-flash", "uncached_input", "standard"),
    ("Gemini 2.5 Flash Lite GA Text Input Caching - Predictions", "gemini-2.5-flash-lite", "cache_read", "standard"),
    ("Gemini 2.5 Flash GA Text Output (Thinking On) - Predictions", "gemini-2.5-flash", "output", "standard"),
    ("Gemini 2.5 Flash GA Thinking Text Output - Predictions", "gemini-2.5-flash", "output", "standard"),
    ("Gemini 2.5 Pro GA Audio Input - Batch Predictions", "gemini-2.5-pro", "audio_input", "batch"),
    ("Claude Opus 4.5 Output Tokens", "claude-opus-4-5", "output", "standard"),
])
def test_google_skus(text: str, model: str, unit: str, tier: str) -> None:
    made = sku("C7E2-9256-1C43", "Vertex AI", text, "regular")
    assert (made.model_id, made.unit, made.tier, made.status) == (model, unit, tier, "mapped")


def test_cache_storage_of_gemini_is_unmapped_and_other_vertex_services_are_none_of_ours() -> None:
    assert sku("C7E2-9256-1C43", "Vertex AI", "Gemini 2.5 Flash GA Cache Storage", "regular").status == "unmapped"
    assert sku("C7E2-9256-1C43", "Vertex AI", "Custom Training on N1", "regular").status == "other_service"


@pytest.mark.parametrize(("name", "want"), [
    ("Claude 3.5 Sonnet 2024-06-20", "claude-3-5-sonnet-20240620"), ("Claude 3 Opus", "claude-3-opus-20240229"),
    ("Claude Instant", "claude-instant-1.2"), ("Claude Opus 4.6", "claude-opus-4-6"),
    ("claude-opus-5", "claude-opus-5"), ("Wonder", None),
])
def test_claude_names_of_the_console(name: str, want: str | None) -> None:
    assert model_name(name) == want


def test_new_words_of_the_cost_report_stay_unmapped_with_their_money() -> None:
    assert cost_row("tokens", "claude-opus-5", "telepathy_tokens", "standard", None, None, None).status == "unmapped"
    assert cost_row("tokens", "claude-opus-5", "output_tokens", "warp", None, None, None).status == "unmapped"
    assert cost_row("web_search", None, None, None, None, None, None).unit == "web_search"
    fast = cost_row("tokens", "claude-opus-5", "output_tokens", "standard", None, "us", "fast")
    assert (fast.tier, fast.region) == ("fast", "us")
