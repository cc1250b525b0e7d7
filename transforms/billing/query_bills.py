"""Bills from query APIs: `aws.cost_explorer` (GetCostAndUsage) and `azure.cost_management` (Query - Usage)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.grammar_azure import meter
from costops.transforms.billing.grammar_bedrock import usage_line
from costops.transforms.billing.meaning import understand
from costops.transforms.billing.pages import Bucket, Shape, read_pages, table
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import MEANINGS, Place, billed
from costops.transforms.billing.text import Damaged, instant

_EXPLORER = ("start", "end", "cost", "effective", "currency", "quantity", "estimated", "SERVICE", "USAGE_TYPE",
             "LINKED_ACCOUNT", "REGION", "RECORD_TYPE", "other")
_AZURE = {
    "cost": ("totalcost", "cost", "pretaxcost", "costinbillingcurrency"), "cost_usd": ("costusd", "totalcostusd"),
    "quantity": ("totalusage", "usagequantity", "quantity"), "date": ("usagedate", "billingmonth"),
    "currency": ("currency", "billingcurrency"), "resource": ("resourceid",), "meter": ("meter", "metername"),
    "category": ("metercategory", "servicename"), "subcategory": ("metersubcategory",),
    "measure": ("unitofmeasure",), "subscription": ("subscriptionid",), "tag": ("tag", "tagkey"),
    "charge_type": ("chargetype",),
}


def read_explorer(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The groups of each day, net cost where it is told; an estimated day says so in `x_CostBasis`."""
    yield from read_pages(delivery, options, Shape("start", "end", explorer_page, split=True), _explorer)


def explorer_page(told: Any) -> dict[str, Any]:
    """An answer of GetCostAndUsage as a page of buckets."""
    if not isinstance(told, Mapping) or "ResultsByTime" not in told:
        raise Damaged("no answer of GetCostAndUsage: `ResultsByTime` is missing")
    names = [str(group.get("Key")) for group in told.get("GroupDefinitions", [])]
    data = []
    for result in told["ResultsByTime"]:
        groups = result.get("Groups") or ([{"Keys": [], "Metrics": result["Total"]}] if result.get("Total") else [])
        rows = [{"names": names, "estimated": result.get("Estimated"), **group} for group in groups]
        data.append({"start": result["TimePeriod"]["Start"], "end": result["TimePeriod"]["End"], "results": rows})
    return {"data": data}


def _explorer(buckets: list[Bucket], item: Input, options: Options) -> Batch:
    rows = []
    for bucket in buckets:
        for number, group in enumerate(bucket.results):
            metrics = group.get("Metrics", {})
            cost = metrics.get("NetUnblendedCost") or metrics.get("UnblendedCost") or {}
            spread = metrics.get("NetAmortizedCost") or metrics.get("AmortizedCost") or {}
            keys = dict(zip(group["names"], group.get("Keys", []), strict=False))
            rows.append({
                **{name: keys.get(name) for name in _EXPLORER}, "start": bucket.start, "end": bucket.end,
                "cost": cost.get("Amount"), "currency": cost.get("Unit"), "effective": spread.get("Amount"),
                "quantity": metrics.get("UsageQuantity", {}).get("Amount"), "estimated": group.get("estimated"),
                "other": json.dumps({k: v for k, v in keys.items() if k not in _EXPLORER}) if keys else None,
                "_line": bucket.first_line + number})
    text = table(rows, _EXPLORER)
    said = text.with_columns(
        _type=pl.when(pl.col("SERVICE") == "Tax").then(pl.lit("Tax")).otherwise(
            pl.col("RECORD_TYPE").fill_null("Usage")))
    frame = understand(said, ["_type", "SERVICE", "USAGE_TYPE"],
                       lambda kind, service, usage: usage_line(kind, service, service, usage, None, None))
    usage = pl.col("_type") == "Usage"
    facts = {
        "BilledCost": pl.col("cost"), "EffectiveCost": pl.col("effective"), "BillingCurrency": pl.col("currency"),
        "ChargePeriodStart": pl.col("start"), "ChargePeriodEnd": pl.col("end"),
        "SubAccountId": pl.col("LINKED_ACCOUNT"), "ServiceName": pl.coalesce("SERVICE", pl.lit("AWS")),
        "RegionId": pl.col("REGION"), "SkuId": pl.col("USAGE_TYPE"), "SkuMeter": pl.col("USAGE_TYPE"),
        "ChargeDescription": pl.coalesce("USAGE_TYPE", "SERVICE"),
        "PricingQuantity": pl.when(usage & pl.col("USAGE_TYPE").is_not_null()).then("quantity"),
        "ChargeCategory": pl.col("_type").replace_strict(
            {"Usage": "Usage", "Tax": "Tax", "Credit": "Credit"}, default="Adjustment", return_dtype=pl.String),
        "x_CostBasis": pl.when(pl.col("estimated") == "true").then(pl.lit("provider_estimated")).otherwise(
            pl.lit("provider_billed")), **MEANINGS,
    }
    return billed(frame, facts, Place(
        item, options, ("SubAccountId", "ServiceName", "SkuId", "RegionId", "ChargeCategory"),
        defaults={"InvoiceIssuerName": "AWS", "ServiceProviderName": "AWS", "HostProviderName": "AWS",
                  "ChargeFrequency": "Usage-Based", "BillingAccountType": "Payer Account",
                  "SubAccountType": "Usage Account"}))


