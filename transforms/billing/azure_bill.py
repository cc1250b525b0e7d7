"""`azure.cost_export`: actual cost exports under any of their headers, and FOCUS exports, by manifest.

Headers differ by agreement and language: EA and MOSP write `Cost` or `PreTaxCost`, MCA `costInBillingCurrency`, a
German portal `Zählername (MeterName)`. Names are compared in lower case without what stands before parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.focus_bill import is_focus, make_focus
from costops.transforms.billing.grammar_azure import meter
from costops.transforms.billing.meaning import understand
from costops.transforms.billing.plan import plan_by_manifest
from costops.transforms.billing.rows import MEANINGS, Place, billed, col, price_id
from costops.transforms.billing.sheets import read_sheets

ALIASES: dict[str, tuple[str, ...]] = {
    "cost": ("costinbillingcurrency", "cost", "pretaxcost", "extendedcost"),
    "cost_usd": ("costinusd",), "list_cost": ("paygcostinbillingcurrency",),
    "currency": ("billingcurrency", "billingcurrencycode", "currency", "currencycode"),
    "date": ("date", "usagedatetime", "usagedate", "serviceperiodstartdate"),
    "account": ("billingaccountid", "billingprofileid", "enrollmentnumber"),
    "account_name": ("billingaccountname", "billingprofilename"),
    "subscription": ("subscriptionid", "subscriptionguid"), "subscription_name": ("subscriptionname",),
    "period": ("billingperiodstartdate", "billingperiod"),
    "quantity": ("quantity", "usagequantity", "consumedquantity"),
    "unit_price": ("unitprice", "resourcerate"), "effective_price": ("effectiveprice",), "list_price": ("paygprice",),
    "measure": ("unitofmeasure",), "charge_type": ("chargetype",), "frequency": ("frequency",),
    "category": ("metercategory",), "subcategory": ("metersubcategory",), "meter": ("metername",),
    "meter_id": ("meterid",), "meter_region": ("meterregion",), "product": ("product", "productname"),
    "service": ("servicename", "consumedservice"), "resource": ("resourceid", "instanceid"),
    "resource_name": ("resourcename",), "resource_type": ("resourcetype",), "location": ("resourcelocation",),
    "tags": ("tags",), "publisher_type": ("publishertype",), "publisher": ("publishername",),
    "invoice": ("invoiceid",), "reservation": ("reservationid", "benefitid"),
    "reservation_name": ("reservationname", "benefitname"), "model": ("pricingmodel",),
    "rate": ("exchangeratepricingtobilling", "exchangerate"), "pricing_currency": ("pricingcurrency",),
}
_OURS = {alias: ours for ours, aliases in ALIASES.items() for alias in aliases}
_CATEGORY = {
    "usage": "Usage", "purchase": "Purchase", "tax": "Tax", "refund": "Adjustment", "adjustment": "Adjustment",
    "roundingadjustment": "Adjustment", "unusedreservation": "Usage", "unusedsavingsplan": "Usage",
}
_KIND = {
    "usage": "usage", "purchase": "commitment_fee", "tax": "tax", "refund": "refund", "adjustment": "adjustment",
    "roundingadjustment": "rounding", "unusedreservation": "commitment_drawdown",
    "unusedsavingsplan": "commitment_drawdown",
}
_KEYS = ("ChargeCategory", "x_ChargeKind", "BillingAccountId", "SubAccountId", "ResourceId", "SkuId", "SkuMeter",
         "ChargeDescription", "RegionId", "CommitmentDiscountId", "Tags", "InvoiceId")


def column(name: str) -> str | None:
    """The alias of a header in any language or case, None for a column that is not read."""
    inner = re.search(r"\(([A-Za-z0-9 ]+)\)\s*$", name)
    plain = re.sub(r"[^a-z0-9]", "", (inner[1] if inner else name).lower())
    return plain if plain in _OURS else None


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the files of the newest run of each period, as its manifest lists them."""
    def rename(name: str) -> str | None:
        return name if is_focus(name) else column(name)
    yield from read_sheets(delivery, options, rename, _rows)


