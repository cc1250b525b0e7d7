"""Azure Retail Prices as a feed: the meters of Foundry models, per 1K or 1M tokens as each meter says.

A meter tells model, unit, deployment type and tier in its name, as on the bill. Regional deployments cannot be told
apart from Global ones by usage, so their meters are left out; a Data Zone is told by the source's `region`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from costops.transforms.billing.grammar_azure import meter
from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE
from costops.transforms.prices.entry import NEVER
from costops.transforms.prices.feeds.listing import UNMAPPED, Line, Listing, Reading, in_dollars, moment, opened

SOURCE = "azure.retail_prices"
SERVICES = ("Foundry Models", "Cognitive Services")
_ZONES = {"us": ("eastus", "westus", "centralus", "northcentralus", "southcentralus", "westcentralus"),
          "eu": ("westeurope", "northeurope", "swedencentral", "francecentral", "germanywestcentral", "italynorth",
                 "polandcentral", "spaincentral")}


def read(pages: Iterable[bytes]) -> Listing:
    """The prices of saved or pulled pages."""
    reading, seen = Reading(SOURCE), set[tuple[Any, ...]]()
    for page in pages:
        told = opened(page, SOURCE, "Items")
        for item in told["Items"]:
            reading.skus += 1
            _item(item, reading, seen)
    return reading.listing()


def _item(item: Mapping[str, Any], reading: Reading, seen: set[tuple[Any, ...]]) -> None:
    in_dollars(item.get("currencyCode"), SOURCE)
    name, measure = str(item.get("meterName") or ""), str(item.get("unitOfMeasure") or "")
    meaning = meter(item.get("serviceName"), item.get("productName"), name, measure, "Usage")
    price = Decimal(str(item.get("retailPrice") or 0))
    zone = _zone(str(item.get("armRegionName") or ""))
    reason = None
    if item.get("type") != "Consumption":
        reason = "commitment"
    elif "hour" in measure.lower() or (meaning.status == NOT_USAGE):
        reason = "by_time"
    elif meaning.status == OTHER_SERVICE:
        reason = "other_service"
    elif meaning.status != MAPPED or meaning.model_id is None or meaning.unit is None or not meaning.block:
        reason = UNMAPPED
    elif meaning.region == "regional" or (meaning.region == "data_zone" and zone is None):
        reason = "regional_deployment"
    elif Decimal(str(item.get("tierMinimumUnits") or 0)):
        reason = "tiered"
    elif price <= 0:
        reason = "no_price"
    if reason or meaning.model_id is None or meaning.unit is None or meaning.block is None:
        reading.leave(reason or UNMAPPED, name)
        return
    start = moment(item.get("effectiveStartDate"))
    reading.published = max(reading.published, start)
    line = Line(str(item.get("meterId")), str(meaning.provider), meaning.model_id, meaning.unit, price, meaning.block,
                zone if meaning.region == "data_zone" else None, meaning.tier or "standard",
                "long" if meaning.context == "long" else "", start,
                moment(item["effectiveEndDate"]) if item.get("effectiveEndDate") else NEVER, name)
    spot = (line.provider, line.model_id, line.unit, line.price_usd, line.per, line.region, line.service_tier,
            line.context, line.valid_from)
    if spot not in seen:  # a Global meter is listed once for each region
        seen.add(spot)
        reading.lines.append(line)


def _zone(region: str) -> str | None:
    """The Data Zone of an Azure region."""
    return next((zone for zone, names in _ZONES.items() if region.rstrip("23").lower() in names), None)
