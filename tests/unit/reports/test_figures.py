"""Figures are exact, rounded once, and never lie about small or unknown amounts."""

from datetime import date
from decimal import Decimal

import pytest

from costops.transforms.reports.figures import (
    between,
    days_text,
    digits_for,
    exact,
    money,
    percent,
    plain,
    ratio,
    short,
    titled,
    value_text,
)


@pytest.mark.parametrize(("amount", "said"), [
    (Decimal("1234567.885"), "1,234,567.88"), (Decimal("1234567.895"), "1,234,567.90"),
    (Decimal("-3.5"), "\u22123.50"), (Decimal(0), "0.00"),
    (Decimal("0.0049"), "<0.01"), (Decimal("-0.0049"), "\u2212<0.01"), (None, "\u2013"),
    (Decimal("99999999999999999999999999.015"), "99,999,999,999,999,999,999,999,999.02"),
])
def test_money_is_rounded_once_and_what_is_not_zero_is_never_shown_as_zero(amount: Decimal | None, said: str) -> None:
    assert money(amount) == said


def test_a_sign_and_a_symbol_stand_before_the_digits() -> None:
    assert money(Decimal("12.3"), sign=True, symbol="$") == "+$12.30"
    assert money(Decimal("-12.3"), symbol="$") == "\u2212$12.30"


def test_exact_keeps_every_digit_and_no_exponent() -> None:
    assert exact(Decimal("1E-12")) == "0.000000000001"
    assert exact(Decimal("1200.500000000000")) == "1200.5"
    assert exact(Decimal("100")) == "100"


def test_an_open_range_is_said_to_be_open() -> None:
    assert between(Decimal(1), None) == "at least $1.00"
    assert between(Decimal(1), Decimal("2.5")) == "$1.00 to $2.50"
    assert between(None, None) == "unknown"


def test_shares_have_one_decimal_and_small_ones_are_not_zero() -> None:
    assert percent(ratio(1, 3)) == "33.3%"
    assert percent(ratio(1, 100_000)) == "<0.1%"
    assert percent(ratio(1, 0)) == "\u2013"


def test_small_amounts_get_more_digits() -> None:
    assert digits_for([Decimal("0.02"), None]) == 4
    assert digits_for([Decimal("0.02"), Decimal(3)]) == 2
    assert digits_for([]) == 2


def test_large_counts_are_short() -> None:
    assert [short(n) for n in (999, 1_500, 12_340_000, 123_400_000, 7_000_000_000)] == [
        "999", "1.5 k", "12.3 M", "123 M", "7.0 B"]


def test_control_and_direction_characters_become_a_mark() -> None:
    assert plain("a\x1b[31mb\u202ec\x00\u200b") == "a\ufffd[31mb\ufffdc\ufffd\ufffd"
    assert plain("two\nlines\tone") == "two lines one"
    assert len(plain("x" * 5000)) == 120


def test_a_span_of_days_is_said_short() -> None:
    assert days_text(date(2026, 10, 1), date(2026, 10, 30)) == "1\u201330 Oct 2026"
    assert days_text(date(2026, 9, 1), date(2026, 10, 30)) == "1 Sep \u2013 30 Oct 2026"


def test_values_are_set_by_type_and_name() -> None:
    assert titled("cause_usd") == "Cause (USD)"
    assert value_text(0.25, "chance_exceeded") == "25.0%"
    assert value_text(float("nan"), "x") == "\u2013"
    assert value_text(1234.5, "yhat") == "1,234.50"
    assert value_text([1, 2]) == "1, 2"
