"""What a month draws on commitments and credits, and what provisioned throughput costs per line that it served."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import polars as pl

from costops.reconcile.contracts import Deal, in_force
from costops.reconcile.exact import COUNT, USD, ZERO, share
from costops.transforms.window import month_window

SPEND_SCHEMA: dict[str, pl.DataType] = {
    "scope": pl.String(), "model_id": pl.String(), "day": pl.Date(), "cost_usd": USD,
}
"""What draws on commitments and credits: effective cost of usage."""

DRAWN_SCHEMA: dict[str, pl.DataType] = {
    "contract": pl.String(), "period_start": pl.Date(), "period_end": pl.Date(), "agreed_usd": USD,
    "drawn_before_usd": USD, "drawn_usd": USD, "remaining_usd": USD, "shortfall_usd": USD, "expired_usd": USD,
}
PROVISIONED_SCHEMA: dict[str, pl.DataType] = {
    "contract": pl.String(), "line_id": pl.UInt32(), "effective_usd": USD, "unused": pl.Boolean(),
}
Before = Mapping[tuple[str, date], Decimal]
"""(contract, first day of its period) -> dollars drawn in the months before."""

_PICO = Decimal(1).scaleb(-12)


def commitments(spend: pl.DataFrame, deals: pl.DataFrame, month: str, before: Before | None = None) -> pl.DataFrame:
    """Per spend commitment and period: committed, drawn before and in the month, what remains, and the shortfall.

    `spend` is `SPEND_SCHEMA`. A shortfall is due in the month in which the commitment's period ends.
    """
    window, rows = month_window(month), []
    for deal in in_force(deals, month, "commitment"):
        drawn, earlier = _spent(spend, deal), _before(deal, before)
        rest = max(deal.amount_usd - earlier - drawn, Decimal(0))
        rows.append((deal.name, deal.start, deal.end, deal.amount_usd, earlier, drawn, rest,
                     rest if deal.ends_in(window) else Decimal(0), Decimal(0)))
    return pl.DataFrame(rows, schema=DRAWN_SCHEMA, orient="row")


def prepaid(spend: pl.DataFrame, deals: pl.DataFrame, month: str,
            before: Before | None = None) -> pl.DataFrame:
    """Per prepaid credit: granted, drawn before and in the month, expired in it, and the balance at its end.

    Each day's spend draws on the credit that expires first. What is left on the day of expiry is lost: it becomes
    cost of that day without usage.
    """
    window = month_window(month)
    held = sorted(in_force(deals, month, "credit"), key=lambda d: (d.end or date.max, d.name))
    left = [max(d.amount_usd - _before(d, before), Decimal(0)) for d in held]
    drawn = [Decimal(0)] * len(held)
    daily = spend.group_by("scope", "day", "model_id").agg(pl.col("cost_usd").sum()).filter(
        pl.col("cost_usd") > 0).sort("day", "scope", "model_id", nulls_last=True)
    for scope, day, model, cost in daily.iter_rows():
        need = Decimal(cost)
        for at, deal in enumerate(held):
            if deal.scope == scope and deal.first <= day < deal.last and deal.takes(model):
                taken = min(need, left[at])
                left[at], drawn[at], need = left[at] - taken, drawn[at] + taken, need - taken
    rows = []
    for at, deal in enumerate(held):
        gone = left[at] if deal.ends_in(window) else Decimal(0)
        rows.append((deal.name, deal.start, deal.end, deal.amount_usd, _before(deal, before), drawn[at],
                     left[at] - gone, Decimal(0), gone))
    return pl.DataFrame(rows, schema=DRAWN_SCHEMA, orient="row")


def fee_of(deal: Deal, month: str) -> Decimal:
    """The fee of provisioned throughput in a month: it is paid by the hour, so by the days in which it holds."""
    window = month_window(month)
    whole = (window.end - window.start).days
    fee = deal.amount_usd / 12 if deal.period == "year" else deal.amount_usd
    return (fee * (deal.last - deal.first).days / whole).quantize(_PICO)


def provisioned(served: pl.DataFrame, deals: pl.DataFrame, month: str, billed: Mapping[str, Decimal] | None = None
                ) -> pl.DataFrame:
    """The month's fee of provisioned throughput spread over the lines that it served, to the last digit.

    `served`: `line_id`, `scope`, `model_id`, `quantity`, `weight_usd` (what it would cost at list; NULL or 0
    anywhere: tokens count alike). `billed`: what the bill charges for a contract, where it does; else the fee that
    was agreed. A fee that served nothing is one row of unused fee.
    """
    made = [pl.DataFrame(schema=PROVISIONED_SCHEMA)]
    for deal in in_force(deals, month, "provisioned"):
        fee = (billed or {}).get(deal.name, fee_of(deal, month)).quantize(_PICO)
        mine = served.filter((pl.col("scope") == deal.scope) & (pl.col("quantity") > 0))
        if deal.model_id is not None:
            mine = mine.filter(pl.col("model_id") == deal.model_id)
        made.append(_spread(mine.sort("line_id"), deal.name, fee))
    return pl.concat(made)


def _spread(lines: pl.DataFrame, name: str, fee: Decimal) -> pl.DataFrame:
    """A fee over lines by weight: each the difference of two rounded running totals, so that they sum to the fee."""
    if lines.is_empty():
        return pl.DataFrame([(name, None, fee, True)], schema=PROVISIONED_SCHEMA, orient="row")
    by_cost = lines["weight_usd"].null_count() == 0 and (lines["weight_usd"].sum() or 0) > 0
    weight = pl.col("weight_usd" if by_cost else "quantity").cast(COUNT)
    until = share(pl.lit(fee).cast(USD), weight.cum_sum(), weight.sum())
    return lines.with_columns(_until=until).select(
        contract=pl.lit(name), line_id=pl.col("line_id").cast(pl.UInt32),
        effective_usd=(pl.col("_until") - pl.col("_until").shift(1).fill_null(ZERO)).cast(USD),
        unused=pl.lit(value=False))


def _before(deal: Deal, before: Before | None) -> Decimal:
    return deal.drawn_usd + (before or {}).get((deal.name, deal.start), Decimal(0))


def _spent(spend: pl.DataFrame, deal: Deal) -> Decimal:
    mine = spend.filter((pl.col("scope") == deal.scope) & (pl.col("day") >= deal.first) & (pl.col("day") < deal.last))
    if deal.model_id is not None:
        mine = mine.filter(pl.col("model_id") == deal.model_id)
    return Decimal(mine["cost_usd"].sum() or 0)
