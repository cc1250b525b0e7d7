"""The AWS Price List as a feed: the bulk offer files of Bedrock, per 1K or 1M tokens as each dimension says.

Three offers hold Bedrock's models: `AmazonBedrock`, `AmazonBedrockService` and, for models sold through the
Marketplace, `AmazonBedrockFoundationModels`, whose service name is the model's. Each SKU is one source Region.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from costops.transforms.billing.grammar_bedrock import PROVIDER, usage_line
from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE, Meaning
from costops.transforms.prices.entry import GLOBAL
from costops.transforms.prices.feeds.listing import UNMAPPED, Line, Listing, Reading, moment, opened

SOURCE = "aws.price_list"
OFFERS = ("AmazonBedrock", "AmazonBedrockService", "AmazonBedrockFoundationModels")
_OTHER_MODE = re.compile(r"latency|custom|reserved|guardrail|evaluation|rft", re.IGNORECASE)
_TIME = re.compile(r"hour|second|minute|month|model ?unit", re.IGNORECASE)


def read(pages: Iterable[bytes]) -> Listing:
    """The prices of offer files."""
    reading = Reading(SOURCE)
    for page in pages:
        offer = opened(page, SOURCE, "offerCode", "products", "terms")
        reading.published = max(reading.published, moment(offer.get("publicationDate")))
        for sku, terms in (offer["terms"].get("OnDemand") or {}).items():
            reading.skus += 1
            attributes = (offer["products"].get(sku) or {}).get("attributes") or {}
            for term in terms.values():
                _term(sku, str(offer["offerCode"]), attributes, term, reading)
        for _ in range(sum(len(terms) for terms in (offer["terms"].get("Reserved") or {}).values())):
            reading.leave("commitment")
    return reading.listing()


def _term(sku: str, offer: str, attributes: Mapping[str, Any], term: Mapping[str, Any], reading: Reading) -> None:
    usage, region = str(attributes.get("usagetype") or ""), attributes.get("regionCode")
    if region == "eu-west-1" and usage.startswith("EU-"):  # Ireland's old prefix has no number
        usage = "EUW1-" + usage.removeprefix("EU-")
    dimensions = list((term.get("priceDimensions") or {}).values())
    measure = str(dimensions[0].get("unit") or "") if dimensions else ""
    meaning = usage_line("Usage", offer, attributes.get("servicename"), usage, None, measure)
    reason = _reason(meaning, usage, measure, dimensions, attributes)
    price = _usd(dimensions[0]) if dimensions else None
    if reason is None and not price:
        reason = "no_price"
    if reason or price is None or meaning.model_id is None or meaning.unit is None or meaning.block is None:
        reading.leave(reason or UNMAPPED, usage)
        return
    model = meaning.model_id
    if meaning.region == GLOBAL and not model.startswith("global."):
        model = f"global.{model}"
    reading.lines.append(Line(
        sku, PROVIDER, model, meaning.unit, price, meaning.block, str(region) if region else None,
        meaning.tier or "standard", "long" if meaning.context == "long" else "", moment(term.get("effectiveDate")),
        text=usage))


def _reason(meaning: Meaning, usage: str, measure: str, dimensions: list[Any],
            attributes: Mapping[str, Any]) -> str | None:
    if _OTHER_MODE.search(usage) or "customization" in str(attributes.get("feature") or "").lower():
        return "other_mode"
    if meaning.status == NOT_USAGE or _TIME.search(measure):
        return "by_time"
    if meaning.status == OTHER_SERVICE:
        return "other_service"
    if meaning.status != MAPPED or not meaning.model_id or not meaning.unit or not meaning.block:
        return UNMAPPED
    return "tiered" if len(dimensions) != 1 else None


def _usd(dimension: Mapping[str, Any]) -> Decimal | None:
    """Dollars of one unit of the dimension; None where it has none (the price lists of China are in CNY)."""
    try:
        return Decimal(str((dimension.get("pricePerUnit") or {})["USD"])).normalize()
    except (KeyError, InvalidOperation):
        return None
