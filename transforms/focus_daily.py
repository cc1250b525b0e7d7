"""Computed cost as FOCUS 1.4 rows: one per SKU (seller, model, unit, tier, place, project, owner) and day.

The sums of `sql/out_focus_daily.sql` become one row per unit. List cost is exact by unit. A contract's effective cost
is known by request, not by unit: within one group it is divided in proportion to list cost, by largest remainder, so
that it adds up to the last digit. Usage without a known price has no FOCUS row, for such a row must tell a cost:
`out_spend_daily.unpriced_requests` counts it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import blake2b

import polars as pl

from costops.transforms.allocate import shared
from costops.transforms.billing.issuers import issuer_of
from costops.transforms.billing.meaning import MAPPED, Meaning, counted_in, price_details, slug
from costops.transforms.check import conform
from costops.transforms.fields import Type
from costops.transforms.money import PICO, usd
from costops.transforms.tables import OUT_FOCUS_DAILY
from costops.transforms.units import UNIT, UNITS

KEYS = ("day", "source", "provider", "model_id", "service_tier", "region", "account_id", "project_id", "team",
        "application", "price_id", "price_source", "price_status")
"""What one group of the sums has in common."""

SERVICES = {
    "openai": "OpenAI API", "anthropic": "Anthropic API", "aws.bedrock": "Amazon Bedrock", "gcp.gemini": "Gemini API",
    "gcp.vertex_ai": "Vertex AI", "azure.ai.openai": "Azure OpenAI", "azure.ai.inference": "Azure AI Foundry",
}
_SUM, _BILL, _TEXT = Type.USD_SUM.polars, Type.USD_BILL.polars, pl.String()
REPORTED = "reported"
"""Unit of a cost that the source told as a whole: it belongs to requests, not to tokens."""


def focus_rows(sums: pl.DataFrame) -> pl.DataFrame:
    """Rows of `out_focus_daily` from sums by group; costs add up to those of the sums exactly."""
    if sums.is_empty():
        return pl.DataFrame(schema=OUT_FOCUS_DAILY.schema)
    groups = sums.with_row_index("_group")
    rows = _contracted(pl.concat([_by_unit(groups), _as_a_whole(groups)]), groups).join(
        groups.select("_group", *KEYS), on="_group", how="left", maintain_order="left")
    return conform(_described(rows), OUT_FOCUS_DAILY)


def _by_unit(groups: pl.DataFrame) -> pl.DataFrame:
    """Units that were used or cost something: a fee per request only where there is one."""
    blocks = []
    for unit in UNITS:
        cost, count = pl.col(unit.cost_column), pl.col(unit.column)
        used = cost.fill_null(0) != 0
        if unit.name != "request" and unit.part_of is None:
            used |= (count.fill_null(0) != 0) & (pl.col("price_status") != "provider_reported")
        elif unit.part_of is not None:
            used |= count.fill_null(0) != 0
        blocks.append(groups.filter(used).select(
            "_group", _unit=pl.lit(unit.name), _count=count.cast(pl.Int64), _list=cost.fill_null(0).cast(_SUM)))
    return pl.concat(blocks)


def _as_a_whole(groups: pl.DataFrame) -> pl.DataFrame:
    """What the list cost is beyond its units: a cost that the source told for the request."""
    told = pl.sum_horizontal(pl.col(unit.cost_column).fill_null(0).cast(_SUM) for unit in UNITS)
    rest = pl.col("list_cost_usd").cast(_SUM) - told
    return groups.with_columns(_list=rest).filter(
        (pl.col("_list") != 0) | (pl.col("price_status") == "provider_reported")).select(
        "_group", _unit=pl.lit(REPORTED), _count=pl.col("requests").cast(pl.Int64), _list="_list")


def _contracted(rows: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """The rows with their part of the group's effective cost, `_effective`."""
    differs = groups.filter(pl.col("list_cost_usd") != pl.col("effective_cost_usd"))
    if differs.is_empty():
        return rows.with_columns(_effective="_list")
    due: dict[int, Decimal] = dict(differs.select("_group", "effective_cost_usd").iter_rows())
    weights: dict[int, list[Decimal]] = {}
    for group, amount in rows.filter(pl.col("_group").is_in(list(due))).select("_group", "_list").iter_rows():
        weights.setdefault(group, []).append(amount)
    parts = {group: iter(_parts(due[group], amounts)) for group, amounts in weights.items()}
    made = [next(parts[group]) if group in parts else listed
            for group, listed in rows.select("_group", "_list").iter_rows()]
    return rows.with_columns(_effective=pl.Series(made, dtype=_SUM))


def _parts(amount: Decimal, listed: list[Decimal]) -> list[Decimal]:
    counts = [int(one * PICO) for one in listed]
    if sum(counts) <= 0 or min(counts) < 0:                # nothing to go by: the first row carries it
        counts = [1, *([0] * (len(counts) - 1))]
    return [usd(part) for part in shared(int(amount * PICO), counts)]


