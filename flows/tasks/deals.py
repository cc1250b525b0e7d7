"""The configured contracts as the reconciliation takes them, and what earlier months drew on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal

import polars as pl

from costops.flows.runtime.contract import Contract
from costops.flows.runtime.lake import Lake
from costops.reconcile.contracts import contracts as contract_frame
from costops.transforms.tables import OUT_CONTRACT


def deals_of(told: tuple[Contract, ...]) -> pl.DataFrame | None:
    """`costops.reconcile.contracts.SCHEMA` of the configuration; None where it has no contract."""
    rows: list[Mapping[str, object]] = [{
        "name": one.name, "kind": one.kind, "provider": one.provider, "model_id": one.model_id, "unit": one.unit,
        "account_id": one.account_id, "valid_from": date.fromisoformat(one.start[:10]),
        "valid_to": date.fromisoformat(one.end[:10]) if one.end else None, "discount_pct": one.discount_pct,
        "amount_usd": one.amount_usd, "period": one.every, "drawn_usd": one.drawn_usd} for one in told]
    return contract_frame(rows) if rows else None


def drawn_before(lake: Lake, month: str) -> dict[tuple[str, date], Decimal]:
    """(contract, first day of its period) -> dollars that the months before drew, as the lake has them."""
    parts = [part for part in lake.partitions(OUT_CONTRACT) if part["month"] < month]
    rows = lake.read(OUT_CONTRACT, parts).filter(pl.col("kind").is_in(["commitment", "credit"])).group_by(
        "contract", "period_start").agg(pl.col("drawn_usd").sum())
    return {(name, start): Decimal(drawn) for name, start, drawn in rows.iter_rows()}


def months_after(told: tuple[Contract, ...], touched: Collection[str], billed: Collection[str]) -> set[str]:
    """The billed months after a touched one, where a contract runs over months: what they may draw has changed."""
    runs_on = any(one.kind in {"commitment", "credit"} and one.every != "month" for one in told)
    return {month for month in billed if runs_on and touched and month > min(touched)}