def read_azure(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of Cost Management queries, columns by name whatever their order or alias."""
    yield from read_pages(delivery, options, Shape("start", "end", azure_page, split=True), _azure)


def azure_page(told: Any) -> dict[str, Any]:
    """An answer of the query API as a page of daily buckets."""
    if not isinstance(told, Mapping) or "rows" not in told.get("properties", {}):
        raise Damaged("no answer of the query API: `properties.rows` is missing")
    names = [str(column["name"]).lower() for column in told["properties"]["columns"]]
    ours = {alias: our for our, aliases in _AZURE.items() for alias in aliases}
    days: dict[str, list[dict[str, Any]]] = {}
    for row in told["properties"]["rows"]:
        cells = {ours.get(name, name): cell for name, cell in zip(names, row, strict=True)}
        days.setdefault(str(cells.get("date", "")), []).append(cells)
    data = []
    for day, rows in days.items():
        at = instant(day.split(".", maxsplit=1)[0])
        end = f"{at + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}" if at else ""
        data.append({"start": f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else day, "end": end, "results": rows})
    return {"data": data}


def _azure(buckets: list[Bucket], item: Input, options: Options) -> Batch:
    columns = ("start", "end", *_AZURE)
    rows = [{**row, "start": bucket.start, "end": bucket.end, "_line": bucket.first_line + number}
            for bucket in buckets for number, row in enumerate(bucket.results)]
    text = table(rows, columns).with_columns(
        category=pl.col("category").fill_null("Foundry Models"), charge_type=pl.col("charge_type").fill_null("Usage"),
        measure=pl.coalesce("measure", pl.when(pl.col("meter").str.contains("(?i)1M Tokens")).then(pl.lit("1M"))
                            .when(pl.col("meter").str.contains("(?i)tokens")).then(pl.lit("1K"))))
    frame = understand(text, ["category", "subcategory", "meter", "measure", "charge_type"], meter)
    facts = {
        "BilledCost": pl.col("cost"), "x_BilledCostUsd": pl.col("cost_usd"), "BillingCurrency": pl.col("currency"),
        "ChargePeriodStart": pl.col("start"), "ChargePeriodEnd": pl.col("end"),
        "SubAccountId": pl.coalesce("subscription", pl.col("resource").str.extract(r"(?i)^/subscriptions/([^/]+)/")),
        "ResourceId": pl.col("resource").str.to_lowercase(), "SkuMeter": pl.col("meter"), "SkuId": pl.col("_slug"),
        "ChargeDescription": pl.col("meter"), "ServiceName": pl.lit("Azure OpenAI"),
        "PricingQuantity": pl.col("quantity"), "PricingUnit": pl.col("measure"),
        "x_CostBasis": pl.lit("provider_estimated"),
        "x_Team": pl.col("tag").str.extract(r'"[Tt]eam"\s*:\s*"([^"]*)"'), **MEANINGS,
    }
    return billed(frame, facts, Place(
        item, options, ("SubAccountId", "ResourceId", "SkuMeter", "x_Team"),
        defaults={"InvoiceIssuerName": "Microsoft", "ServiceProviderName": "Microsoft",
                  "HostProviderName": "Microsoft", "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
                  "BillingAccountType": "Billing Account", "SubAccountType": "Subscription"}))


FORMATS = (
    BillFormat("aws.cost_explorer", "core_billing", "day", plan_by_time, read_explorer),
    BillFormat("azure.cost_management", "core_billing", "day", plan_by_time, read_azure),
)