def _described(rows: pl.DataFrame) -> pl.DataFrame:
    """The FOCUS columns of rows with `KEYS`, `_unit`, `_count`, `_list` and `_effective`."""
    rows = _tagged(_sku(_parties(rows)))
    start = pl.col("day").cast(pl.Datetime("us"))
    month = start.dt.truncate("1mo")
    listed, due, count = (pl.col(name).cast(_BILL) for name in ("_list", "_effective", "_count"))
    whole = pl.col("_unit") == REPORTED
    quantity = count / pl.col("_per")
    keys = pl.concat_str([pl.col(name).cast(_TEXT).fill_null("") for name in (*KEYS, "_unit")], separator="\x1f")
    priced = pl.col("_count").fill_null(0) > 0
    return rows.with_columns(
        billing_period=start.dt.strftime("%Y-%m"), BillingPeriodStart=month, BillingPeriodEnd=month.dt.offset_by("1mo"),
        ChargePeriodStart=start, ChargePeriodEnd=start.dt.offset_by("1d"),
        ListCost=listed, ContractedCost=due, EffectiveCost=due, BilledCost=due, x_BilledCostUsd=due,
        BillingCurrency=pl.lit("USD"), BillingAccountId=pl.coalesce("account_id", pl.lit("unknown")),
        BillingAccountType=pl.lit("Billing Account"), SubAccountId="project_id",
        SubAccountType=pl.when(pl.col("project_id").is_not_null()).then(pl.lit("Project")),
        ChargeCategory=pl.lit("Usage"), ChargeFrequency=pl.lit("Usage-Based"),
        PricingCategory=pl.when(pl.col("price_status") == "covered").then(pl.lit("Committed")).otherwise(
            pl.lit("Standard")),
        ServiceCategory=pl.lit("AI and Machine Learning"), ServiceSubcategory=pl.lit("Generative AI"),
        ConsumedQuantity=pl.when(~whole).then(count), ConsumedUnit=pl.when(~whole).then("_counted"),
        PricingQuantity=quantity,
        PricingUnit=pl.when(pl.col("_per") == 1).then("_counted").otherwise(
            pl.concat_str(pl.col("_per").cast(_TEXT), "_counted", separator=" ")),
        ListUnitPrice=pl.when(priced & ~whole).then(listed * pl.col("_per") / pl.when(priced).then(count)),
        ContractedUnitPrice=pl.when(priced & ~whole).then(due * pl.col("_per") / pl.when(priced).then(count)),
        ChargeDescription=pl.concat_str("model_id", pl.col("SkuMeter").str.to_lowercase(), "service_tier",
                                        separator=" ", ignore_nulls=True),
        RegionId="region", x_Region="region", x_ModelId="model_id", x_ServiceTier="service_tier", x_Day="day",
        x_UnitName=pl.when(~whole).then("_unit"), x_Team="team", x_Application="application", x_PriceId="price_id",
        x_PriceSource="price_source", x_PriceStatus="price_status", x_CostBasis=pl.when(whole).then(
            pl.lit("provider_estimated")).otherwise(pl.lit("computed")),
        x_ListCostBasis=pl.when(whole).then(pl.lit("provider")).otherwise(pl.lit("price_book")),
        x_ChargeKind=pl.lit("usage"), x_MappingStatus=pl.lit(MAPPED),
        x_SourceRowId=keys.map_elements(_row_id, return_dtype=_TEXT),
    )


def _sku(rows: pl.DataFrame) -> pl.DataFrame:
    """What is metered, and at which price."""
    names = ("provider", "model_id", "service_tier", "region", "_unit")
    distinct = rows.select(names).unique(maintain_order=True)
    made: list[tuple[str | None, str, str | None, int, str]] = []
    for provider, model, tier, region, unit in distinct.iter_rows():
        if unit == REPORTED:
            bare = slug(Meaning(MAPPED, model, "request", provider=provider))
            made.append((f"{bare}-{REPORTED}", "Requests As Reported", None, 1, "Requests"))
            continue
        meaning = Meaning(MAPPED, model, unit, tier, region, provider=provider)
        made.append((slug(meaning), UNIT[unit].column.replace("_", " ").title(), price_details(meaning),
                     UNIT[unit].per, counted_in(unit)))
    known = distinct.hstack(pl.DataFrame(made, orient="row", schema={
        "SkuId": _TEXT, "SkuMeter": _TEXT, "SkuPriceDetails": _TEXT, "_per": pl.Int64(), "_counted": _TEXT}))
    place = pl.coalesce("price_id", "price_status")
    return rows.join(known, on=list(names), how="left", nulls_equal=True, maintain_order="left").with_columns(
        SkuPriceId=pl.when(pl.col("_unit") != REPORTED).then(pl.concat_str("SkuId", place, separator=":")))


def _parties(rows: pl.DataFrame) -> pl.DataFrame:
    """Who sells, runs and bills it; the service's name."""
    names = rows["provider"].unique().to_list()
    known = pl.DataFrame(
        [(name, issuer_of(name)[1], SERVICES.get(name, f"{issuer_of(name)[1]} API")) for name in names], orient="row",
        schema={"provider": _TEXT, "InvoiceIssuerName": _TEXT, "ServiceName": _TEXT})
    return rows.join(known, on="provider", how="left", maintain_order="left").with_columns(
        ServiceProviderName="InvoiceIssuerName", HostProviderName="InvoiceIssuerName")


def _tagged(rows: pl.DataFrame) -> pl.DataFrame:
    """Team and application as a JSON object; NULL where neither is known."""
    owners = rows.select("team", "application").unique(maintain_order=True)
    texts = [json.dumps(kept, ensure_ascii=False) if (kept := {
        name: value for name, value in sorted(owner.items()) if value is not None}) else None
        for owner in owners.iter_rows(named=True)]
    return rows.join(owners.with_columns(Tags=pl.Series(texts, dtype=_TEXT)), on=["team", "application"], how="left",
                     nulls_equal=True, maintain_order="left")


def _row_id(keys: str) -> str:
    return blake2b(keys.encode(), digest_size=10).hexdigest()
