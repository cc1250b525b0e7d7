"""Currency: bills in dollars, at the provider's own rate to match and at the group's rate to report.

A rate says how much of a currency one dollar is; it is never inverted, amounts are divided by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import polars as pl

from costops.reconcile.exact import USD, ZERO, share
from costops.transforms.errors import Usage

AMOUNTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
MINOR_DIGITS: dict[str, int] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
                     "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""Digits after the point of a currency's minor unit where they are not two (ISO 4217, list one)."""


def minor_unit(currency: str) -> Decimal:
    """The smallest amount of a currency: 0.01 USD, 1 JPY, 0.001 KWD."""
    return Decimal(1).scaleb(-MINOR_DIGITS.get(currency.upper(), 2))


def total(amounts: pl.DataFrame, amount: str = "BilledCost", currency: str = "BillingCurrency") -> tuple[Decimal, str]:
    """The sum of amounts of one currency, and that currency; a sum across currencies is refused."""
    found = amounts[currency].unique().drop_nulls().sort().to_list()
    if len(found) > 1:
        raise Usage(f"{amount} is in {' and '.join(found)}: amounts of several currencies have no sum; "
                    "convert them at dated rates first, or sum each currency by itself.")
    return Decimal(amounts[amount].sum() or 0), found[0] if found else "USD"


def rate_on(rates: pl.DataFrame | None, currency: str, last: date, *, provider: bool) -> Decimal | None:
    """The rate of a currency that held on a day: the newest dated then or before, else the first one after.

    `provider` asks for a provider's own rate (its `kind` says so), else for the group's.
    """
    row = _rate_row(rates, currency, last, provider=provider)
    return None if row is None else Decimal(row["rate"])


def _rate_row(rates: pl.DataFrame | None, currency: str, last: date, *, provider: bool) -> dict[str, Any] | None:
    if rates is None or rates.is_empty():
        return None
    told = pl.col("kind").fill_null("").str.starts_with("provider")
    mine = rates.filter((pl.col("base") == "USD") & (pl.col("quote") == currency) & (told if provider else ~told))
    if mine.is_empty():
        return None
    before = mine.filter(pl.col("rate_date") <= last).sort("rate_date", "source", "rate")
    return before.row(-1, named=True) if before.height else mine.sort("rate_date", "source", "rate").row(0, named=True)


@dataclass(frozen=True)
class Reporting:
    """The group's currency and its dated rate: how much of it one dollar is."""

    currency: str
    rate: Decimal
    rate_date: date
    source: str

    def of(self, amount_usd: Decimal) -> Decimal:
        """An amount in the group's currency, rounded once to its minor unit."""
        with localcontext() as context:
            context.prec = 60
            return (amount_usd * self.rate).quantize(minor_unit(self.currency), rounding=ROUND_HALF_UP)


def reporting(rates: pl.DataFrame | None, currency: str, last: date) -> Reporting | None:
    """The group's currency at the group's rate that held on a day; None without a rate."""
    row = _rate_row(rates, currency, last, provider=False)
    return None if row is None else Reporting(currency, Decimal(row["rate"]), row["rate_date"], str(row["source"]))


def in_dollars(bills: pl.DataFrame, rates: pl.DataFrame | None, last: date) -> tuple[pl.DataFrame, list[str]]:
    """Bill rows with `list_usd`, `contracted_usd`, `billed_usd`, `effective_usd` at the provider's rate,
    `report_usd` at the group's, and the currencies for which there is no rate at all: their rows are left out.

    The provider's own dollar figure of a row comes before its rate, that before a rate of the table.
    """
    currencies: Iterable[str] = bills["BillingCurrency"].unique().sort().to_list()
    told, missing = [], []
    for currency in currencies:
        theirs = Decimal(1) if currency == "USD" else rate_on(rates, currency, last, provider=True)
        ours = Decimal(1) if currency == "USD" else rate_on(rates, currency, last, provider=False)
        told.append((currency, theirs, ours))
    known = pl.DataFrame(told, schema={"BillingCurrency": pl.String(), "_theirs": USD, "_ours": USD}, orient="row")
    rows = bills.join(known, on="BillingCurrency", how="left", maintain_order="left")
    own = pl.col("x_BillingExchangeRate")
    rate = pl.when(pl.col("BillingCurrency") == "USD").then(pl.lit(Decimal(1)).cast(USD)).otherwise(
        pl.coalesce(pl.when(own > 0).then(own), "_theirs"))
    rows = rows.with_columns(_rate=rate, _own=pl.when(pl.col("BilledCost") != 0).then(pl.col("x_BilledCostUsd")))
    lost = pl.col("_rate").is_null() & pl.col("_own").is_null() & pl.col("_ours").is_null()
    missing = rows.filter(lost)["BillingCurrency"].unique().sort().to_list()
    rows = rows.filter(~lost)

    def dollars(name: str) -> pl.Expr:
        by_figure = pl.when(pl.col(name) == pl.col("BilledCost")).then(pl.col("_own")).otherwise(
            share(pl.col("_own"), pl.col(name), pl.col("BilledCost")))
        by_rate = pl.col(name) / pl.coalesce("_rate", "_ours")
        plain = pl.when(pl.col("BillingCurrency") == "USD").then(pl.col(name))
        return pl.coalesce(plain, pl.when(pl.col(name) == 0).then(ZERO), by_figure, by_rate).cast(USD)

    rows = rows.with_columns(
        billed_usd=dollars("BilledCost"), effective_usd=dollars("EffectiveCost"), list_usd=dollars("ListCost"),
        contracted_usd=dollars("ContractedCost"),
        rate_told=(pl.col("BillingCurrency") == "USD") | pl.col("_own").is_not_null() | pl.col("_rate").is_not_null(),
    )
    return rows.with_columns(report_usd=pl.when(
        (pl.col("BillingCurrency") == "USD") | pl.col("_ours").is_null()).then(pl.col("billed_usd")).otherwise(
        (pl.col("BilledCost") / pl.col("_ours")).cast(USD))).drop("_theirs", "_ours", "_rate", "_own"), missing


GROUP_SCHEMA: dict[str, pl.DataType] = {
    "issuer": pl.String(), "currency": pl.String(), "computed": USD, "billed": USD, "gap": USD, "rate": USD,
    "rate_date": pl.Date(), "rate_source": pl.String(),
}


def in_group_currency(lines: pl.DataFrame, group: Reporting) -> pl.DataFrame:
    """A month's sums per issuer in the group's currency: `GROUP_SCHEMA`. Each sum is rounded once, at the end."""
    sums = lines.group_by("issuer").agg(pl.col("computed_usd", "billed_usd").sum()).sort("issuer")
    rows = [(issuer, group.currency, ours := group.of(computed), theirs := group.of(billed), theirs - ours, group.rate,
             group.rate_date, group.source) for issuer, computed, billed in sums.iter_rows()]
    return pl.DataFrame(rows, schema=GROUP_SCHEMA, orient="row")
