"""Meter names of Azure OpenAI and Foundry models: free text, read word by word; the unit is the row's measure."""

from __future__ import annotations

import re

from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE, Meaning, block_size, reviewed, unmapped

PROVIDER = "azure.ai.openai"
_CATEGORIES = ("foundry models", "cognitive services", "azure openai", "azure ai services", "azure ai foundry models",
               "azure openai service", "ai services")
_INPUT = {"inp", "inpt", "input", "in", "prompt"}
_OUTPUT = {"outp", "outpt", "opt", "output", "out", "completion"}
_CACHED = {"cached", "cchd", "cd", "cache", "cchinp"}
_WRITE = {"wr", "write", "writes"}
_SCOPE = {"glbl": "global", "gl": "global", "global": "global", "dz": "data_zone", "dzone": "data_zone",
          "dzn": "data_zone", "datazone": "data_zone", "regn": "regional", "rgnl": "regional", "rg": "regional",
          "regnl": "regional", "regional": "regional"}
_TIER = {"batch": "batch", "btch": "batch", "pp": "priority", "prty": "priority", "priority": "priority",
         "flex": "flex"}
_CONTEXT = {"shortco": "standard", "short": "standard", "longco": "long", "long": "long"}
_MODE = {"aud": "audio", "audio": "audio", "img": "image", "image": "image", "txt": "text", "text": "text"}
_NOISE = {"tokens", "token", "1m", "1k", "azure", "openai", "az", "-"}
_VERSION = re.compile(r"^\d{4}$")
_MODEL = re.compile(r"^(gpt|o\d|grok|llama|mistral|deepseek|phi|text embedding|embedding|codex|model router)\b")
_BARE = re.compile(r"^\d(\.\d+)?(\s|$)")
_MODAL = {("audio", "uncached_input"): "audio_input", ("audio", "cache_read"): "audio_cache_read",
          ("audio", "output"): "audio_output", ("image", "uncached_input"): "image_input",
          ("image", "cache_read"): "image_cache_read", ("image", "output"): "image_output"}


def meter(category: str | None, subcategory: str | None, name: str | None, measure: str | None,
          charge_type: str | None) -> Meaning:
    """What a row of a cost export is about."""
    groups = {(category or "").lower(), (subcategory or "").lower()}
    if not any(group.startswith(_CATEGORIES) for group in groups if group):
        return Meaning(OTHER_SERVICE if charge_type in (None, "Usage") else NOT_USAGE, provider="azure")
    text = (name or "").lower()
    if re.search(r"provisioned|\bptu\b", text + " " + (subcategory or "").lower()):
        return Meaning(NOT_USAGE, tier="provisioned", provider=PROVIDER)
    if charge_type not in (None, "Usage"):
        return Meaning(NOT_USAGE, provider=PROVIDER)
    if "token" not in text:
        return Meaning(OTHER_SERVICE if "openai" not in " ".join(groups) else "unmapped", provider=PROVIDER)
    return _tokens(text, measure)


def _tokens(text: str, measure: str | None) -> Meaning:
    words = [word for word in re.split(r"[\s\-_/]+", text) if word and word not in _NOISE]
    if "text" in words and "embedding" in words:
        words = ["text embedding" if word == "embedding" else word for word in words if word != "text"]
    scope = next((_SCOPE[word] for word in words if word in _SCOPE), "regional")
    tier = next((_TIER[word] for word in words if word in _TIER), "standard")
    context = next((_CONTEXT[word] for word in words if word in _CONTEXT), None)
    mode = next((_MODE[word] for word in words if word in _MODE), None)
    cached, write = bool(_CACHED & set(words)), bool(_WRITE & set(words))
    spent = {*_SCOPE, *_TIER, *_CONTEXT, *_MODE, *_CACHED, *_WRITE, *_INPUT, *_OUTPUT}
    model = model_of(" ".join(word for word in words if word not in spent))
    if _OUTPUT & set(words):
        unit = "output"
    elif write:
        unit = "cache_write_5m"
    elif cached:
        unit = "cache_read"
    elif _INPUT & set(words) or (model and "embedding" in model):
        unit = "uncached_input"
    else:
        return unmapped(PROVIDER, tier=tier, region=scope)
    if model is None:
        return unmapped(PROVIDER, tier=tier, region=scope)
    unit = _MODAL.get((mode or "", unit), unit)
    return Meaning(MAPPED, model, unit, tier, scope, context, PROVIDER, block_size(measure))


def model_of(name: str) -> str | None:
    """The model of a meter's remaining words: reviewed names first, then `gpt 5`, `5.4` (a GPT), `o3 0416` ..."""
    known = {row["name"]: row["model_id"] for row in reviewed("azure_models")}
    if name in known:
        return known[name]
    if _BARE.match(name):
        return model_of(f"gpt {name}") or "gpt-" + name.replace(" ", "-")
    words = name.split()
    if not words or not _MODEL.match(name) or (_VERSION.match(words[-1]) and len(words) > 1):
        return None
    return name.replace(" ", "-")
