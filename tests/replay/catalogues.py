"""The price catalogues of the clouds, as the replay server answers for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.replay.server import Provider, Query

_FIRST_METERS: tuple[tuple[str, str, float], ...] = (
    ("gpt 4o 1120 Inp glbl Tokens", "1K", 0.0025), ("gpt 4o 1120 cached Inp glbl Tokens", "1K", 0.00125),
    ("gpt 4o 1120 Outp glbl Tokens", "1K", 0.01), ("GPT 5 Inpt Glbl 1M Tokens", "1M", 1.25),
    ("GPT 5 outpt Glbl 1M Tokens", "1M", 10.0),
)
_METERS: tuple[tuple[str, str, float, str, str], ...] = (
    # meter, measure, price, type, region
    ("5.4 ShortCo inp Gl 1M Tokens", "1M", 2.5, "Consumption", "eastus"),
    ("5.4 ShortCo inp Gl 1M Tokens", "1M", 2.5, "Consumption", "westeurope"),
    ("5.4 LongCo inp Gl 1M Tokens", "1M", 5.0, "Consumption", "eastus"),
    ("5.4 ShortCo inp Dz 1M Tokens", "1M", 3.0, "Consumption", "swedencentral"),
    ("5.4 ShortCo pp inp Gl 1M Tokens", "1M", 4.75, "Consumption", "eastus"),
    ("GPT 5 Inpt regn 1M Tokens", "1M", 1.375, "Consumption", "eastus"),
    ("GPT 5 Provisioned Managed Global Unit", "1 Hour", 1.0, "Consumption", "eastus"),
    ("GPT 5 outpt Glbl 1M Tokens", "1M", 9.0, "Reservation", "eastus"),
    ("Wonder 9 Inp glbl Tokens", "1K", 0.1, "Consumption", "eastus"),
    ("Speech To Text Hours", "1 Hour", 1.0, "Consumption", "eastus"),
)


def catalogue_page(provider: Provider, path: str, query: Query, origin: str) -> tuple[int, Any]:
    """Azure's retail prices, Google's SKUs, or an AWS offer file."""
    if path.startswith("/offers/"):
        return 200, aws_offer(path.split("/")[4], provider)
    if path.endswith("/skus"):
        service = path.split("/")[3]
        if service != "C7E2-9256-1C43":
            return 200, {"skus": [], "nextPageToken": ""}
        if dict(query).get("pageToken"):
            return 200, {"skus": [google_sku(*one) for one in _SKUS], "nextPageToken": ""}
        return 200, google_page("second")
    if "Foundry" not in dict(query).get("$filter", ""):
        return 200, azure_page([])
    if "$skip" in dict(query):
        return 200, azure_page([
            azure_item(name, measure, price * provider.price_factor, kind, region, since="2026-10-01T00:00:00Z")
            for name, measure, price, kind, region in _METERS])
    host = "http://198.51.100.7:9" if provider.foreign else origin
    return 200, azure_page(link=f"{host}{path}?$filter=serviceName%20eq%20'Foundry%20Models'&$skip=100")


def azure_item(name: str, measure: str, price: float, kind: str = "Consumption", region: str = "eastus", *,
               since: str = "2025-04-01T00:00:00Z") -> dict[str, Any]:
    """A meter as Azure's retail prices tell it."""
    return {"currencyCode": "USD", "tierMinimumUnits": 0.0, "retailPrice": price, "unitPrice": price,
            "armRegionName": region, "effectiveStartDate": since, "meterId": f"{name}/{region}", "meterName": name,
            "productName": "Azure OpenAI", "skuName": name.removesuffix(" Tokens"), "serviceName": "Foundry Models",
            "unitOfMeasure": measure, "type": kind, "isPrimaryMeterRegion": True, "armSkuName": ""}


def azure_page(items: list[dict[str, Any]] | None = None, *, link: str | None = None) -> dict[str, Any]:
    """A page of Azure's retail prices; without items the first one."""
    held = [azure_item(*one) for one in _FIRST_METERS] if items is None else items
    return {"BillingCurrency": "USD", "Items": held, "NextPageLink": link, "Count": len(held)}


def google_page(token: str = "") -> dict[str, Any]:
    """The first page of Google's SKUs."""
    return {"skus": [google_sku("FDAB-647C-5A22", "Gemini 2.5 Flash GA Text Input - Predictions", "count", 300, "OnDemand"),
                     google_sku("CD33-11F4-1220", "Gemini 2.5 Flash GA Thinking Text Output - Predictions", "count", 2500,
                                "OnDemand")], "nextPageToken": token}


