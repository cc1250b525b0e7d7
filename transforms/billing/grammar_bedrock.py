"""Bedrock usage types, in three grammars, and the model that they name.

    USE1-NovaLite-cache-read-input-token-count[-1-hour][-batch|-flex|-priority][-cross-region-global]   per 1K
    USE1-openai.gpt-oss-120b-mantle-input-tokens[-global]-standard                                       per 1K
    USE1-MP:USE1_InputTokenCount[_Global]-Units, USE1-MP:USE1_input_tokens_global_standard-Units         per 1M
"""

from __future__ import annotations

import re

from costops.transforms.billing.grammar_anthropic import claude_key
from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE, Meaning, block_size, reviewed, unmapped

PROVIDER = "aws.bedrock"
_REGIONS = {
    "USE1": "us-east-1", "USE2": "us-east-2", "USW1": "us-west-1", "USW2": "us-west-2", "EUW1": "eu-west-1",
    "EUW2": "eu-west-2", "EUW3": "eu-west-3", "EUC1": "eu-central-1", "EUC2": "eu-central-2",
    "EUN1": "eu-north-1", "EUS1": "eu-south-1", "EUS2": "eu-south-2", "APN1": "ap-northeast-1",
    "APN2": "ap-northeast-2", "APN3": "ap-northeast-3", "APS1": "ap-southeast-1", "APS2": "ap-southeast-2",
    "APS3": "ap-south-1", "CAN1": "ca-central-1", "SAE1": "sa-east-1", "UGW1": "us-gov-west-1",
    "UGE1": "us-gov-east-1",
}
_PREFIX = re.compile(r"^([A-Z]{2,4}[0-9])-(.*)$")
_KIND = re.compile(
    r"^(?P<model>.+?)-(?P<kind>cache-read-input-tokens?(?:-count)?|cache-write(?P<hour>-1h)?-input-tokens?(?:-count)?"
    r"|cache-read-tokens?(?:-count)?|cache-write(?P<hour2>-1h)?-tokens?(?:-count)?|input-tokens?(?:-count)?"
    r"|output-tokens?(?:-count)?)(?P<rest>(?:-[A-Za-z0-9.]+)*)$", re.IGNORECASE)
_MANTLE = re.compile(r"^(?P<model>.+?)-mantle-(?P<kind>input|output|cache-read|cache-write)(?P<hour>-1h)?-tokens"
                     r"(?P<rest>(?:-[a-z0-9]+)*)$", re.IGNORECASE)
_MARKET = re.compile(r"^MP:(?:[A-Z]{2,4}[0-9]_)?(?P<kind>.+?)-Units$", re.IGNORECASE)
_PROFILE = re.compile(r":(?:inference-profile|foundation-model)/([a-z0-9.\-]+(?:[:][0-9]+)?)$")
_TIERS = {"batch": "batch", "flex": "flex", "priority": "priority", "standard": "standard"}
_KNOWN_REST = {"cross", "region", "global", "latency", "optimized", "1", "hour", "1h", "long", "context", "count",
               *_TIERS}
_SERVICES = ("bedrock",)
_FAMILIES = re.compile(r"bedrock edition|^claude|llama|mistral|nova|titan|cohere|jurassic|jamba|stable", re.IGNORECASE)
_NO_USAGE = {"Tax", "Credit", "Refund", "Fee", "RIFee", "SavingsPlanRecurringFee", "SavingsPlanUpfrontFee",
             "SavingsPlanNegation", "BundledDiscount", "EdpDiscount", "PrivateRateDiscount"}


def is_bedrock(product_code: str | None, product_name: str | None, usage_type: str | None) -> bool:
    """Whether a bill line is a model service at all; Marketplace lines tell only by product name or usage type."""
    texts = ((product_code or "").lower(), (product_name or "").lower())
    if any(word in text for word in _SERVICES for text in texts):
        return True
    token = re.search(r"tokens?(?:count)?", usage_type or "", re.IGNORECASE) and "MP:" in (usage_type or "")
    return bool(token)


