"""Sums of `out_spend_daily` over periods and dimensions, exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.figures import days_text, money, percent, plain, ratio

ZERO = Decimal(0)
_TOKENS = ("input_tokens", "uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens",
           "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
_COSTS = ("uncached_input_cost_usd", "cache_read_cost_usd", "cache_write_5m_cost_usd", "cache_write_1h_cost_usd",
          "output_cost_usd")


@dataclass(frozen=True)
class Period:
    """Whole days, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """Every day of it."""
        return [self.first + timedelta(days=i) for i in range((self.last - self.first).days + 1)]

    @property
    def text(self) -> str:
        """As people say it."""
        return days_text(self.first, self.last)

    @property
    def sql(self) -> str:
        """The condition on `day`."""
        return f"day BETWEEN DATE '{self.first}' AND DATE '{self.last}'"

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of these days."""
        return frame.filter(pl.col("day").is_between(self.first, self.last))


def last_days(day: date, number: int) -> Period:
    """So many days that end with `day`."""
    return Period(day - timedelta(days=number - 1), day)


def month_to_date(day: date) -> Period:
    """The month of `day` up to `day`."""
    return Period(day.replace(day=1), day)


def month_before(period: Period) -> Period:
    """The same days of the month before, as far as it has them."""
    end = period.first - timedelta(days=1)
    return Period(end.replace(day=1), min(end, end.replace(day=1) + (period.last - period.first)))


def days_before(period: Period) -> Period:
    """As many days, right before."""
    length = period.last - period.first + timedelta(days=1)
    return Period(period.first - length, period.last - length)


def measures(spend: pl.DataFrame, keys: Sequence[str] = ()) -> pl.DataFrame:
    """Requests, tokens and costs per combination of `keys`, dearest first.

    `unbounded_requests` are unpriced ones of which no upper bound is known.
    """
    unbounded = (pl.col("unpriced_requests") > 0) & pl.col("unpriced_high_usd").is_null()
    sums = [
        pl.col("effective_cost_usd").sum().alias("cost_usd"), pl.col("list_cost_usd").sum(),
        pl.col("requests").sum(), pl.col("unpriced_requests").sum(),
        *(pl.col(name).sum() for name in (*_TOKENS, *_COSTS)),
        pl.col("unpriced_low_usd").sum(), pl.col("unpriced_high_usd").sum(),
        pl.col("unpriced_requests").filter(unbounded).sum().alias("unbounded_requests"),
    ]
    if not keys:
        return spend.select(sums)
    return spend.group_by(keys).agg(sums).sort(
        ["cost_usd", "requests", *keys], descending=[True, True, *(False for _ in keys)], nulls_last=True)


def measured(spend: pl.DataFrame, period: Period) -> dict[str, Any]:
    """The measures of a period as one row."""
    return measures(period.of(spend)).row(0, named=True)


def high_of(row: dict[str, Any]) -> Decimal | None:
    """The upper bound of what is unpriced; nothing where one of it has none."""
    return None if row["unbounded_requests"] else row["unpriced_high_usd"]


def cost_of(row: dict[str, Any]) -> Decimal | None:
    """The cost; nothing where not one request has a price, for unknown is not zero."""
    return None if row["unpriced_requests"] and row["unpriced_requests"] == row["requests"] else row["cost_usd"]


def per_thousand(row: dict[str, Any]) -> Decimal | None:
    """Cost of a thousand requests that have a price."""
    priced = row["requests"] - row["unpriced_requests"]
    return row["cost_usd"] * 1000 / priced if priced > 0 else None


def change_text(now: Decimal, before: Decimal | None, against: str) -> str:
    """How an amount compares with an earlier one."""
    if before is None:
        return "no earlier period to compare with"
    if before == 0:
        return f"nothing spent {against}"
    share = ratio(now - before, before)
    arrow = "\u25b2" if now > before else "\u25bc" if now < before else "\u25b6"
    return f"{arrow} {percent(share, sign=True)} on {against} ({money(before, symbol='$')})"


def covered(spend: pl.DataFrame, period: Period) -> bool:
    """True where the data begin no later than the period, so that a comparison is fair."""
    first = spend["day"].min()
    return isinstance(first, date) and first <= period.first


def by_day(spend: pl.DataFrame, period: Period, key: str) -> dict[Any, list[Decimal]]:
    """The daily cost of every value of `key`, a zero where there is none."""
    place = {day: i for i, day in enumerate(period.days)}
    out: dict[Any, list[Decimal]] = {}
    grouped = period.of(spend).group_by(key, "day").agg(pl.col("effective_cost_usd").sum())
    for value, day, cost in grouped.iter_rows():
        out.setdefault(value, [ZERO] * len(place))[place[day]] = cost
    return out


def labels(values: Iterable[Any], missing: str) -> dict[Any, str]:
    """A name to show for every value, unique also where two values look alike."""
    out: dict[Any, str] = {}
    used: set[str] = set()
    for value in values:
        text = missing if value is None or value == "" else plain(value, longest=60)
        shown, number = text, 2
        while shown in used:
            shown, number = f"{text} ({number})", number + 1
        used.add(shown)
        out[value] = shown
    return out
