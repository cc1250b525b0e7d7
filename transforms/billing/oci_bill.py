"""Oracle's own cost report, read by the `focus` kind: its 33 columns as FOCUS columns."""

from __future__ import annotations

import polars as pl

from costops.transforms.billing.bill import Batch, Input, Options
from costops.transforms.billing.meaning import OTHER_SERVICE, Meaning, understand, unmapped
from costops.transforms.billing.rows import MEANINGS, Place, billed, col
from costops.transforms.billing.sheets import tags_of


def is_oci(text: pl.DataFrame) -> bool:
    """Whether the header is that of Oracle's report."""
    return "lineItem/referenceNo" in text.columns and "cost/myCost" in text.columns


def _about(service: str | None, description: str | None) -> Meaning:
    words = f"{service} {description}".lower()
    model = "generative ai" in words or "generative_ai" in words
    return unmapped("oci") if model else Meaning(OTHER_SERVICE, provider="oci")


def make_oci(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    """The rows of a frame of Oracle's report; a correction of an earlier line says so."""
    frame = understand(text.with_columns(
        _service=col(text, "product/service"), _text=col(text, "product/Description"),
        _row_id=pl.col("lineItem/referenceNo")), ["_service", "_text"], _about)
    correction = col(frame, "lineItem/isCorrection").fill_null("false").str.to_lowercase() == "true"
    facts = {
        "BilledCost": col(frame, "cost/myCost", "cost/myCostOverage"),
        "BillingCurrency": col(frame, "cost/currencyCode"),
        "ChargePeriodStart": col(frame, "lineItem/intervalUsageStart"),
        "ChargePeriodEnd": col(frame, "lineItem/intervalUsageEnd"),
        "BillingAccountId": col(frame, "lineItem/tenantId"), "SubAccountId": col(frame, "product/compartmentId"),
        "SubAccountName": col(frame, "product/compartmentName"), "ServiceName": pl.col("_service"),
        "RegionId": col(frame, "product/region"), "AvailabilityZone": col(frame, "product/availabilityDomain"),
        "ResourceId": col(frame, "product/resourceId"), "SkuId": col(frame, "cost/productSku"),
        "ChargeDescription": pl.col("_text"), "ContractedUnitPrice": col(frame, "cost/unitPrice"),
        "ConsumedQuantity": col(frame, "usage/billedQuantity"),
        "ConsumedUnit": col(frame, "cost/skuUnitDescription"),
        "PricingQuantity": col(frame, "usage/billedQuantity"),
        "PricingUnit": col(frame, "cost/skuUnitDescription"),
        "ChargeClass": pl.when(correction).then(pl.lit("Correction")), "Tags": tags_of(frame, "tags/"), **MEANINGS,
    }
    return billed(frame.drop("_block", "_counted"), facts, Place(
        item, options, ("SubAccountId", "ResourceId", "SkuId"),
        defaults={"InvoiceIssuerName": "Oracle", "ServiceProviderName": "Oracle", "HostProviderName": "Oracle",
                  "ChargeFrequency": "Usage-Based", "PricingCategory": "Standard",
                  "BillingAccountType": "Tenancy", "SubAccountType": "Compartment"}))
