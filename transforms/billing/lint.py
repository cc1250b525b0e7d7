"""The FOCUS 1.4 lint: rules that a row of CostAndUsage must keep, on billed and on computed rows alike.

Each rule is one boolean expression, true where a row breaks it. A rule about prices allows what a provider's own
rounding does. `docs/billing.md` lists the rules with their source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from costops.transforms.billing.columns import COST_AND_USAGE
from costops.transforms.billing.focus_bill import ALLOWED
from costops.transforms.billing.text import AMOUNT

MANDATORY = (
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ServiceCategory", "ServiceName", "ServiceProviderName",
)
PRESENT = (*MANDATORY, "BillingAccountName", "ChargeClass", "ChargeDescription", "HostProviderName",
           "PricingQuantity", "PricingUnit")
"""Columns that a FOCUS file has even where all its cells are null."""

CURRENCIES = frozenset(re.findall(
    r"[A-Z]{3}",
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD "
    "RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
    "USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG"))
"""ISO 4217, active codes of 2026."""

_DEFINED = {"CoreCount", "DiskMaxIops", "DiskSpace", "DiskType", "GpuCount", "InstanceType", "InstanceSeries",
            "MemorySize", "NetworkMaxIops", "NetworkMaxThroughput", "OperatingSystem", "Redundancy", "StorageClass"}
_CUSTOM = re.compile(r"^x_[A-Z][A-Za-z0-9]{0,47}$")
_ROUNDING = Decimal("0.000001")
_PRICES = ("ListUnitPrice", "ContractedUnitPrice", "PricingCurrencyListUnitPrice",
           "PricingCurrencyContractedUnitPrice")


@dataclass(frozen=True)
class Rule:
    """One rule: its name, the columns it is about, and where a row breaks it."""

    name: str
    column: str
    broken: pl.Expr
    severity: str = "error"


def _has(name: str) -> pl.Expr:
    return pl.col(name).is_not_null()


def _product(price: str, cost: str) -> pl.Expr:
    """Price times quantity is not the cost, beyond what rounding of either does."""
    small = (pl.col("PricingQuantity").abs() < Decimal(10) ** 9) & (pl.col(price).abs() < Decimal(10) ** 9)
    made = pl.when(small).then(pl.col(price)).otherwise(None) * pl.when(small).then("PricingQuantity").otherwise(None)
    off = (made - pl.col(cost)).abs()
    allowed = pl.max_horizontal(pl.lit(_ROUNDING).cast(AMOUNT), pl.col(cost).abs() / 100_000)
    return (off > allowed).fill_null(value=False)


_USAGE = pl.col("ChargeCategory") == "Usage"
_UNUSED = (pl.col("CommitmentDiscountStatus") == "Unused").fill_null(value=False) | \
    (pl.col("CapacityReservationStatus") == "Unused").fill_null(value=False)
_CORRECTION = (pl.col("ChargeClass") == "Correction").fill_null(value=False)
_BUYS = pl.col("ChargeCategory").is_in(["Usage", "Purchase"])

RULES: tuple[Rule, ...] = (
    *(Rule("not_null", name, pl.col(name).is_null()) for name in MANDATORY),
    *(Rule("allowed_value", name, _has(name) & ~pl.col(name).is_in(list(words))) for name, words in ALLOWED.items()),
    *(Rule("account_has_type", f"{name}Type", _has(f"{name}Id") != _has(f"{name}Type"))
      for name in ("BillingAccount", "SubAccount")),
    Rule("consumed_only_on_usage", "ConsumedQuantity", _has("ConsumedQuantity") & (~_USAGE | _UNUSED)),
    Rule("consumed_with_unit", "ConsumedUnit", _has("ConsumedQuantity") != _has("ConsumedUnit")),
    Rule("consumed_with_price_id", "ConsumedQuantity",
         _has("SkuPriceId") & _USAGE & ~_UNUSED & ~_CORRECTION & pl.col("ConsumedQuantity").is_null(), "warning"),
    Rule("quantity_with_price_id", "PricingQuantity",
         _has("SkuPriceId") & _BUYS & ~_CORRECTION & pl.col("PricingQuantity").is_null()),
    Rule("quantity_told", "PricingQuantity", _BUYS & ~_CORRECTION & pl.col("PricingQuantity").is_null(), "warning"),
    Rule("quantity_with_unit", "PricingUnit", _has("PricingQuantity") & pl.col("PricingUnit").is_null()),
    Rule("list_cost_is_price_times_quantity", "ListCost", _product("ListUnitPrice", "ListCost")),
    Rule("contracted_cost_is_price_times_quantity", "ContractedCost",
         _product("ContractedUnitPrice", "ContractedCost")),
    Rule("details_with_price_id", "SkuPriceDetails", _has("SkuPriceDetails") & pl.col("SkuPriceId").is_null()),
    *(Rule("tax_has_no_sku", name, (pl.col("ChargeCategory") == "Tax") & _has(name)) for name in (
        "SkuId", "SkuPriceId", "SkuMeter", "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit",
        "ListUnitPrice", "ContractedUnitPrice")),
    Rule("credit_is_negative", "BilledCost", (pl.col("ChargeCategory") == "Credit") & (pl.col("BilledCost") > 0),
         "warning"),
    Rule("purchase_is_not_usage_based", "ChargeFrequency",
         (pl.col("ChargeCategory") == "Purchase") & (pl.col("ChargeFrequency") == "Usage-Based")),
    Rule("uncovered_is_billed", "EffectiveCost",
         _USAGE & pl.col("CommitmentDiscountId").is_null() & (pl.col("BilledCost") != 0) &
         (pl.col("BilledCost") != pl.col("EffectiveCost")), "warning"),
    Rule("status_with_commitment", "CommitmentDiscountStatus",
         _has("CommitmentDiscountStatus") & pl.col("CommitmentDiscountId").is_null()),
    Rule("status_with_reservation", "CapacityReservationStatus",
         _has("CapacityReservationStatus") & pl.col("CapacityReservationId").is_null()),
    Rule("tokens_are_no_money", "ConsumedUnit",
         pl.col("ConsumedUnit").str.to_uppercase().is_in(sorted(CURRENCIES)).fill_null(value=False)),
    Rule("priced_currency_has_cost", "PricingCurrencyEffectiveCost",
         _has("PricingCurrency") & (pl.col("PricingCurrency") != pl.col("BillingCurrency")) &
         pl.col("PricingCurrencyEffectiveCost").is_null(), "warning"),
    Rule("currency_is_iso", "BillingCurrency", ~pl.col("BillingCurrency").is_in(sorted(CURRENCIES))),
    *(Rule("price_is_not_negative", name, pl.col(name) < 0) for name in _PRICES),
    Rule("period_is_half_open", "ChargePeriodEnd", pl.col("ChargePeriodEnd") <= pl.col("ChargePeriodStart")),
    Rule("period_is_half_open", "BillingPeriodEnd", pl.col("BillingPeriodEnd") <= pl.col("BillingPeriodStart")),
)


def lint(rows: pl.DataFrame) -> pl.DataFrame:
    """Rules that are broken: rule, column, severity, how many rows, and the first of them. None: an empty frame.

    Rows are as of `core_billing` or `out_focus_daily`; lake columns in front (`source`, `provider` ...) are let be.
    """
    found: list[tuple[str, str, str, int, str]] = []
    names = {field.name for field in COST_AND_USAGE}
    found += [("column_present", name, "error", rows.height, "") for name in sorted(names - set(rows.columns))]
    found += [("custom_column_name", name, "error", rows.height, "") for name in rows.columns
              if name.startswith("x_") and not _CUSTOM.match(name)]
    if not found and rows.height:
        flags = rows.select(rule.broken.fill_null(value=False).alias(str(at)) for at, rule in enumerate(RULES))
        counts = flags.sum().row(0)
        for at, (rule, broken) in enumerate(zip(RULES, counts, strict=True)):
            if broken:
                first = rows.row(int(flags[str(at)].arg_max() or 0), named=True)
                found.append((rule.name, rule.column, rule.severity, int(broken), str(first[rule.column])))
        found += _documents(rows) + _whole(rows)
    return pl.DataFrame(found, orient="row", schema={
        "rule": pl.String(), "column": pl.String(), "severity": pl.String(), "rows": pl.Int64(),
        "example": pl.String()})


def _documents(rows: pl.DataFrame) -> list[tuple[str, str, str, int, str]]:
    """Cells that should be JSON objects and are not, or whose keys FOCUS does not know."""
    found = []
    for name in ("Tags", "SkuPriceDetails", "AllocatedTags"):
        counts: Mapping[str, int] = dict(rows[name].drop_nulls().value_counts().iter_rows())
        broken = {text: count for text, count in counts.items() if _object(text) is None}
        if broken:
            found.append(("json_object", name, "error", sum(broken.values()), next(iter(broken))[:200]))
        if name == "SkuPriceDetails":
            odd = {text: count for text, count in counts.items()
                   if any(not key.startswith("x_") and key not in _DEFINED for key in _object(text) or {})}
            if odd:
                found.append(("custom_key_name", name, "warning", sum(odd.values()), next(iter(odd))[:200]))
    return found


def _object(text: str) -> dict[str, object] | None:
    try:
        made = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None


def _whole(rows: pl.DataFrame) -> list[tuple[str, str, str, int, str]]:
    """Rules over many rows: one currency on an invoice, a row id once."""
    found = []
    mixed = rows.filter(pl.col("InvoiceId").is_not_null()).group_by("InvoiceIssuerName", "InvoiceId").agg(
        pl.col("BillingCurrency").n_unique(), pl.len()).filter(pl.col("BillingCurrency") > 1)
    if mixed.height:
        found.append(("one_currency_on_an_invoice", "BillingCurrency", "error", int(mixed["len"].sum()),
                      str(mixed["InvoiceId"][0])))
    if "x_SourceRowId" in rows.columns:
        key = [name for name in ("source", "billing_period", "x_SourceRowId") if name in rows.columns]
        twice = rows.height - rows.select(key).n_unique()
        if twice:
            found.append(("row_id_once", "x_SourceRowId", "error", twice, ""))
    return found


def published(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as a FOCUS file has them: FOCUS columns in order, `x_` columns after, no conditional column that
    would be null throughout.
    """
    names = [field.name for field in COST_AND_USAGE]
    kept = [name for name in names if name in PRESENT or rows[name].null_count() < rows.height]
    own = [name for name in rows.columns if name.startswith("x_") and rows[name].null_count() < rows.height]
    return rows.select(*kept, *own)
