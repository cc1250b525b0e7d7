"""Contracts: agreed discounts, spend commitments, prepaid credits and provisioned throughput.

They say what a bill was to be expected to differ from list by. Nothing here changes a list cost; list, effective and
billed cost stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.reconcile.exact import USD
from costops.transforms.billing.issuers import issuer_of
from costops.transforms.errors import Usage
from costops.transforms.window import Window, month_window

SCHEMA: dict[str, pl.DataType] = {
    "name": pl.String(), "kind": pl.String(), "provider": pl.String(), "model_id": pl.String(), "unit": pl.String(),
    "account_id": pl.String(), "valid_from": pl.Date(), "valid_to": pl.Date(), "discount_pct": pl.Decimal(38, 18),
    "amount_usd": USD, "period": pl.String(), "drawn_usd": USD,
}
"""`kind`: `discount`, `commitment`, `credit`, `provisioned`; `valid_to` is exclusive, NULL where there is no end;
NULL in model, unit or account is any; `period` of the amount: `month`, `year` (from `valid_from`), `once`;
`drawn_usd`: what was drawn of the first period before the lake knows of it."""


@dataclass(frozen=True)
class Deal:
    """One contract in one of its periods, as far as it lies in a month.

    `first` and `last` are the days of the month in which it holds (`last` exclusive), `start` and `end` its period.
    """

    name: str
    kind: str
    scope: str
    provider: str
    model_id: str | None
    amount_usd: Decimal
    drawn_usd: Decimal
    discount_pct: Decimal
    period: str
    start: date
    end: date | None
    first: date
    last: date

    def ends_in(self, window: Window) -> bool:
        """True where the period ends in the month, the last day of the month included."""
        return self.end is not None and window.start < self.end <= window.end

    def takes(self, model_id: str | None) -> bool:
        """True where the contract is for the model."""
        return self.model_id is None or self.model_id == model_id


def contracts(rows: list[Mapping[str, object]]) -> pl.DataFrame:
    """Contracts as a frame; absent columns are NULL. A discount outside of 0 to 100 % is refused by name."""
    frame = pl.DataFrame(rows, schema=SCHEMA, strict=False) if rows else pl.DataFrame(schema=SCHEMA)
    for name, pct in frame.filter(pl.col("kind") == "discount").select("name", "discount_pct").iter_rows():
        if pct is None or not 0 <= pct <= 100:
            raise Usage(f"contracts.{name}: discount_pct must lie between 0 and 100; got {pct}.")
    return frame


def in_force(deals: pl.DataFrame, month: str, kind: str | None = None) -> list[Deal]:
    """The contracts of a month by name, each once per period that the month touches."""
    window = month_window(month)
    mine = deals.filter((pl.col("valid_from") < window.end)
                        & (pl.col("valid_to").is_null() | (pl.col("valid_to") > window.start)))
    if kind is not None:
        mine = mine.filter(pl.col("kind") == kind)
    return [deal for row in mine.sort("name").to_dicts() for deal in _periods(row, window)]


def _periods(row: Mapping[str, Any], window: Window) -> list[Deal]:
    found, ever = [], row["valid_to"]
    for start, stop in _spans(row["period"], row["valid_from"], window):
        end = stop if ever is None else ever if stop is None else min(stop, ever)
        first, last = max(start, window.start, row["valid_from"]), min(end or window.end, window.end)
        if first < last:
            found.append(Deal(
                row["name"], row["kind"], issuer_of(row["provider"])[0] or row["provider"], row["provider"],
                row["model_id"], Decimal(row["amount_usd"] or 0),
                Decimal(row["drawn_usd"] or 0) if start <= row["valid_from"] else Decimal(0),
                Decimal(row["discount_pct"] or 0), row["period"] or "month", start, end, first, last))
    return found


def _spans(period: str | None, begin: date, window: Window) -> list[tuple[date, date | None]]:
    """The periods of a contract that may touch a month: the month, years from its first day, or all of it."""
    if period == "once":
        return [(begin, None)]
    if period == "year":
        return [(_year_on(begin, n), _year_on(begin, n + 1))
                for n in range(max(window.start.year - begin.year - 1, 0), window.end.year - begin.year + 1)]
    return [(window.start, window.end)]


def _year_on(begin: date, years: int) -> date:
    """The same day some years on; the 29th of February becomes the 1st of March."""
    try:
        return begin.replace(year=begin.year + years)
    except ValueError:
        return date(begin.year + years, 3, 1)


def agreed(lines: pl.DataFrame, deals: pl.DataFrame | None, month: str) -> pl.DataFrame:
    """`line_id`, `agreed_factor` (0.9 for ten percent off), `contract` of lines for which a discount was agreed.

    The contract that names most wins, then the later one. A line without a day is discounted where the contract
    holds for the whole month.
    """
    none = pl.DataFrame(schema={"line_id": pl.UInt32(), "agreed_factor": pl.Float64(), "contract": pl.String(),
                                "by_unit": pl.Boolean()})
    mine = deals.filter(pl.col("kind") == "discount") if deals is not None else none
    if deals is None or mine.is_empty():
        return none
    window = month_window(month)
    scopes = {p: issuer_of(p)[0] for p in mine["provider"].unique().to_list()}
    mine = mine.with_columns(
        _scope=pl.col("provider").replace_strict(scopes, return_dtype=pl.String),
        _named=pl.sum_horizontal(pl.col(n).is_not_null().cast(pl.Int8) for n in ("model_id", "unit", "account_id")),
        _end=pl.col("valid_to").fill_null(date(9999, 1, 1)))
    place = {p: issuer_of(p)[0] for p in lines["provider"].unique().to_list() if p is not None}
    asked = lines.select("line_id", "model_id", "unit", "account_id", "day", _scope=pl.col("provider").replace_strict(
        place, default=None, return_dtype=pl.String))
    met = asked.join(mine.drop("provider"), on="_scope", suffix="_of")
    any_of = pl.all_horizontal((pl.col(f"{n}_of").is_null() | (pl.col(f"{n}_of") == pl.col(n))).fill_null(value=False)
                               for n in ("model_id", "unit", "account_id"))
    first, last = pl.col("day").fill_null(window.start), pl.col("day").fill_null(window.end - timedelta(days=1))
    met = met.filter(any_of & (pl.col("valid_from") <= first) & (pl.col("_end") > last)).sort(
        "line_id", "_named", "valid_from", "name", descending=[False, True, True, False])
    return met.unique("line_id", keep="first", maintain_order=True).select(
        "line_id", agreed_factor=(1 - pl.col("discount_pct").cast(pl.Float64) / 100).round(9), contract="name",
        by_unit=pl.col("unit_of").is_not_null())
