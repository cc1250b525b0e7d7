"""`aws.cur2`: Cost and Usage Reports as CSV or Parquet, CUR 2.0 and the slash names of CUR 1.0.

A report has either discount lines or net columns for the same discount: where there is a net column it is the
billed cost, and a discount line without a net figure counts as zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.focus_bill import is_focus, make_focus
from costops.transforms.billing.grammar_bedrock import usage_line
from costops.transforms.billing.meaning import understand
from costops.transforms.billing.plan import plan_by_manifest
from costops.transforms.billing.rows import MEANINGS, Place, billed, col
from costops.transforms.billing.sheets import read_sheets, tags_of

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TAGS = ("resource_tags_", "cost_category_")
_WANTED = re.compile(
    r"^(identity_line_item_id|identity_time_interval|bill_.*|line_item_.*|pricing_(unit|term|currency|rate_code"
    r"|public_on_demand_(cost|rate))|product|product_(sku|product_name|region|region_code|servicecode)|resource_tags"
    r"|tags|resource_tags_.*|reservation_(effective_cost|reservation_a_r_n|reservation_arn|unused_.*)"
    r"|savings_plan_(savings_plan_effective_cost|savings_plan_a_r_n|savings_plan_arn|total_commitment_to_date"
    r"|used_commitment))$")
CATEGORY = {
    "Usage": "Usage", "DiscountedUsage": "Usage", "SavingsPlanCoveredUsage": "Usage", "Tax": "Tax",
    "Credit": "Credit", "Refund": "Adjustment", "Fee": "Purchase", "RIFee": "Purchase",
    "SavingsPlanRecurringFee": "Purchase", "SavingsPlanUpfrontFee": "Purchase",
}
KIND = {
    "Usage": "usage", "DiscountedUsage": "usage", "SavingsPlanCoveredUsage": "usage", "Tax": "tax",
    "Credit": "credit", "Refund": "refund", "Fee": "fee", "RIFee": "commitment_fee",
    "SavingsPlanRecurringFee": "commitment_fee", "SavingsPlanUpfrontFee": "commitment_fee",
    "SavingsPlanNegation": "commitment_drawdown", "BundledDiscount": "discount", "EdpDiscount": "discount",
    "PrivateRateDiscount": "discount",
}
_KEYS = ("x_ChargeKind", "BillingAccountId", "SubAccountId", "InvoiceIssuerName", "SkuMeter", "ServiceName",
         "ChargeDescription", "ResourceId", "x_PrincipalId", "Tags", "SkuId")


def column(name: str) -> str | None:
    """`line_item_usage_type` of `lineItem/UsageType`; None for a column that is not read."""
    if "/" in name:
        group, rest = name.split("/", 1)
        if group.startswith("resourceTags"):
            return "resource_tags_" + rest.removeprefix("user:")
        name = f"{_CAMEL.sub('_', group)}_{_CAMEL.sub('_', rest)}".lower()
    lower = name.strip().lower()
    return lower if _WANTED.match(lower) else None


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the files that the manifest lists; a FOCUS export under the same manifest is read as such."""
    def rename(name: str) -> str | None:
        return name if is_focus(name) else column(name)
    yield from read_sheets(delivery, options, rename, _rows)


