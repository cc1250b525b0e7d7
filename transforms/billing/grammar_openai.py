"""OpenAI line items: `[tier | ]model[ modality], kind[, long context]`, or the name of a tool."""

from __future__ import annotations

import re

from costops.transforms.billing.meaning import MAPPED, Meaning, unmapped

_TIERS = {"priority": "priority", "flex": "flex", "batch": "batch", "fast": "fast", "scale": "provisioned",
          "standard": "standard", "default": "standard"}
_KINDS = {
    "input": "uncached_input", "input tokens": "uncached_input", "input_tokens": "uncached_input",
    "cached input": "cache_read", "cached input tokens": "cache_read", "cached_input_tokens": "cache_read",
    "input_cached_tokens": "cache_read", "output": "output", "output tokens": "output", "output_tokens": "output",
    "cache writes": "cache_write_5m", "cache write": "cache_write_5m", "cache_write_tokens": "cache_write_5m",
    "cache writes 12h": "cache_write_12h", "training": "",
}
_MODAL = {
    ("audio", "uncached_input"): "audio_input", ("audio", "cache_read"): "audio_cache_read",
    ("audio", "output"): "audio_output", ("image", "uncached_input"): "image_input",
    ("image", "cache_read"): "image_cache_read", ("image", "output"): "image_output",
}
_BY_QUANTITY = {
    "duration_seconds": "audio_second", "duration_minutes": "audio_second", "duration_hours": "audio_second",
    "characters": "character", "images": "image",
}
_TOOLS = ((re.compile(r"web[ _]search"), "web_search"), (re.compile(r"code interpreter|container"), "code_session"))
_MODEL = re.compile(r"^[a-z0-9][a-z0-9.:_\-]*$", re.IGNORECASE)
BLOCKS = {"tokens": 1, "1000_tokens": 1000, "duration_seconds": 1, "duration_minutes": 60,
          "duration_hours": 3600, "images": 1, "characters": 1}
"""Single units in one unit of `quantity_unit`; another word is left as it is."""


def line_item(text: str | None, quantity_unit: str | None = None) -> Meaning:
    """What a line item is about; a text that does not fit keeps its money under `unmapped`."""
    if not text:
        return unmapped("openai")
    rest, tier = text.strip(), None
    if " | " in rest:
        head, rest = rest.split(" | ", 1)
        tier = _TIERS.get(head.strip().lower())
        if tier is None:
            return unmapped("openai")
    parts = [part.strip() for part in rest.split(",")]
    context = None
    if len(parts) > 1 and parts[-1].lower() in ("long context", "short context"):
        context = "long" if parts.pop().lower().startswith("long") else "standard"
    if len(parts) == 1:
        return _alone(parts[0], quantity_unit, tier)
    words = parts[0].split()
    modality = words[1].lower() if len(words) == 2 else None
    unit = _KINDS.get(parts[1].lower())
    if unit is None and parts[1].lower() in ("audio", "images", "image", "characters"):
        unit = _BY_QUANTITY.get(quantity_unit or "")
    if len(parts) != 2 or not unit or len(words) > 2 or not _MODEL.match(words[0]) \
            or modality not in (None, "audio", "image", "text"):
        return unmapped("openai", tier=tier)
    unit = _MODAL.get((modality or "", unit), unit)
    return Meaning(MAPPED, _model(words[0]), unit, tier, None, context, "openai", BLOCKS.get(quantity_unit or ""))


def _alone(name: str, quantity_unit: str | None, tier: str | None) -> Meaning:
    for pattern, unit in _TOOLS:
        if pattern.search(name.lower()):
            return Meaning(MAPPED, None, unit, tier, provider="openai", block=1)
    if "embedding" in name and _MODEL.match(name):
        return Meaning(MAPPED, name, "uncached_input", tier, provider="openai", block=BLOCKS.get(quantity_unit or ""))
    counted = _BY_QUANTITY.get(quantity_unit or "")
    if counted and _MODEL.match(name):
        return Meaning(MAPPED, name, counted, tier, provider="openai", block=BLOCKS[quantity_unit or ""])
    return unmapped("openai", tier=tier)


def _model(name: str) -> str:
    return "ft:" + name[3:] if name.startswith("ft-") else name
