"""Dated rates, the provider's and the group's; sums across currencies."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from costops.reconcile.currency import minor_unit, rate_on, total
from costops.transforms.errors import Usage

RATES = pl.DataFrame([
    (date(2026, 9, 14), "USD", "EUR", Decimal("0.9187"), "reference", "market_daily"),
    (date(2026, 10, 20), "USD", "EUR", Decimal("0.91"), "reference", "market_daily"),
    (date(2026, 9, 1), "USD", "EUR", Decimal("0.92"), "export", "provider_monthly"),
], schema={"rate_date": pl.Date(), "base": pl.String(), "quote": pl.String(), "rate": pl.Decimal(38, 18),
           "source": pl.String(), "kind": pl.String()}, orient="row")


def test_the_newest_rate_of_the_right_kind_holds() -> None:
    assert rate_on(RATES, "EUR", date(2026, 10, 28), provider=False) == Decimal("0.91")
    assert rate_on(RATES, "EUR", date(2026, 9, 28), provider=False) == Decimal("0.9187")
    assert rate_on(RATES, "EUR", date(2026, 10, 28), provider=True) == Decimal("0.92")
    assert rate_on(RATES, "GBP", date(2026, 10, 28), provider=False) is None


def test_amounts_of_two_currencies_have_no_sum() -> None:
    rows = pl.DataFrame({"BilledCost": [Decimal(1), Decimal(2)], "BillingCurrency": ["USD", "EUR"]})
    with pytest.raises(Usage, match="EUR and USD"):
        total(rows)
    assert total(rows.filter(pl.col("BillingCurrency") == "EUR")) == (Decimal(2), "EUR")


@pytest.mark.parametrize(("currency", "unit"), [("USD", "0.01"), ("JPY", "1"), ("KWD", "0.001"), ("krw", "1")])
def test_minor_units(currency: str, unit: str) -> None:
    assert minor_unit(currency) == Decimal(unit)
