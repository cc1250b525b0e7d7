"""SKU descriptions of Gemini (and Claude) on Vertex AI and the Gemini API: everything is in the text."""

from __future__ import annotations

import re

from costops.transforms.billing.grammar_anthropic import claude_key
from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE, Meaning, unmapped

VERTEX = "C7E2-9256-1C43"
_MODEL = re.compile(
    r"Gemini\s+(?P<version>\d+(?:\.\d+)?)\s+(?P<family>Flash[ -]Lite|Flash|Pro|Ultra)(?P<suffix>\s+8B)?\b",
    re.IGNORECASE)
_EMBEDDING = re.compile(r"Gemini Embedding(?:\s+(\d+))?", re.IGNORECASE)
_MODES = ("audio", "video", "image", "text", "document")
_INPUT = {"audio": "audio_input", "video": "video_input", "image": "image_input"}
_READ = {"audio": "audio_cache_read", "image": "image_cache_read"}
_OUTPUT = {"audio": "audio_output", "image": "image_output"}


def sku(service_id: str | None, service: str | None, description: str | None, cost_type: str | None) -> Meaning:
    """What a row of the billing export is about."""
    name = (service or "").lower()
    gemini = name in ("gemini api", "generative language api")
    model_service = service_id == VERTEX or gemini or name == "vertex ai"
    provider = "gcp.gemini" if gemini else "gcp.vertex_ai" if model_service else "gcp"
    if cost_type in ("tax", "rounding_error"):
        return Meaning(NOT_USAGE, provider=provider)
    if not model_service:
        return Meaning(OTHER_SERVICE, provider=provider)
    return _described(description or "", provider)


def _described(text: str, provider: str) -> Meaning:
    low = text.lower()
    if "grounding" in low and "search" in low:
        return Meaning(MAPPED, None, "web_search", "standard", provider=provider, block=1)
    model, unit = model_of(text), unit_of(low)
    tier = next((word for word in ("batch", "priority", "flex") if re.search(rf"\b{word}\b", low)), "standard")
    if "provisioned" in low:
        return Meaning(NOT_USAGE, tier="provisioned", provider=provider)
    if model is None and "gemini" not in low and "claude" not in low:
        return Meaning(OTHER_SERVICE, provider=provider)
    if model is None or unit is None:
        return unmapped(provider, tier=tier)
    context = "long" if re.search(r"\blong\b|>\s?200k", low) else None
    region = "global" if re.search(r"\bglobal\b", low) else None
    return Meaning(MAPPED, model, unit, tier, region, context, provider, 1)


def model_of(text: str) -> str | None:
    """`gemini-2.5-flash-lite` of a description; Lite is matched before Flash."""
    if found := _EMBEDDING.search(text):
        return f"gemini-embedding-{int(found[1]):03d}" if found[1] and found[1].startswith("0") \
            else f"gemini-embedding-{found[1] or '001'}"
    if found := _MODEL.search(text):
        family = found["family"].lower().replace(" ", "-")
        after = text[found.end():].lower()
        kind = "-image" if re.match(r"\s+image\s+(?!input|output)", after) else "-tts" if " tts" in after else ""
        return f"gemini-{found['version']}-{family}{(found['suffix'] or '').strip().lower() and '-8b'}{kind}"
    if "claude" in text.lower() and (key := claude_key(text)):
        return key.replace(".", "-")
    return None


def unit_of(low: str) -> str | None:
    """The unit of a description in lower case; thinking is output, priced under a SKU of its own."""
    if "storage" in low:
        return None
    mode = next((word for word in _MODES if re.search(rf"\b{word}\b", low)), "text")
    cached = re.search(r"\bcach(?:ing|ed|e)\b", low) is not None
    if "output" in low:
        return _OUTPUT.get(mode, "output")
    if "input" not in low and not cached:
        return None
    if cached and "write" in low:
        return "cache_write_1h" if "1h" in low or "1 hour" in low else "cache_write_5m"
    return _READ.get(mode, "cache_read") if cached else _INPUT.get(mode, "uncached_input")