def usage_line(line_type: str | None, product_code: str | None, product_name: str | None, usage_type: str | None,
               resource: str | None, measure: str | None) -> Meaning:
    """What a line of a Cost and Usage Report is about; what is no model service says so."""
    if not is_bedrock(product_code, product_name, usage_type):
        return Meaning(NOT_USAGE if line_type in _NO_USAGE else OTHER_SERVICE, provider="aws")
    if line_type in _NO_USAGE:
        return Meaning(NOT_USAGE, provider=PROVIDER)
    text = usage_type or ""
    found = _PREFIX.match(text)
    region, rest = (_REGIONS.get(found[1], found[1].lower()), found[2]) if found else (None, text)
    made = _market(rest, product_name, region) or _mantle(rest, region) or _direct(rest, region)
    if made is None:
        if re.search(r"provisioned|ModelUnit", text, re.IGNORECASE):
            return Meaning(NOT_USAGE, tier="provisioned", region=region, provider=PROVIDER)
        return unmapped(PROVIDER, region=region)
    profile = _PROFILE.search(resource or "")
    model = profile[1] if profile and made.unit and made.model_id is not None else made.model_id
    if model is None:
        return unmapped(PROVIDER, tier=made.tier, region=made.region)
    block = block_size(measure) if measure and measure.strip() not in ("N/A", "Units", "Unit") else made.block
    return Meaning(MAPPED, model, made.unit, made.tier, made.region, made.context, PROVIDER, block)


def _unit(kind: str, *, hour: bool) -> str | None:
    word = kind.lower().replace("_", "").replace("-", "")
    if "cacheread" in word:
        return "cache_read"
    if "cachewrite" in word:
        return "cache_write_1h" if hour or "1h" in word else "cache_write_5m"
    if "output" in word:
        return "output"
    return "uncached_input" if "input" in word else None


def _tier(words: list[str]) -> str:
    return next((_TIERS[word] for word in words if word in _TIERS), "standard")


def _direct(rest: str, region: str | None) -> Meaning | None:
    found = _KIND.match(rest)
    if not found:
        return None
    words = [word for word in found["rest"].lower().split("-") if word]
    if set(words) - _KNOWN_REST:
        return None
    hour = bool(found["hour"] or found["hour2"]) or "1h" in words or "hour" in words
    scope = "global" if "global" in words else None
    name = re.sub(r"-(long-context|latency-optimized|custom-model)$", "", found["model"])
    context = "long" if "long" in words or (name != found["model"] and "long" in found["model"]) else None
    return Meaning(MAPPED, model_id(name, scope), _unit(found["kind"], hour=hour), _tier(words),
                   "global" if scope else region, context, PROVIDER, 1000)


def _mantle(rest: str, region: str | None) -> Meaning | None:
    found = _MANTLE.match(rest)
    if not found:
        return None
    words = [word for word in found["rest"].lower().split("-") if word]
    scope = "global" if "global" in words else None
    name = model_id(found["model"], scope) or (found["model"] if "." in found["model"] else None)
    return Meaning(MAPPED, name, _unit(found["kind"], hour=bool(found["hour"])), _tier(words),
                   "global" if scope else region, None, PROVIDER, 1000)


def _market(rest: str, product_name: str | None, region: str | None) -> Meaning | None:
    found = _MARKET.match(rest)
    if not found:
        return None
    kind = found["kind"].lower()
    unit = _unit(kind, hour="1h" in kind)
    if unit is None or "token" not in kind:
        return None
    scope = "global" if "global" in kind else None
    tier = next((name for word, name in _TIERS.items() if word in kind), "standard")
    return Meaning(MAPPED, model_id(product_name or "", scope), unit, tier, "global" if scope else region,
                   "long" if "long" in kind else None, PROVIDER, 1_000_000)


def model_id(name: str, scope: str | None) -> str | None:
    """The model id of a marketing name, with the `global.` profile where the line is priced so."""
    claude = claude_key(name) if "claude" in name.lower() else None
    key = claude or re.sub(r"[^a-z0-9]", "", name.lower().replace("(amazon bedrock edition)", "")
                           .replace("instruct", ""))
    found = {row["name"]: row["model_id"] for row in reviewed("bedrock_models")}.get(key)
    return f"{scope}.{found}" if found and scope else found
