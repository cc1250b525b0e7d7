"""Google's Cloud Billing Catalog as a feed: SKUs of Vertex AI and the Gemini API, per usage unit as each SKU says.

A price is `units + nanos * 10^-9` for one usage unit. Where a model has SKUs marked GA, those without are of its
preview, at a price that no longer holds, and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from costops.transforms.billing.grammar_google import sku as understood
from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE, Meaning, block_size
from costops.transforms.prices.feeds.listing import UNMAPPED, Line, Listing, Reading, in_dollars, moment, opened

SOURCE = "gcp.catalog"
SERVICES = ("C7E2-9256-1C43", "AEFD-7695-64FA")
"""Vertex AI and the Gemini API."""

_TIME = frozenset({"h", "s", "min", "mo", "d"})
_GA = re.compile(r"\bGA\b")


def read(pages: Iterable[bytes]) -> Listing:
    """The prices of saved or pulled pages."""
    reading = Reading(SOURCE)
    for page in pages:
        for one in opened(page, SOURCE, "skus")["skus"]:
            reading.skus += 1
            _sku(one, reading)
    released = {(line.provider, line.model_id) for line in reading.lines if _GA.search(line.text)}
    kept = [line for line in reading.lines
            if _GA.search(line.text) or (line.provider, line.model_id) not in released]
    for _ in range(len(reading.lines) - len(kept)):
        reading.leave("preview")
    reading.lines = kept
    return reading.listing()


def _sku(one: Mapping[str, Any], reading: Reading) -> None:
    text, category = str(one.get("description") or ""), one.get("category") or {}
    service = str(one.get("name") or "").partition("/skus/")[0].removeprefix("services/")
    meaning = understood(service, category.get("serviceDisplayName"), text, None)
    reason = _reason(meaning, text, category)
    if reason:
        reading.leave(reason, text)
        return
    regions = one.get("serviceRegions") or []
    anywhere = (one.get("geoTaxonomy") or {}).get("type") == "GLOBAL" or regions in ([], ["global"])
    for version in one.get("pricingInfo") or ():
        priced = _price(version.get("pricingExpression") or {})
        if isinstance(priced, str):
            reading.leave(priced, text)
            continue
        start = moment(version.get("effectiveTime"))
        reading.published = max(reading.published, start)
        reading.lines.append(Line(
            str(one.get("skuId")), str(meaning.provider), str(meaning.model_id), str(meaning.unit), *priced,
            region=None if anywhere else str(regions[0]), service_tier=meaning.tier or "standard",
            context="long" if meaning.context == "long" else "", valid_from=start, text=text))


def _reason(meaning: Meaning, text: str, category: Mapping[str, Any]) -> str | None:
    if category.get("usageType", "OnDemand") != "OnDemand":
        return "commitment"
    if meaning.status == NOT_USAGE or "storage" in text.lower():
        return "by_time"
    if meaning.status == OTHER_SERVICE:
        return "other_service"
    return None if meaning.status == MAPPED and meaning.model_id and meaning.unit else UNMAPPED


def _price(told: Mapping[str, Any]) -> tuple[Decimal, int] | str:
    """Dollars and the number of units that they are for, or why not. A free first range is a pool, not a price."""
    unit = str(told.get("usageUnit") or "")
    if unit.rsplit(".", maxsplit=1)[-1] in _TIME or unit.rsplit("/", maxsplit=1)[-1] in _TIME:
        return "by_time"
    rates = [rate for rate in told.get("tieredRates") or () if _usd(rate)]
    if not rates:
        return "no_price"
    if len({_usd(rate) for rate in rates}) > 1:
        return "tiered"
    return _usd(rates[0]), block_size(unit) or 1


def _usd(rate: Mapping[str, Any]) -> Decimal:
    price = rate.get("unitPrice") or {}
    in_dollars(price.get("currencyCode"), SOURCE)
    return Decimal(str(price.get("units") or 0)) + Decimal(int(price.get("nanos") or 0)).scaleb(-9)
