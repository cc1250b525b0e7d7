"""FOCUS 1.4's tolerance for invoices, and our gate."""

from __future__ import annotations

from decimal import Decimal

import pytest

from costops.reconcile.tolerance import agrees, gate, invoice_tolerance


@pytest.mark.parametrize(("rows", "difference", "passes"), [
    (5, "0.02", True), (5, "5.00", False), (1_000_000, "4.50", True), (1_000_000, "15.00", False),
])
def test_the_four_cases_of_the_specification(rows: int, difference: str, *, passes: bool) -> None:
    assert agrees(Decimal(difference), rows) is passes
    assert agrees(-Decimal(difference), rows) is passes


@pytest.mark.parametrize(("currency", "rows", "tolerance"), [
    ("USD", 1, "1.00"), ("JPY", 1, "100"), ("KWD", 1, "0.100"), ("USD", 1_000_000, "5"), ("JPY", 1_000_000, "500"),
    ("KWD", 1_000_000, "0.5"), ("kwd", 4, "0.100"),
])
def test_the_subunit_is_the_minor_unit_of_the_currency(currency: str, rows: int, tolerance: str) -> None:
    assert invoice_tolerance(rows, currency) == Decimal(tolerance)


def test_yen_may_differ_by_a_hundred_and_dinars_by_a_tenth() -> None:
    assert agrees(Decimal(100), 5, "JPY")
    assert not agrees(Decimal(101), 5, "JPY")
    assert agrees(Decimal("0.1"), 5, "KWD")
    assert not agrees(Decimal("0.101"), 5, "KWD")


def test_the_gate_allows_the_larger_of_a_share_and_half_a_cent_a_line() -> None:
    assert gate(Decimal(10_000), 10, Decimal("5.00")).passed
    assert not gate(Decimal(10_000), 10, Decimal("5.01")).passed
    assert gate(Decimal(1), 1000, Decimal("5.00")).passed
    assert "5.01 USD is unexplained" in gate(Decimal(10_000), 10, Decimal("5.01")).reason


def test_unpriced_usage_enters_as_a_range_and_can_fail_the_gate() -> None:
    narrow = gate(Decimal(10_000), 1, Decimal(0), unpriced_low_usd=Decimal(1), unpriced_high_usd=Decimal(2))
    wide = gate(Decimal(10_000), 1, Decimal(0), unpriced_low_usd=Decimal(1), unpriced_high_usd=Decimal(7))
    endless = gate(Decimal(10_000), 1, Decimal(0), unpriced_low_usd=Decimal(1), unpriced_high_usd=None)
    assert narrow.passed
    assert not wide.passed
    assert "1 to 7 USD" in wide.reason
    assert not endless.passed