def _rows(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    if "BilledCost" in text.columns:
        return make_focus(text, item, options, "Microsoft")
    said = text.select("_line", **{ours: col(text, *_both(names)) for ours, names in ALIASES.items()})
    said = said.with_columns(charge_type=pl.col("charge_type").fill_null("Usage"))
    frame = understand(said, ["category", "subcategory", "meter", "measure", "charge_type"], meter)
    return billed(frame, _facts(), Place(
        item, options, _KEYS, excerpt=("date", "subscription", "meter", "quantity", "cost"),
        defaults={"InvoiceIssuerName": "Microsoft", "HostProviderName": "Microsoft",
                  "BillingAccountType": "Billing Account", "SubAccountType": "Subscription"}))


def _both(names: tuple[str, ...]) -> tuple[str, ...]:
    """FOCUS-like names of an actual export keep their spelling (`is_focus`), the others are aliases."""
    exact = {"billingaccountid": "BillingAccountId", "billingaccountname": "BillingAccountName",
             "billingcurrency": "BillingCurrency", "resourceid": "ResourceId", "resourcename": "ResourceName",
             "publishername": "PublisherName", "servicename": "ServiceName", "tags": "Tags",
             "invoiceid": "InvoiceId", "consumedquantity": "ConsumedQuantity", "pricingcurrency": "PricingCurrency",
             "resourcetype": "ResourceType"}
    return tuple(found for name in names for found in (name, exact.get(name, name)))


def _facts() -> dict[str, pl.Expr]:
    kind = pl.col("charge_type").str.to_lowercase()
    usage = kind.is_in(["usage", "unusedreservation", "unusedsavingsplan"])
    market = pl.col("publisher_type").str.to_lowercase() == "marketplace"
    tags = pl.col("tags").str.strip_chars().replace({'""': None, "{}": None, "": None})
    period = pl.col("period").str.extract(r"^(\d{6})$")
    scope = pl.col("resource").str.extract(r"(?i)/providers/([^/]+/[^/]+)/")
    token = pl.col("_counted").is_not_null()
    positive = pl.col("list_price").cast(pl.Float64, strict=False) > 0
    return {
        "BilledCost": pl.col("cost"), "x_BilledCostUsd": pl.col("cost_usd"), "ListCost": pl.col("list_cost"),
        "BillingCurrency": pl.col("currency"), "ChargePeriodStart": pl.col("date"),
        "ChargePeriodEnd": _next_day(pl.col("date")),
        "BillingPeriodStart": pl.coalesce(
            pl.concat_str(period.str.slice(0, 4), pl.lit("-"), period.str.slice(4, 2), pl.lit("-01")), "period"),
        "BillingAccountId": pl.coalesce("account", "subscription"), "BillingAccountName": pl.col("account_name"),
        "SubAccountId": pl.col("subscription"), "SubAccountName": pl.col("subscription_name"),
        "InvoiceId": pl.col("invoice"),
        "ServiceProviderName": pl.when(market).then(pl.coalesce("publisher", pl.lit("Microsoft"))).otherwise(
            pl.lit("Microsoft")),
        "ServiceName": pl.coalesce(pl.when(pl.col("provider") == "azure.ai.openai").then(pl.lit("Azure OpenAI")),
                                   "category", "service"),
        "ChargeCategory": kind.replace_strict(_CATEGORY, default="Adjustment", return_dtype=pl.String),
        "x_ChargeKind": pl.when((pl.col("x_ServiceTier") == "provisioned") & usage).then(pl.lit("usage")).otherwise(
            kind.replace_strict(_KIND, default="adjustment", return_dtype=pl.String)),
        "ChargeFrequency": pl.col("frequency").str.to_lowercase().replace_strict(
            {"usagebased": "Usage-Based", "onetime": "One-Time", "recurring": "Recurring"}, default=None,
            return_dtype=pl.String).fill_null(pl.when(usage).then(pl.lit("Usage-Based")).otherwise(pl.lit("One-Time"))),
        "ChargeDescription": pl.coalesce("product", "meter"),
        "PricingCategory": pl.when(usage).then(pl.when(pl.col("reservation").is_not_null()).then(
            pl.lit("Committed")).otherwise(pl.lit("Standard"))),
        "PricingQuantity": pl.when(kind != "tax").then("quantity"),
        "PricingUnit": pl.when(kind != "tax").then("measure"),
        "ConsumedQuantity": pl.when(usage & ~token & pl.col("measure").is_not_null()).then("quantity"),
        "ConsumedUnit": pl.when(usage & ~token).then(
            pl.when(pl.col("x_ServiceTier") == "provisioned").then(pl.lit("PTU-Hours")).otherwise("measure")),
        "ContractedUnitPrice": pl.when(usage).then(pl.coalesce("effective_price", "unit_price")),
        "ListUnitPrice": pl.when(usage & positive & pl.col("list_cost").is_not_null()).then("list_price"),
        "RegionId": pl.coalesce("location", "meter_region").str.to_lowercase().str.replace_all(" ", ""),
        "ResourceId": pl.col("resource"), "ResourceName": pl.col("resource_name"),
        "ResourceType": pl.coalesce("resource_type", scope),
        "SkuId": pl.when(kind != "tax").then(pl.coalesce("meter_id", "_slug")),
        "SkuPriceId": pl.when(usage).then(pl.coalesce("meter_id", price_id())),
        "SkuMeter": pl.when(kind != "tax").then("meter"),
        "Tags": pl.when(tags.str.starts_with("{")).then(tags).when(tags.is_not_null()).then(
            pl.lit("{") + tags + pl.lit("}")),
        "x_Team": tags.str.extract(r'"[Tt]eam"\s*:\s*"([^"]*)"'),
        "CommitmentDiscountId": pl.col("reservation"), "CommitmentDiscountName": pl.col("reservation_name"),
        "CommitmentDiscountStatus": pl.when(kind.str.starts_with("unused")).then(pl.lit("Unused")).when(
            usage & pl.col("reservation").is_not_null()).then(pl.lit("Used")),
        "PricingCurrency": pl.when(pl.col("pricing_currency") != pl.col("currency")).then("pricing_currency"),
        "x_BillingExchangeRate": pl.col("rate"), **MEANINGS,
    }


def _next_day(day: pl.Expr) -> pl.Expr:
    iso = day.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    american = day.str.extract(r"^(\d{1,2}/\d{1,2}/\d{4})").str.to_date("%m/%d/%Y", strict=False)
    return pl.coalesce(iso, american).dt.offset_by("1d").dt.to_string("%Y-%m-%d")


FORMAT = BillFormat("azure.cost_export", "core_billing", "period", plan_by_manifest, read)
