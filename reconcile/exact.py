"""Exact products of money and counts on columns: 128-bit integers of pico-dollars, never a float."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

USD = pl.Decimal(38, 18)
"""Amounts of lines and causes: as bills tell them."""

COUNT = pl.Decimal(38, 6)
"""Quantities: tokens are whole, hours and drawn units may not be."""

ZERO = pl.lit(Decimal(0)).cast(USD)
_PICO = pl.Decimal(38, 12)
_ONE_PICO = pl.lit(Decimal("0.000000000001")).cast(_PICO)


def pico(amount: pl.Expr) -> pl.Expr:
    """Whole pico-dollars of an amount; digits beyond the twelfth are rounded."""
    return amount.cast(_PICO).to_physical()


def micro(count: pl.Expr) -> pl.Expr:
    """Millionths of a count."""
    return count.cast(COUNT).to_physical()


def usd(pico_dollars: pl.Expr) -> pl.Expr:
    """An amount of a whole number of pico-dollars."""
    return (pico_dollars.cast(pl.Decimal(38, 0)) * _ONE_PICO).cast(USD)


def share(amount: pl.Expr, part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """`amount` x part / whole, rounded half up to whole pico-dollars; NULL where the whole is 0."""
    over = micro(whole)
    sign = pl.when(over < 0).then(-1).otherwise(1)
    top, bottom = pico(amount) * micro(part) * sign, over.abs()
    return usd(pl.when(bottom != 0).then((2 * top + bottom) // (2 * bottom)))


def number(amount: pl.Expr) -> pl.Expr:
    """An amount as a float: to compare hypotheses with, never to book."""
    return amount.cast(pl.Float64)