_SKUS = (
    ("EX-1", "Gemini 2.5 Flash GA Text Input - Batch Predictions", "count", 150, "OnDemand"),
    ("EX-2", "Gemini 2.5 Flash Text Input - Predictions", "count", 150, "OnDemand"),
    ("EX-3", "Gemini 2.5 Pro GA Long Text Input - Predictions", "count", 2500, "OnDemand"),
    ("EX-4", "Gemini 2.5 Pro GA Text Input - Predictions", "count", 1250, "OnDemand"),
    ("EX-5", "Gemini 2.5 Pro GA Caching Storage", "count.h", 4500, "OnDemand"),
    ("EX-6", "Gemini 2.5 Flash Provisioned Throughput", "h", 2_000_000, "Commit1Mo"),
    ("EX-7", "Custom model training", "h", 2_000_000, "OnDemand"),
    ("EX-8", "Gemini 9 Dream Tokens", "count", 2_000_000, "OnDemand"),
)


def google_sku(number: str, text: str, unit: str, nanos: int, kind: str) -> dict[str, Any]:
    """A SKU of Vertex AI."""
    return {"name": f"services/C7E2-9256-1C43/skus/{number}", "skuId": number, "description": text,
            "category": {"serviceDisplayName": "Vertex AI", "usageType": kind}, "serviceRegions": ["global"],
            "pricingInfo": [{"effectiveTime": "2026-09-14T07:00:00Z", "pricingExpression": {
                "usageUnit": unit, "tieredRates": [{"startUsageAmount": 0, "unitPrice": {
                    "currencyCode": "USD", "units": "0", "nanos": nanos}}]}}],
            "geoTaxonomy": {"type": "GLOBAL", "regions": []}}


_OFFERS: dict[str, tuple[tuple[str, str, str, str, str], ...]] = {
    # SKU, usage type, service name, unit, dollars
    "AmazonBedrock": (
        ("A1", "USE1-NovaLite-input-tokens", "Amazon Bedrock", "1K tokens", "0.0000600000"),
        ("A2", "USE1-NovaLite-output-tokens", "Amazon Bedrock", "1K tokens", "0.0002400000"),
        ("A3", "USE1-NovaLite-input-tokens-batch", "Amazon Bedrock", "1K tokens", "0.0000300000"),
        ("A4", "USE1-NovaPro-output-tokens-latency-optimized", "Amazon Bedrock", "1K tokens", "0.0040000000"),
        ("A5", "USE1-NovaMicro-ProvisionedThroughput-ModelUnits", "Amazon Bedrock", "hour", "20.0000000000"),
        ("A6", "EU-NovaLite-input-tokens", "Amazon Bedrock", "1K tokens", "0.0000780000"),
        ("A7", "USE1-Dream9-input-tokens", "Amazon Bedrock", "1K tokens", "0.1"),
    ),
    "AmazonBedrockService": (
        ("S1", "USE1-Claude4.5Sonnet-input-tokens-cross-region-global", "Amazon Bedrock Service", "1K tokens", "0.003"),
        ("S2", "USE1-Claude4.5Sonnet-input-tokens", "Amazon Bedrock Service", "1K tokens", "0.0033"),
    ),
    "AmazonBedrockFoundationModels": (
        ("F1", "USE1-MP:USE1_OutputTokenCount_Global-Units", "Claude Haiku 4.5 (Amazon Bedrock Edition)", "1M tokens",
         "5.0000000000"),
        ("F2", "USE1-MP:USE1_OutputTokenCount-Units", "Claude Haiku 4.5 (Amazon Bedrock Edition)", "1M tokens",
         "5.5000000000"),
    ),
}


def aws_offer(offer: str, provider: Provider) -> dict[str, Any]:
    """An offer file with one term and one dimension for each SKU."""
    products, terms = {}, {}
    for sku, usage, service, unit, usd in _OFFERS[offer]:
        region = "eu-west-1" if usage.startswith("EU-") else "us-east-1"
        products[sku] = {"sku": sku, "attributes": {"usagetype": usage, "regionCode": region, "servicename": service}}
        terms[sku] = {f"{sku}.T": {"sku": sku, "effectiveDate": "2026-10-01T00:00:00Z", "priceDimensions": {
            f"{sku}.T.R": {"unit": unit, "beginRange": "0", "endRange": "Inf", "pricePerUnit": {"USD": usd}}}}}
    gone = sorted(products)[:provider.lost_skus]
    return {"formatVersion": "v1.0", "offerCode": offer, "publicationDate": provider.published,
            "products": {sku: one for sku, one in products.items() if sku not in gone},
            "terms": {"OnDemand": {sku: one for sku, one in terms.items() if sku not in gone}}}
