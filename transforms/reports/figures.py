"""Figures in words: money from exact decimals, counts, shares, changes, days, and text that is safe to show."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from costops.transforms.money import cents

MINUS = "\u2212"
DASH = "\u2013"
NOTHING = "\u2013"
_LONGEST = 120
_STEPS = ((10**15, "P"), (10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def plain(value: object, *, longest: int = _LONGEST) -> str:
    """Text on one line; control and direction characters become a visible mark, what is too long is cut."""
    text = "".join(_shown(char) for char in str(value))
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def _shown(char: str) -> str:
    if char in "\t\n\r":
        return " "
    return "\ufffd" if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else char


def money(amount: Decimal | None, *, digits: int = 2, sign: bool = False, symbol: str = "") -> str:
    """Dollars rounded once, with thousands separators; what is not zero is never shown as zero."""
    if amount is None:
        return NOTHING
    least = Decimal(1).scaleb(-digits)
    shown = cents(amount, digits=digits)
    mark = MINUS if amount < 0 else ("+" if sign and amount > 0 else "")
    if shown == 0 and amount != 0:
        return f"{mark}<{symbol}{least}"
    return f"{mark if shown else ''}{symbol}{abs(shown):,}"


def digits_for(amounts: Iterable[Decimal | None]) -> int:
    """Two decimals, or four where all amounts are under a dollar."""
    largest = max((abs(amount) for amount in amounts if amount is not None), default=Decimal(1))
    return 4 if 0 < largest < 1 else 2


def between(low: Decimal | None, high: Decimal | None, *, digits: int = 2) -> str:
    """A range of dollars; an open end is said, not guessed."""
    if low is None and high is None:
        return "unknown"
    if high is None:
        return f"at least {money(low, digits=digits, symbol='$')}"
    return f"{money(low or Decimal(0), digits=digits, symbol='$')} to {money(high, digits=digits, symbol='$')}"


def exact(amount: Decimal | None) -> str:
    """All digits, without an exponent and without trailing zeros."""
    if amount is None:
        return ""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def count(number: int | None) -> str:
    """A whole number with thousands separators."""
    return NOTHING if number is None else f"{number:,}".replace("-", MINUS)


def short(number: int | None) -> str:
    """A large whole number to three digits: 12.3 M."""
    if number is None:
        return NOTHING
    for step, name in _STEPS:
        if abs(number) >= step:
            value = Decimal(number) / step
            digits = 0 if abs(value) >= 100 else 1
            return f"{cents(value, digits=digits)} {name}".replace("-", MINUS)
    return count(number)


def ratio(part: Decimal | int | None, whole: Decimal | int | None) -> Decimal | None:
    """Part of a whole to nine places, or nothing where there is no whole."""
    if part is None or not whole:
        return None
    return (Decimal(part) / Decimal(whole)).quantize(Decimal("1e-9"), rounding=ROUND_HALF_EVEN)


def percent(share: Decimal | None, *, sign: bool = False) -> str:
    """A share in percent to one decimal."""
    if share is None:
        return NOTHING
    value = share * 100
    shown = cents(value, digits=1)
    if shown == 0 and value != 0:
        return "<0.1%" if value > 0 else f"{MINUS}<0.1%"
    mark = MINUS if shown < 0 else ("+" if sign and shown > 0 else "")
    return f"{mark}{abs(shown):,}%"


def day_text(value: date | None) -> str:
    """A day as people write it: 30 Oct 2026."""
    return NOTHING if value is None else f"{value.day} {value:%b %Y}"


def days_text(first: date, last: date) -> str:
    """A span of days, said as short as it can be."""
    if first == last:
        return day_text(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}{DASH}{day_text(last)}"
    head = f"{first.day} {first:%b}" if first.year == last.year else day_text(first)
    return f"{head} {DASH} {day_text(last)}"


def instant_text(value: datetime) -> str:
    """An instant to the minute, UTC; midnight is just a day."""
    if not (value.hour or value.minute or value.second):
        return day_text(value.date())
    return f"{day_text(value.date())}, {value:%H:%M} UTC"


def dimensions_said(text: str) -> str:
    """Series as people say them: `model_id=gpt-5 80%` becomes `model gpt-5 80%`."""
    return re.sub(r"\b(\w+?)(?:_id)?=", r"\1 ", text)


def plural(number: int, noun: str, many: str | None = None) -> str:
    """A number and its noun."""
    return f"{count(number)} {noun if number == 1 else (many or noun + 's')}"


def titled(column: str) -> str:
    """A column name as a heading: `cause_usd` becomes `Cause (USD)`."""
    text, unit = (column[:-4], " (USD)") if column.endswith("_usd") else (column, "")
    words = text.replace("_", " ").strip()
    return (words[:1].upper() + words[1:] if words else column.upper()) + unit


def value_text(value: Any, column: str = "", *, digits: int = 2) -> str:
    """Any value of a frame as text, by its type and its column's name."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float | Decimal):
        return _number_text(value, column, digits)
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, date):
        return day_text(value)
    if isinstance(value, list):
        return ", ".join(value_text(item) for item in value)
    return plain(value)


def _number_text(value: int | float | Decimal, column: str, digits: int) -> str:
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return NOTHING
        if not (column.endswith("_usd") or _is_share(column)):
            return _plain_number(value)
        value = Decimal(str(round(value, 12)))
    if _is_share(column):
        return percent(value)
    whole = not column.endswith("_usd") and "amount" not in column and value == value.to_integral_value()
    return count(int(value)) if whole else money(value, digits=digits)


def _plain_number(value: float) -> str:
    return (f"{value:,.2f}" if abs(value) >= 10 or value == 0 else f"{value:.3g}").replace("-", MINUS)


def _is_share(column: str) -> bool:
    return column.endswith(("_share", "chance_exceeded", "coverage")) or column in {"share", "wape", "mape"}
