"""Anthropic cost lines: structured fields at the API, words at the console; Claude names anywhere."""

from __future__ import annotations

import re

from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, Meaning, reviewed, unmapped

TOKEN_TYPES = {
    "uncached_input_tokens": "uncached_input", "output_tokens": "output", "cache_read_input_tokens": "cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    # the console's words
    "input_no_cache": "uncached_input", "input": "uncached_input", "output": "output",
    "input_cache_read": "cache_read", "input_cache_write": "cache_write_5m",
    "input_cache_write_5m": "cache_write_5m", "input_cache_write_1h": "cache_write_1h",
    "cache_read": "cache_read", "cache_write_5m": "cache_write_5m", "cache_write_1h": "cache_write_1h",
}
_COST_TYPES = {"web_search": "web_search", "code_execution": "code_session"}
_TIERS = {"standard": "standard", "batch": "batch", "priority": "priority", "priority_on_demand": "priority",
          "flex": "flex", "flex_discount": "flex"}
_DATED = re.compile(r"^(.*?)\s*\(?(\d{4})-?(\d{2})-?(\d{2})\)?$")
_FAMILY = r"(opus|sonnet|haiku|instant|fable|mythos)"
_CLAUDE = re.compile(rf"claude[ \-_]*(?:(\d+(?:\.\d+)?)[ \-_]*{_FAMILY}|{_FAMILY}[ \-_]*(\d+(?:\.\d+)?)?)",
                     re.IGNORECASE)


def cost_row(cost_type: str | None, model: str | None, token_type: str | None, tier: str | None,
             context: str | None, geo: str | None, speed: str | None) -> Meaning:
    """What a row of the cost report is about; new words of any field leave it `unmapped`, with its money."""
    if cost_type == "session_usage":
        return Meaning(NOT_USAGE, provider="anthropic")
    served = "fast" if speed == "fast" else _TIERS.get(tier or "standard")
    unit = _COST_TYPES.get(cost_type or "") or TOKEN_TYPES.get(token_type or "")
    if unit is None or served is None or (not model and unit not in _COST_TYPES.values()):
        return unmapped("anthropic", tier=served, region=region(geo))
    return Meaning(MAPPED, model or None, unit, served, region(geo), context_tier(context), "anthropic", 1)


def console_row(usage_type: str | None, model: str | None, token_type: str | None, context: str | None,
                geo: str | None, speed: str | None, cost_type: str | None) -> Meaning:
    """What a row of the console's CSV is about."""
    tier = "batch" if "batch" in (usage_type or "").lower() else "standard"
    kind = cost_type if cost_type in _COST_TYPES else "tokens"
    return cost_row(kind, model_name(model), token_type, tier, context, geo, speed)


def region(geo: str | None) -> str | None:
    """Where it is priced: an unavailable geography is priced as global."""
    return "global" if geo == "not_available" else geo or None


def context_tier(window: str | None) -> str | None:
    """`long` for the window above 200k."""
    if not window:
        return None
    return "long" if window.startswith(("200k", ">200k")) else "standard"


def model_name(name: str | None) -> str | None:
    """The model id of a console name; an id stays as it is, an unknown name gives None."""
    if not name:
        return None
    text = name.strip().lower()
    if re.fullmatch(r"claude[a-z0-9.\-]*", text):
        return text
    known = {row["name"]: row["model_id"] for row in reviewed("anthropic_models")}
    if text in known:
        return known[text]
    found = _DATED.match(text)
    if found and (base := _plain(found[1])):
        return f"{base}-{found[2]}{found[3]}{found[4]}"
    return _plain(text)


def claude_key(name: str) -> str | None:
    """`claude-haiku-4.5` of `Claude4.5Haiku`, `Claude Haiku 4.5` ...; with `-v2` where the name says so."""
    found = _CLAUDE.search(name)
    if not found:
        bare = re.search(r"claude[ \-_v]*(\d+(?:\.\d+)?)?", name, re.IGNORECASE)
        return (f"claude-{bare[1]}" if bare[1] else "claude-2") if bare else None
    version, family = found[1] or found[4], (found[2] or found[3]).lower()
    second = "-v2" if re.search(r"(?<![a-z])v2(?![0-9])|sonnetv2", name, re.IGNORECASE) else ""
    return f"claude-{family}" + (f"-{version}" if version else "") + second


def _plain(text: str) -> str | None:
    found = _CLAUDE.fullmatch(text.strip())
    if not found:
        return None
    version, family = (found[1] or found[4] or "").replace(".", "-"), (found[2] or found[3]).lower()
    if not version:
        return None
    return f"claude-{version}-{family}" if found[1] else f"claude-{family}-{version}"
