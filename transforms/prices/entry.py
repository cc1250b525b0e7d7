"""One published price, as every feed states it before the book merges them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from costops.transforms.errors import Usage
from costops.transforms.money import PICO
from costops.transforms.units import UNIT

EVER = datetime(1, 1, 1)  # noqa: DTZ001  columns hold UTC without a zone
NEVER = datetime(9999, 12, 31)  # noqa: DTZ001
NO_LIMIT = 2**63 - 1
GLOBAL = "global"
LARGEST_RATE = 10**15
"""No unit costs a thousand dollars a piece: a higher figure is a slip of units."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price of one unit: `price_usd` dollars for `per` units, in a window, a context range, a tier, a region.

    Windows are half open, in UTC; context runs from `min_input` (inclusive) to `max_input` (exclusive) tokens of
    total input. `schedule` names hours and days, `in_schedule` whether the price holds inside or outside of them.
    """

    provider: str
    model_id: str
    unit: str
    price_usd: Decimal
    per: int
    source: str
    region: str = GLOBAL
    service_tier: str = "standard"
    mode: str = ""
    min_input: int = 0
    max_input: int = NO_LIMIT
    schedule: str = ""
    in_schedule: bool = False
    minimum: int = 0
    valid_from: datetime = EVER
    valid_to: datetime = NEVER
    date_basis: str = "open"
    zone: str = "UTC"
    note: str = ""
    rank: int = 0

    def until(self, instant: datetime) -> Price:
        """The same price, ended."""
        return replace(self, valid_to=min(self.valid_to, instant))


def clean(figure: Decimal) -> Decimal:
    """A published figure without the dust of binary floats: at most 15 significant digits."""
    if len(figure.as_tuple().digits) <= 15:
        return figure
    return Decimal(f"{figure:.15g}")


@lru_cache(maxsize=1 << 16)
def rate(price_usd: Decimal, per: int) -> tuple[int, int]:
    """Pico-dollars of one unit, as a fraction in lowest terms."""
    top, bottom = price_usd.as_integer_ratio()
    numerator, denominator = top * PICO, bottom * per
    common = _gcd(numerator, denominator)
    return numerator // common, denominator // common


def problem(price: Price) -> str | None:
    """Why a price must not enter the book; None where it may."""
    found = None
    if price.unit not in UNIT:
        found = f"unknown unit {price.unit!r}: name one of {', '.join(UNIT)}"
    elif not price.price_usd.is_finite() or price.price_usd < 0:
        found = f"price {price.price_usd} is not a finite number of at least 0"
    elif price.per <= 0 or price.price_usd * PICO > LARGEST_RATE * price.per:
        found = f"price {price.price_usd} per {price.per} is above a thousand dollars a unit: check the unit"
    elif price.valid_from >= price.valid_to:
        found = f"valid from {price.valid_from} to {price.valid_to} is empty"
    elif not 0 <= price.min_input < price.max_input:
        found = f"context {price.min_input} to {price.max_input} is empty"
    elif not price.provider or not price.model_id:
        found = "provider and model must be named"
    return found


def instant(text: str) -> datetime:
    """UTC without a zone of an ISO instant that names its zone; refuses one that does not."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"price book: {text!r} is no instant: write 2026-10-20T00:00+00:00") from None
    if moment.tzinfo is None:
        raise Usage(f"price book: {text!r} names no zone: write 2026-10-20T00:00+00:00")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a or 1
