"""What a FOCUS row is about: by its SkuPriceDetails where they say it, else by the meter and the provider's grammar."""

from __future__ import annotations

import json
from typing import Any

from costops.transforms.billing.grammar_azure import meter
from costops.transforms.billing.grammar_bedrock import is_bedrock, usage_line
from costops.transforms.billing.grammar_google import sku
from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE, Meaning, block_size, reviewed, unmapped

_CLOUDS = {"aws": "aws", "amazon web services": "aws", "microsoft": "azure", "azure": "azure", "google cloud": "gcp",
           "google": "gcp", "oracle": "oci", "openai": "openai", "anthropic": "anthropic"}


def focus_line(  # noqa: PLR0913, PLR0917  one argument for each column that may tell
        service: str | None, sku_meter: str | None, usage_type: str | None, service_code: str | None,
        category: str | None, details: str | None, measure: str | None, charge: str | None,
        about: str | None, host: str | None, service_category: str | None) -> Meaning:
    """What a FOCUS row is about; only rows of model services are read further."""
    provider = _CLOUDS.get((host or "").lower(), (host or "unknown").lower().replace(" ", "_"))
    if charge not in (None, "Usage"):
        return Meaning(NOT_USAGE, provider=provider)
    if (told := _details(details)) and (made := _from_details(told, provider, measure)):
        return made
    if is_bedrock(service_code, service, usage_type):
        return usage_line("Usage", service_code or "AmazonBedrock", service, usage_type, None, measure)
    name = (service or "").lower()
    if category or "azure openai" in name or "foundry" in name:
        made = meter(category or service, service, sku_meter, measure, "Usage")
        if made.status != OTHER_SERVICE:
            return made
    if "vertex" in name or "gemini" in name:
        made = sku(None, service, sku_meter or about, "regular")
        known = {row["sku_id"]: row["description"] for row in reviewed("gcp_skus")}
        if made.unit is None and about in known:
            made = sku(None, service, known[about], "regular")
        return unmapped(made.provider) if made.status == OTHER_SERVICE and not sku_meter else made
    generative = (service_category or "").lower() == "generative ai" or "token" in f"{sku_meter} {measure}".lower()
    return unmapped(provider) if generative else Meaning(OTHER_SERVICE, provider=provider)


def _details(text: str | None) -> dict[str, Any]:
    try:
        told = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return {key.removeprefix("x_"): value for key, value in told.items()} if isinstance(told, dict) else {}


def _from_details(told: dict[str, Any], provider: str, measure: str | None) -> Meaning | None:
    """By the keys of FOCUS 1.5's draft, with or without `x_`."""
    direction, action = str(told.get("TokenDirection") or ""), str(told.get("TokenCacheAction") or "")
    model = told.get("ModelId") or told.get("ModelVersion") or told.get("ModelFamily")
    if not direction or not model:
        return None
    ttl = str(told.get("CacheTtl") or "")
    unit = {
        ("Output", ""): "output", ("Input", ""): "uncached_input", ("Input", "Uncached"): "uncached_input",
        ("Input", "Read"): "cache_read", ("Input", "Write"): "cache_write_1h" if ttl == "1h" else "cache_write_5m",
    }.get((direction, action if direction == "Input" else ""))
    if unit is None:
        return unmapped(provider)
    return Meaning(MAPPED, str(model), unit, str(told.get("ServiceTier") or "standard"), told.get("InferenceScope"),
                   told.get("ContextTier"), provider, block_size(measure))
