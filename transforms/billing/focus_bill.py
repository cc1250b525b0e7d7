"""`focus`: any FOCUS file of version 1.0 to 1.4, brought up to 1.4, with what exporters put in the way.

1.0 to 1.2 have ProviderName and PublisherName. A direct purchase gives both names to the provider; a Marketplace
line gives the seller to the publisher and the host to the provider. Which it is, a marker of the row tells, never
the spelling of the two names. Own columns of an exporter are kept, unchanged, in `x_ProviderColumns`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Input, Options
from costops.transforms.billing.columns import COST_AND_USAGE
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.focus_meaning import focus_line
from costops.transforms.billing.meaning import understand
from costops.transforms.billing.oci_bill import is_oci, make_oci
from costops.transforms.billing.plan import plan_by_manifest
from costops.transforms.billing.rows import MEANINGS, Place, billed, col
from costops.transforms.billing.sheets import quoted, read_sheets

NAMES = frozenset(field.name for field in COST_AND_USAGE)
OLD = frozenset({"ProviderName", "PublisherName"})
_MARKERS = ("x_BillingEntity", "x_PublisherType", "x_PublisherCategory", "PublisherType", "PublisherCategory")
ALLOWED = {
    "ChargeCategory": ("Usage", "Purchase", "Tax", "Credit", "Adjustment"), "ChargeClass": ("Correction",),
    "ChargeFrequency": ("One-Time", "Recurring", "Usage-Based"),
    "PricingCategory": ("Standard", "Dynamic", "Committed", "Other"),
    "CommitmentDiscountCategory": ("Spend", "Usage"), "CommitmentDiscountStatus": ("Used", "Unused"),
    "CapacityReservationStatus": ("Used", "Unused"),
}
_KEYS = ("ChargeCategory", "ChargeClass", "BillingAccountId", "SubAccountId", "InvoiceIssuerName", "SkuId",
         "SkuPriceId", "SkuMeter", "ChargeDescription", "ResourceId", "RegionId", "CommitmentDiscountId", "Tags")


def is_focus(name: str) -> bool:
    """Whether a header name belongs to a FOCUS file."""
    return name in NAMES or name in OLD or name.startswith("x_")


def read(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """The rows of the files of a delivery."""
    yield from read_sheets(delivery, options, str.strip, _rows)


def _rows(text: pl.DataFrame, item: Input, options: Options) -> Batch:
    return make_oci(text, item, options) if is_oci(text) else make_focus(text, item, options)


_ALWAYS = frozenset({"BilledCost", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart",
                     "ChargePeriodEnd"})
"""Columns without which a row cannot be placed: NULL where a file has none, so that its rows are set aside."""


def make_focus(text: pl.DataFrame, item: Input, options: Options, issuer: str | None = None) -> Batch:
    """The rows of a frame with FOCUS columns, of whichever version; `issuer` where the file names none."""
    said = text.with_columns(
        _service=col(text, "ServiceName"), _meter=col(text, "SkuMeter", "x_SkuMeterName"),
        _usage=col(text, "x_UsageType", "SkuMeter"), _code=col(text, "x_ServiceCode"),
        _category=col(text, "x_SkuMeterCategory"), _details=col(text, "SkuPriceDetails"),
        _measure=col(text, "x_PricingUnitDescription", "PricingUnit"), _charge=col(text, "ChargeCategory"),
        _about=pl.when(col(text, "ServiceName").str.contains("(?i)vertex|gemini|openai|anthropic")).then(
            col(text, "ChargeDescription", "x_SkuDescription", "SkuId")),
        _host=col(text, "ServiceProviderName", "ProviderName"), _sub=col(text, "ServiceSubcategory"),
    ).rename({name: f"_raw_{name}" for name in text.columns if name in MEANINGS})
    frame = understand(said, ["_service", "_meter", "_usage", "_code", "_category", "_details", "_measure", "_charge",
                              "_about", "_host", "_sub"], focus_line)
    facts = {name: col(frame, name) for name in NAMES if name in frame.columns or name in _ALWAYS}
    facts |= {**_parties(frame), **{name: _spelled(col(frame, name), words) for name, words in ALLOWED.items()}}
    facts |= {name: pl.coalesce(col(frame, f"_raw_{name}"), made) for name, made in MEANINGS.items()}
    facts["x_BilledCostUsd"] = col(frame, "x_BilledCostInUsd", "x_BilledCostInUSD")
    facts["x_BillingExchangeRate"] = col(frame, "x_BillingExchangeRate", "x_CurrencyConversionRate")
    facts["x_PrincipalId"] = col(frame, "PrincipalId", "x_PrincipalId")
    facts["x_ApiKeyId"] = col(frame, "CredentialId", "x_ApiKeyId")
    facts["x_Team"] = col(frame, "Tags").str.extract(r'"[Tt]eam"\s*:\s*"([^"]*)"')
    facts["x_ProviderColumns"] = _own([name for name in text.columns if name not in NAMES | OLD | MEANINGS.keys()])
    if "x_PricingBlockSize" not in frame.columns:
        frame = frame.drop("_block", "_counted")
    batch = billed(frame, facts, Place(item, options, _KEYS, defaults={
        "InvoiceIssuerName": issuer, "ServiceProviderName": issuer, "HostProviderName": issuer}))
    return Batch(batch.rows, pl.concat([batch.findings, _words(frame, item, options)]), batch.tally, batch.days)


def _parties(frame: pl.DataFrame) -> dict[str, pl.Expr]:
    """Seller, host and issuer of rows of any version."""
    old, publisher = col(frame, "ProviderName"), col(frame, "PublisherName")
    marked = pl.any_horizontal([col(frame, name).fill_null("").str.contains("(?i)marketplace") for name in _MARKERS])
    seller = pl.when(marked).then(pl.coalesce(publisher, old)).otherwise(pl.coalesce(old, publisher))
    return {
        "ServiceProviderName": pl.coalesce(col(frame, "ServiceProviderName"), seller),
        "HostProviderName": pl.coalesce(col(frame, "HostProviderName"), old),
        "InvoiceIssuerName": pl.coalesce(col(frame, "InvoiceIssuerName"), old, col(frame, "ServiceProviderName")),
    }


def _spelled(told: pl.Expr, words: tuple[str, ...]) -> pl.Expr:
    """The allowed word in its own spelling; another word stays, and a finding tells it."""
    known = {word.lower(): word for word in words}
    return pl.coalesce(told.str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.String), told)


def _words(frame: pl.DataFrame, item: Input, options: Options) -> pl.DataFrame:
    found = []
    for name, words in ALLOWED.items():
        if name not in frame.columns:
            continue
        told = frame.select(col(frame, name).alias("w"), "_line").filter(
            pl.col("w").is_not_null() & ~pl.col("w").str.to_lowercase().is_in([word.lower() for word in words]))
        found += [Finding("unknown_value", "warning", item.uri, line, name, ", ".join(words), word[:80],
                          mend="kept as it is; FOCUS does not know it")
                  for word, line in told.iter_rows()]
    return findings(found, source=options.source)


def _own(names: list[str]) -> pl.Expr:
    shown = [name for name in names if name != "_line"]
    if not shown:
        return pl.lit(None, dtype=pl.String)
    pairs = [pl.when(pl.col(name).is_not_null() & (pl.col(name) != "")).then(
        pl.lit(json.dumps(name) + ":") + quoted(pl.col(name))) for name in shown]
    joined = pl.concat_str(pairs, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.lit("{") + joined + pl.lit("}"))


FORMAT = BillFormat("focus", "core_billing", "period", plan_by_manifest, read)
