"""Billed lines: what a bill charges for usage, per key as it tells them; and everything on it that is not usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from costops.reconcile.currency import in_dollars
from costops.reconcile.exact import COUNT, USD
from costops.reconcile.group import greatest, summed, told_by_all
from costops.reconcile.owners import billed_owners
from costops.reconcile.scope import CALENDARS, Pairing, month_span, named, region_of
from costops.transforms.units import UNIT
from costops.transforms.window import month_window

USAGE_SCHEMA: dict[str, pl.DataType] = {
    "scope": pl.String(), "issuer": pl.String(), "source": pl.String(), "provider": pl.String(),
    "billing_account": pl.String(), "sub_account": pl.String(), "model_id": pl.String(), "unit": pl.String(),
    "service_tier": pl.String(), "region": pl.String(), "day": pl.Date(), "currency": pl.String(),
    "quantity": COUNT, "list_usd": USD, "contracted_usd": USD, "billed_usd": USD, "effective_usd": USD,
    "report_usd": USD, "local_amount": USD, "bill_rows": pl.Int64(), "covered": pl.Boolean(), "rate_told": pl.Boolean(),
    "period": pl.String(), "in_month": pl.Boolean(), "input_id": pl.String(), "line": pl.Int64(),
    "invoice_id": pl.String(), "decimals": pl.Int64(),
}
OTHER_SCHEMA: dict[str, pl.DataType] = {
    "scope": pl.String(), "issuer": pl.String(), "source": pl.String(), "provider": pl.String(),
    "billing_account": pl.String(), "day": pl.Date(), "currency": pl.String(), "kind": pl.String(),
    "description": pl.String(), "billed_usd": USD, "report_usd": USD, "bill_rows": pl.Int64(),
    "input_id": pl.String(), "line": pl.Int64(), "invoice_id": pl.String(), "commitment_id": pl.String(),
}
_USAGE_KEYS = ("scope", "issuer", "source", "provider", "billing_account", "sub_account", "model_id", "unit",
               "service_tier", "region", "day", "currency", "covered", "rate_told", "period", "in_month")
_OTHER_KEYS = ("scope", "issuer", "source", "provider", "billing_account", "day", "currency", "kind", "description",
               "commitment_id")


@dataclass(frozen=True)
class Billed:
    """A month's bills: usage lines, lines of other kinds, dollars of other services, who used it, currencies without
    a rate."""

    usage: pl.DataFrame
    other: pl.DataFrame
    elsewhere: pl.DataFrame
    other_services: pl.DataFrame
    owners: pl.DataFrame
    no_rate: tuple[str, ...]

    @property
    def names_keys(self) -> bool:
        """True where some bill tells API keys."""
        return not self.owners.filter(pl.col("what") == "key").is_empty()


def billed_lines(billing: pl.DataFrame, month: str, pairing: Pairing, rates: pl.DataFrame | None) -> Billed:
    """The lines of the month's bills, and usage of the month that the bills of other months hold (`elsewhere`).

    `billing` holds `core_billing` rows, of more months than this one if they are known.
    """
    rows = _placed(billing, month, pairing)
    last = month_window(month).end - timedelta(days=1)
    rows, no_rate = in_dollars(rows, rates, last)
    foreign = pl.col("x_MappingStatus") == "other_service"
    mine = pl.col("period") == month
    services = rows.filter(mine & foreign).group_by("scope", "issuer", "source", "currency").agg(
        pl.col("billed_usd").sum(), pl.col("report_usd").sum(), bill_rows=pl.len()).sort(pl.all())
    rows = rows.filter(~foreign)
    usage = pl.col("kind") == "usage"
    return Billed(
        usage=_summed(rows.filter(mine & usage), _USAGE_KEYS, USAGE_SCHEMA),
        other=_summed(rows.filter(mine & ~usage), _OTHER_KEYS, OTHER_SCHEMA),
        elsewhere=_summed(rows.filter(~mine & usage & pl.col("in_month")), _USAGE_KEYS, USAGE_SCHEMA),
        other_services=services, owners=billed_owners(rows.filter(mine & usage)), no_rate=tuple(no_rate),
    )


def _placed(billing: pl.DataFrame, month: str, pairing: Pairing) -> pl.DataFrame:
    """Bill rows under our names: scope, kind, region as priced, and whether they were used in the month."""
    frame = billing.rename({"source": "source", "billing_period": "period", "InvoiceIssuerName": "issuer",
                            "BillingAccountId": "billing_account", "SubAccountId": "sub_account",
                            "x_ModelId": "model_id", "x_UnitName": "unit", "x_ServiceTier": "service_tier",
                            "x_Day": "day"})
    keys = frame.select("source", "provider", "issuer").unique().rows()
    frame = named(frame, ("source", "provider", "issuer"), "scope", {k: pairing.of_bill(*k) for k in keys})
    frame = frame.with_columns(_place=pl.when(pl.col("provider") == "aws.bedrock").then(
        pl.coalesce("RegionId", "x_Region")).otherwise(pl.col("x_Region")), currency=pl.col("BillingCurrency"))
    places = frame.select("provider", "_place").unique().rows()
    frame = named(frame, ("provider", "_place"), "region",
                  {p: None if p[1] is None else region_of(*p) for p in places})
    start = pl.col("ChargePeriodStart")
    return frame.with_columns(
        kind=_kind(), in_month=_within(start, pl.col("ChargePeriodEnd"), month),
        quantity=pl.col("ConsumedQuantity").cast(COUNT),
        covered=pl.col("CommitmentDiscountId").is_not_null() | pl.col("CapacityReservationId").is_not_null()
        | (pl.col("PricingCategory").fill_null("") == "Committed"),
        commitment_id=pl.coalesce("CommitmentDiscountId", "CapacityReservationId"),
        description=pl.col("ChargeDescription").str.slice(0, 120), input_id=pl.col("x_InputId"), line=pl.col("x_Line"),
        invoice_id=pl.col("InvoiceId"), local_amount=pl.col("BilledCost"),
    )


def _kind() -> pl.Expr:
    """`usage` for a line that charges model usage; else what kind of line it is."""
    kind, status = pl.col("x_ChargeKind"), pl.col("x_MappingStatus")
    correction = (pl.col("ChargeClass").fill_null("") == "Correction")
    return (
        pl.when(pl.col("ChargeCategory") == "Tax").then(pl.lit("tax"))
        .when(correction & (kind == "usage")).then(pl.lit("correction"))
        .when((status == "unmapped") & (kind == "usage")).then(pl.lit("unmapped"))
        .when((status == "mapped") & (kind == "usage") & pl.col("unit").is_in(list(UNIT))).then(pl.lit("usage"))
        .when((status == "mapped") & (kind == "usage")).then(pl.lit("unmapped"))
        .when((kind == "usage") & (pl.col("service_tier") == "provisioned")).then(pl.lit("provisioned"))
        .when(kind == "usage").then(pl.lit("fee"))
        .otherwise(kind)
    )


def _within(start: pl.Expr, end: pl.Expr, month: str) -> pl.Expr:
    """True where a charge period begins in the month, by the issuer's calendar.

    A bucket that straddles the start of a month elsewhere belongs where the middle of it lies.
    """
    middle = start + (end - start) / 2

    def inside(zone: str) -> pl.Expr:
        first, last = month_span(month, zone)
        return (middle >= first) & (middle < last)

    told: pl.Expr = inside("UTC")
    for scope, zone in CALENDARS.items():
        told = pl.when(pl.col("scope") == scope).then(inside(zone)).otherwise(told)
    return told


def _summed(rows: pl.DataFrame, keys: tuple[str, ...], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """One line per key; a quantity only where every row tells one."""
    sums = [name for name in ("list_usd", "contracted_usd", "billed_usd", "effective_usd", "report_usd",
                              "local_amount") if name in schema]
    more = {"quantity": told_by_all("quantity"), "decimals": greatest("decimals")} if "quantity" in schema else {}
    ready = rows.with_columns(bill_rows=pl.lit(1, dtype=pl.Int64),
                              **({"decimals": _decimals()} if "quantity" in schema else {}))
    made = summed(ready, keys, [*sums, "bill_rows"], ("input_id", "line", "invoice_id"), more)
    made = made.select(pl.col(name).cast(kind) for name, kind in schema.items())
    return made.sort(keys, nulls_last=True) if "kind" in schema else made


def _decimals() -> pl.Expr:
    """Digits after the point with which a row's amount is told; what credit has paid is told as its effective cost."""
    amount = pl.when(pl.col("BilledCost") == 0).then(pl.col("EffectiveCost")).otherwise(pl.col("BilledCost"))
    text = amount.cast(pl.String).str.strip_chars_end("0")
    return pl.when(text.str.contains(".", literal=True)).then(
        text.str.len_chars() - text.str.find(".", literal=True) - 1).otherwise(0).cast(pl.Int64)
