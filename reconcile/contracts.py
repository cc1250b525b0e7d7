"""Contracts: agreed discounts, spend commitments, prepaid credits and provisioned throughput.

They say what a bill was to be expected to differ from list by. Nothing here changes a list cost; list, effective and
billed cost stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.reconcile.exact import USD
from costops.transforms.billing.issuers import issuer_of
from costops.transforms.errors import Usage
from costops.transforms.window import month_window

SCHEMA: dict[str, pl.DataType] = {
    "name": pl.String(), "kind": pl.String(), "provider": pl.String(), "model_id": pl.String(), "unit": pl.String(),
    "account_id": pl.String(), "valid_from": pl.Date(), "valid_to": pl.Date(), "discount_pct": pl.Decimal(38, 18),
    "amount_usd": USD, "period": pl.String(),
}
"""`kind`: `discount`, `commitment`, `credit`, `provisioned`; `valid_to` is exclusive, NULL where there is no end;
NULL in model, unit or account is any; `period`: `month`, `year`, `once`."""

CREDIT_SCHEMA: dict[str, pl.DataType] = {
    "contract": pl.String(), "granted_usd": USD, "drawn_before_usd": USD, "drawn_usd": USD, "expired_usd": USD,
    "balance_usd": USD, "expires": pl.Date(),
}
COMMITMENT_SCHEMA: dict[str, pl.DataType] = {
    "contract": pl.String(), "from": pl.Date(), "to": pl.Date(), "committed_usd": USD, "drawn_before_usd": USD,
    "drawn_usd": USD, "remaining_usd": USD, "shortfall_usd": USD,
}
PROVISIONED_SCHEMA: dict[str, pl.DataType] = {
    "contract": pl.String(), "model_id": pl.String(), "unit": pl.String(), "day": pl.Date(),
    "quantity": pl.Decimal(38, 6), "effective_usd": USD, "unused": pl.Boolean(),
}


def contracts(rows: list[Mapping[str, object]]) -> pl.DataFrame:
    """Contracts as a frame; absent columns are NULL. A discount outside of 0 to 100 % is refused by name."""
    frame = pl.DataFrame(rows, schema=SCHEMA, strict=False) if rows else pl.DataFrame(schema=SCHEMA)
    for name, pct in frame.filter(pl.col("kind") == "discount").select("name", "discount_pct").iter_rows():
        if pct is None or not 0 <= pct <= 100:
            raise Usage(f"contracts.{name}: discount_pct must lie between 0 and 100; got {pct}.")
    return frame


def agreed(lines: pl.DataFrame, deals: pl.DataFrame | None, month: str) -> pl.DataFrame:
    """`line_id`, `agreed_factor` (0.9 for ten percent off), `contract` of lines for which a discount was agreed.

    The contract that names most wins, then the later one. A line without a day is discounted where the contract
    holds for the whole month.
    """
    none = pl.DataFrame(schema={"line_id": pl.UInt32(), "agreed_factor": pl.Float64(), "contract": pl.String()})
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
        "line_id", agreed_factor=(1 - pl.col("discount_pct").cast(pl.Float64) / 100).round(9), contract="name")


def commitments(spend: pl.DataFrame, deals: pl.DataFrame, month: str,
                drawn_before: Mapping[str, Decimal] | None = None) -> pl.DataFrame:
    """Per spend commitment: what was committed, drawn before and in the month, what remains, and the shortfall.

    `spend`: `scope`, `day`, `cost_usd` (effective). A shortfall is due when the commitment's period ends in the month.
    """
    window = month_window(month)
    rows = []
    for deal in _active(deals, "commitment", month):
        scope = issuer_of(deal["provider"])[0]
        first, last = max(deal["valid_from"], window.start), min(deal["valid_to"] or date.max, window.end)
        drawn = _spent(spend, scope, first, last)
        before = (drawn_before or {}).get(deal["name"], Decimal(0))
        ends = deal["period"] == "month" or (deal["valid_to"] is not None and deal["valid_to"] <= window.end)
        if deal["period"] == "year" and not ends:
            start = deal["valid_from"]
            ends = any(window.start < date(y, start.month, min(start.day, 28)) <= window.end
                       for y in (window.end.year,) if date(y, start.month, min(start.day, 28)) > start)
        if deal["period"] == "month":
            before = Decimal(0)
        rest = max(deal["amount_usd"] - before - drawn, Decimal(0))
        rows.append((deal["name"], first, last, deal["amount_usd"], before, drawn, rest, rest if ends else Decimal(0)))
    return pl.DataFrame(rows, schema=COMMITMENT_SCHEMA, orient="row")


def credits(spend: pl.DataFrame, deals: pl.DataFrame, month: str,  # noqa: A001  the word of the trade
            drawn_before: Mapping[str, Decimal] | None = None) -> pl.DataFrame:
    """Per prepaid credit: granted, drawn before and in the month, expired in it, and the balance at its end.

    Each day's spend draws on the credit that expires first. What is left on the day of expiry is lost: it becomes
    cost of that day without usage.
    """
    window = month_window(month)
    held = sorted(_active(deals, "credit", month), key=lambda d: (d["valid_to"] or date.max, d["name"]))
    left = {d["name"]: d["amount_usd"] - (drawn_before or {}).get(d["name"], Decimal(0)) for d in held}
    drawn = dict.fromkeys(left, Decimal(0))
    daily = {(scope, day): cost for scope, day, cost in spend.group_by("scope", "day").agg(
        pl.col("cost_usd").sum()).iter_rows()}
    for day in window.days():
        for scope in sorted({issuer_of(d["provider"])[0] or "" for d in held}):
            need = daily.get((scope, day), Decimal(0))
            for deal in held:
                open_now = deal["valid_from"] <= day < (deal["valid_to"] or date.max)
                if open_now and issuer_of(deal["provider"])[0] == scope and need > 0:
                    taken = min(need, left[deal["name"]])
                    left[deal["name"]] -= taken
                    drawn[deal["name"]] += taken
                    need -= taken
    rows = []
    for deal in held:
        name, expires = deal["name"], deal["valid_to"]
        gone = left[name] if expires is not None and expires <= window.end else Decimal(0)
        before = (drawn_before or {}).get(name, Decimal(0))
        rows.append((name, deal["amount_usd"], before, drawn[name], gone, left[name] - gone, expires))
    return pl.DataFrame(rows, schema=CREDIT_SCHEMA, orient="row")


def provisioned(served: pl.DataFrame, deals: pl.DataFrame, month: str) -> pl.DataFrame:
    """The month's fee of provisioned throughput spread over the tokens it served, to the last digit.

    `served`: `scope`, `model_id`, `unit`, `day`, `quantity`, `weight_usd` (its list cost; NULL or 0: tokens count
    alike). A month that served nothing is one row of unused fee.
    """
    made = []
    for deal in _active(deals, "provisioned", month):
        fee = deal["amount_usd"] / 12 if deal["period"] == "year" else deal["amount_usd"]
        fee = fee.quantize(Decimal(1).scaleb(-18))
        mine = served.filter((pl.col("scope") == issuer_of(deal["provider"])[0]) & (pl.col("quantity") > 0))
        if deal["model_id"] is not None:
            mine = mine.filter(pl.col("model_id") == deal["model_id"])
        if mine.is_empty():
            made.append((deal["name"], deal["model_id"], None, None, Decimal(0), fee, True))
            continue
        mine = mine.sort("model_id", "unit", "day")
        by_cost = mine["weight_usd"].null_count() == 0 and (mine["weight_usd"].sum() or 0) > 0
        weights = [Decimal(w) for w in mine["weight_usd" if by_cost else "quantity"].to_list()]
        total, left, rest = sum(weights, Decimal(0)), fee, sum(weights, Decimal(0))
        for (model, unit, day, quantity), weight in zip(
                mine.select("model_id", "unit", "day", "quantity").iter_rows(), weights, strict=True):
            # what is left over what is left: rounding never adds up, the last row closes the sum
            part = left if weight == rest else (left * weight / rest).quantize(Decimal(1).scaleb(-18))
            left, rest = left - part, rest - weight
            made.append((deal["name"], model, unit, day, quantity, part, False))
        assert total >= 0  # noqa: S101  counts are not negative
    return pl.DataFrame(made, schema=PROVISIONED_SCHEMA, orient="row")


def _active(deals: pl.DataFrame, kind: str, month: str) -> list[dict[str, Any]]:
    window = month_window(month)
    mine = deals.filter((pl.col("kind") == kind) & (pl.col("valid_from") < window.end)
                        & (pl.col("valid_to").is_null() | (pl.col("valid_to") > window.start)))
    return mine.sort("name").to_dicts()


def _spent(spend: pl.DataFrame, scope: str | None, first: date, last: date) -> Decimal:
    mine = spend.filter((pl.col("scope") == scope) & (pl.col("day") >= first) & (pl.col("day") < last))
    return Decimal(mine["cost_usd"].sum() or 0)