def _rows(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    if "BilledCost" in text.columns:
        return make_focus(text, item, options, "AWS")
    has_map = "product" in text.columns
    kind, name = col(text, "line_item_line_item_type"), col(text, "product_product_name")
    if has_map:
        name = pl.coalesce(name, pl.col("product").str.extract(r'"product_name"\s*:\s*"([^"]*)"'))
    said = text.with_columns(
        _type=kind.fill_null("Usage"), _code=col(text, "line_item_product_code"), _product=name,
        _usage=col(text, "line_item_usage_type"), _resource=col(text, "line_item_resource_id"),
        _measure=col(text, "pricing_unit"),
        _row_id=pl.concat_str(col(text, "identity_line_item_id"), col(text, "identity_time_interval").fill_null(""),
                              separator="|"),
    ).with_columns(_profile=pl.when(pl.col("_resource").str.contains(":bedrock:")).then("_resource"))
    frame = understand(said, ["_type", "_code", "_product", "_usage", "_profile", "_measure"], usage_line)
    return billed(frame, _facts(frame), Place(
        item, options, _KEYS, excerpt=("_type", "_usage", "line_item_unblended_cost"),
        defaults={"HostProviderName": "AWS", "InvoiceIssuerName": "AWS", "BillingAccountType": "Payer Account",
                  "SubAccountType": "Usage Account"}))


def _facts(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    unblended, net = col(frame, "line_item_unblended_cost"), col(frame, "line_item_net_unblended_cost")
    has_net = "line_item_net_unblended_cost" in frame.columns
    kind = pl.col("_type")
    discount = kind.is_in(["EdpDiscount", "PrivateRateDiscount", "BundledDiscount"])
    cost = pl.coalesce(net, pl.when(discount).then(pl.lit("0")).otherwise(unblended)) if has_net else unblended
    usage = kind.is_in(["Usage", "DiscountedUsage", "SavingsPlanCoveredUsage"])
    market = col(frame, "bill_billing_entity") == "AWS Marketplace"
    seller = pl.when(pl.col("_product").str.contains("(?i)claude")).then(pl.lit("Anthropic")).otherwise(
        col(frame, "line_item_legal_entity"))
    legal = col(frame, "bill_invoicing_entity")
    tags = pl.coalesce(tags_of(frame, "resource_tags_"), col(frame, "resource_tags", "tags").replace({"{}": None}))
    team = pl.coalesce(
        col(frame, "resource_tags_team", "resource_tags_Team"),
        *(pl.col(name).str.extract(r'"(?:[A-Za-z]+[:/_])?[Tt]eam"\s*:\s*"([^"]*)"')
          for name in ("tags", "resource_tags") if name in frame.columns))
    covered = kind == "SavingsPlanCoveredUsage"
    plan = col(frame, "savings_plan_savings_plan_arn", "savings_plan_savings_plan_a_r_n")
    reserved = col(frame, "reservation_reservation_arn", "reservation_reservation_a_r_n")
    return {
        "BilledCost": cost,
        "EffectiveCost": pl.when(covered).then(col(frame, "savings_plan_savings_plan_effective_cost"))
        .when(kind == "DiscountedUsage").then(col(frame, "reservation_effective_cost"))
        .when(kind.is_in(["SavingsPlanNegation", "SavingsPlanUpfrontFee", "SavingsPlanRecurringFee"]))
        .then(pl.lit("0")),
        "ListCost": pl.when(usage).then(col(frame, "pricing_public_on_demand_cost")),
        "ListUnitPrice": pl.when(usage).then(col(frame, "pricing_public_on_demand_rate")),
        "ContractedUnitPrice": pl.when(usage).then(
            col(frame, "line_item_net_unblended_rate") if has_net else col(frame, "line_item_unblended_rate")),
        "BillingCurrency": col(frame, "line_item_currency_code"),
        "BillingPeriodStart": col(frame, "bill_billing_period_start_date"),
        "BillingPeriodEnd": col(frame, "bill_billing_period_end_date"),
        "ChargePeriodStart": col(frame, "line_item_usage_start_date"),
        "ChargePeriodEnd": col(frame, "line_item_usage_end_date"),
        "BillingAccountId": col(frame, "bill_payer_account_id"),
        "BillingAccountName": col(frame, "bill_payer_account_name"),
        "SubAccountId": col(frame, "line_item_usage_account_id"),
        "SubAccountName": col(frame, "line_item_usage_account_name"),
        "InvoiceId": col(frame, "bill_invoice_id"), "InvoiceIssuerName": legal,
        "ServiceProviderName": pl.when(market).then(pl.coalesce(seller, legal)).otherwise(pl.lit("AWS")),
        "ServiceName": pl.coalesce(pl.when(pl.col("provider") == "aws.bedrock").then(pl.lit("Amazon Bedrock")),
                                   "_product", "_code"),
        "ChargeCategory": kind.replace_strict(CATEGORY, default="Adjustment", return_dtype=pl.String),
        "x_ChargeKind": kind.replace_strict(KIND, default="adjustment", return_dtype=pl.String),
        "ChargeDescription": pl.coalesce(col(frame, "line_item_line_item_description"), "_usage"),
        "ChargeFrequency": pl.when(usage).then(pl.lit("Usage-Based")).when(kind.is_in(
            ["RIFee", "SavingsPlanRecurringFee"])).then(pl.lit("Recurring")).otherwise(pl.lit("One-Time")),
        "PricingCategory": pl.when(covered | (kind == "DiscountedUsage")).then(pl.lit("Committed"))
        .when(usage).then(pl.lit("Standard")),
        "PricingQuantity": pl.when(usage | (pl.col("_type").str.contains("Fee"))).then(
            col(frame, "line_item_usage_amount")),
        "PricingUnit": pl.when(kind != "Tax").then(pl.col("_measure")),
        "ConsumedQuantity": pl.when(usage & pl.col("_counted").is_null()).then(col(frame, "line_item_usage_amount")),
        "ConsumedUnit": pl.when(usage & pl.col("_counted").is_null()).then(pl.coalesce("_measure", pl.lit("Units"))),
        "RegionId": col(frame, "product_region_code", "product_region"),
        "AvailabilityZone": col(frame, "line_item_availability_zone"), "ResourceId": pl.col("_resource"),
        "ResourceType": pl.when(pl.col("_profile").str.contains("inference-profile")).then(
            pl.lit("Inference Profile")),
        "SkuId": pl.when(kind != "Tax").then(pl.coalesce(col(frame, "product_sku"), "_usage")),
        "SkuPriceId": pl.when(usage).then(pl.coalesce(col(frame, "pricing_rate_code"), "_usage")),
        "SkuMeter": pl.when(kind != "Tax").then(pl.col("_usage")), "Tags": tags,
        "CommitmentDiscountId": pl.coalesce(plan, reserved),
        "CommitmentDiscountStatus": pl.when(pl.coalesce(plan, reserved).is_not_null() & (
            covered | (kind == "DiscountedUsage"))).then(pl.lit("Used")),
        "CommitmentDiscountCategory": pl.when(plan.is_not_null()).then(pl.lit("Spend")).when(
            reserved.is_not_null()).then(pl.lit("Usage")),
        "x_PrincipalId": col(frame, "line_item_iam_principal"), "x_Team": team, **MEANINGS,
    }


FORMAT = BillFormat("aws.cur2", "core_billing", "period", plan_by_manifest, read)
