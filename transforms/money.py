"""Money: exact decimals, one place for widths and the one rounding at the edge."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

ROW_SCALE = 12
"""Digits after the point of one request's cost: whole pico-dollars."""

PICO = 10**ROW_SCALE

MAX_ROW_PICO = 10**18 - 1
"""Largest cost of one row, DECIMAL(18,12): just under a million dollars."""


def usd(pico: int) -> Decimal:
    """Dollars of a whole number of pico-dollars, exactly."""
    return Decimal(pico).scaleb(-ROW_SCALE)


def cents(amount: Decimal, *, digits: int = 2) -> Decimal:
    """The published figure: rounded half even, once, to `digits` decimals (2 for USD, 0 for JPY, 3 for KWD)."""
    return amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
