"""Where each contract stands at the end of a month, and which causes it accounts for.

A contract never changes an amount of a line. It says of the causes `discount`, `commitment` and `credit` whether
they were agreed, by its name; what it makes of the month (drawn, short, expired, fee) is a row of its own beside
what the bill shows of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.reconcile.contracts import Deal, in_force
from costops.reconcile.drawdown import SPEND_SCHEMA, Before, commitments, fee_of, prepaid, provisioned
from costops.reconcile.exact import USD, ZERO, share
from costops.reconcile.explain import at_book
from costops.reconcile.tolerance import PER_LINE
from costops.transforms.window import month_window

SCHEMA: dict[str, pl.DataType] = {
    "contract": pl.String(), "kind": pl.String(), "scope": pl.String(), "issuer": pl.String(), "provider": pl.String(),
    "model_id": pl.String(), "period_start": pl.Date(), "period_end": pl.Date(), "agreed_usd": USD,
    "drawn_before_usd": USD, "drawn_usd": USD, "remaining_usd": USD, "shortfall_usd": USD, "expired_usd": USD,
    "expected_usd": USD, "billed_usd": USD, "difference_usd": USD, "as_agreed": pl.Boolean(),
    "served_quantity": USD, "served_list_usd": USD,
}
FAMILY = {"commitment_fee": "commitment", "commitment_drawdown": "commitment", "provisioned": "commitment",
          "credit": "credit", "prepaid_credit": "credit", "discount": "discount"}
"""Kind of a bill line that is no usage -> the cause that contracts of its kind account for."""

_CAUSE_OF = {"commitment": "commitment", "provisioned": "commitment", "credit": "credit", "discount": "discount"}
_TINY_SHARE = Decimal("0.000001")


@dataclass(frozen=True)
class Standing:
    """`contracts`: `SCHEMA`, a row per contract and period; `lines` and `causes` with what contracts say of them."""

    contracts: pl.DataFrame
    lines: pl.DataFrame
    causes: pl.DataFrame


def standing(lines: pl.DataFrame, causes: pl.DataFrame, deals: pl.DataFrame | None, month: str,
             before: Before | None = None) -> Standing:
    """The contracts of a month against its lines and their causes."""
    held = in_force(deals, month) if deals is not None else []
    if deals is None or not held:
        return Standing(pl.DataFrame(schema=SCHEMA), lines, causes.with_columns(contract=pl.lit(None, dtype=pl.String)))
    claims = _claims(lines, causes, held)
    shown = {(name, kind): (Decimal(amount), int(rows)) for name, kind, amount, rows in claims.group_by(
        "claimed", "family").agg(pl.col("cause_usd").sum(), pl.len()).iter_rows()}
    spend = _spend(lines, month)
    drawn = {(row["contract"], row["period_start"]): row for frame in (
        commitments(spend, deals, month, before), prepaid(spend, deals, month, before))
        for row in frame.iter_rows(named=True)}
    covered = lines.filter(pl.col("covered_quantity").fill_null(ZERO) > 0).with_columns(
        quantity=pl.col("covered_quantity"), weight_usd=at_book(pl.col("covered_quantity")))
    fees = {deal.name: shown[deal.name, "commitment"][0] for deal in held
            if deal.kind == "provisioned" and shown.get((deal.name, "commitment"), (Decimal(0), 0))[0] > 0}
    spread = provisioned(covered, deals, month, fees)
    rows = [_row(deal, month, drawn.get((deal.name, deal.start)), shown.get((deal.name, _CAUSE_OF[deal.kind])),
                 _promised(deal, lines), covered) for deal in held]
    names = dict(lines.filter(pl.col("issuer").is_not_null()).group_by("scope").agg(pl.col("issuer").min()).iter_rows())
    made = pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(
        issuer=pl.col("scope").replace_strict(names, default=pl.col("provider"), return_dtype=pl.String))
    return Standing(made, _lines(lines, spread), _causes(causes, claims, made))


def _claims(lines: pl.DataFrame, causes: pl.DataFrame, held: list[Deal]) -> pl.DataFrame:
    """Causes that a contract may account for: `line_id`, `cause`, `cause_usd`, `family`, `claimed` (its name).

    Of several contracts the one that the bill names wins, then the one with the line's model, then the first one.
    """
    facts = lines.select("line_id", "scope", "model_id", "contract", *(
        pl.col(name) if name in lines.columns else pl.lit(None, dtype=pl.String).alias(name)
        for name in ("kind", "commitment_id", "description")))
    asked = causes.filter(pl.col("cause").is_in(["commitment", "credit", "discount"])).join(
        facts, on="line_id").with_columns(
        family=pl.when(pl.col("kind").is_null()).then(pl.col("cause")).otherwise(
            pl.col("kind").replace_strict(FAMILY, default=None, return_dtype=pl.String))).drop_nulls("family")
    offers = pl.DataFrame(
        [(deal.scope, _CAUSE_OF[deal.kind], deal.name, deal.model_id, deal.kind == "provisioned", place)
         for place, deal in enumerate(held)],
        schema={"scope": pl.String(), "family": pl.String(), "claimed": pl.String(), "_model": pl.String(),
                "_hourly": pl.Boolean(), "_place": pl.Int64()}, orient="row")
    met = asked.join(offers, on=["scope", "family"]).filter(
        pl.col("_model").is_null() | pl.col("model_id").is_null() | (pl.col("_model") == pl.col("model_id")))
    text = pl.concat_str(pl.col("description").fill_null(""), pl.lit(" "), pl.col("commitment_id").fill_null(""))
    score = (pl.col("contract").eq_missing(pl.col("claimed")).cast(pl.Int8) * 8
             + text.str.to_lowercase().str.contains(pl.col("claimed").str.to_lowercase(), literal=True).cast(pl.Int8) * 4
             + (pl.col("_hourly") == (pl.col("kind") == "provisioned").fill_null(value=False)).cast(pl.Int8) * 2
             + (pl.col("_model") == pl.col("model_id")).fill_null(value=False).cast(pl.Int8))
    best = met.with_columns(_score=score).sort("line_id", "cause", "_score", "_place",
                                               descending=[False, False, True, False]).unique(
        ["line_id", "cause"], keep="first", maintain_order=True)
    # a discount line of the bill has no lines of usage to name its contract; one on a line needs the line's contract
    named = (pl.col("family") != "discount") | pl.col("kind").is_not_null() | pl.col("contract").eq_missing(
        pl.col("claimed"))
    return best.filter(named).select("line_id", "cause", "cause_usd", "family", "claimed")


def _spend(lines: pl.DataFrame, month: str) -> pl.DataFrame:
    """What draws on commitments and credits: usage as billed, less discounts; as computed where there is no bill."""
    last = month_window(month).end - timedelta(days=1)
    first = month_window(month).start
    billed = lines.filter("on_bill")["scope"].unique().to_list()
    usage = pl.col("kind").is_null() if "kind" in lines.columns else pl.lit(value=True)
    mine = lines.filter(usage | (pl.col("kind") == "discount") if "kind" in lines.columns else usage)
    paid = pl.col("billed_usd") - pl.col("credit_usd").fill_null(ZERO) - pl.col("commitment_usd").fill_null(ZERO)
    return mine.select(
        "scope", "model_id", day=pl.col("day").fill_null(last).clip(first, last),
        cost_usd=pl.when(pl.col("scope").is_in(billed)).then(paid).otherwise(pl.col("computed_effective_usd")).cast(USD),
    ).select(pl.col(name).cast(kind) for name, kind in SPEND_SCHEMA.items())


def _promised(deal: Deal, lines: pl.DataFrame) -> Decimal:
    """What a discount was to take off the month's bill, as a negative amount; 0 for other contracts."""
    if deal.kind != "discount":
        return Decimal(0)
    mine = lines.filter((pl.col("contract") == deal.name) & pl.col("on_bill"))
    pct = (1 - pl.col("agreed_factor")).round(9).cast(pl.Decimal(38, 9))
    asked = pl.when("granted").then(pl.col("asked_usd")).otherwise(pl.col("list_usd"))
    return -Decimal(mine.select(share(asked, pct, pl.lit(Decimal(1)).cast(USD)).sum()).item() or 0)


def _row(deal: Deal, month: str, drawn: dict[str, Any] | None, shown: tuple[Decimal, int] | None, promised: Decimal,
         covered: pl.DataFrame) -> tuple[object, ...]:
    billed, rows = shown or (Decimal(0), 0)
    told = drawn or {}
    candidates = _candidates(deal, month, told, promised)
    expected = min(candidates, key=lambda one: (abs(billed - one), candidates.index(one))) if billed else candidates[0]
    slack = PER_LINE * max(rows, 1) + abs(expected) * _TINY_SHARE
    served = covered.filter(pl.col("scope") == deal.scope)
    served = served if deal.model_id is None else served.filter(pl.col("model_id") == deal.model_id)
    hourly = deal.kind == "provisioned"
    agreed_usd = {"discount": None, "provisioned": fee_of(deal, month)}.get(deal.kind, deal.amount_usd)
    return (
        deal.name, deal.kind, deal.scope, None, deal.provider, deal.model_id, deal.start, deal.end, agreed_usd,
        told.get("drawn_before_usd"), -billed if deal.kind == "discount" else told.get("drawn_usd"),
        told.get("remaining_usd"), told.get("shortfall_usd"), told.get("expired_usd"), expected, billed,
        billed - expected, abs(billed - expected) <= slack,
        served["quantity"].sum() if hourly else None, served["weight_usd"].sum() if hourly else None)


def _candidates(deal: Deal, month: str, told: dict[str, Any], promised: Decimal) -> list[Decimal]:
    """What the bill may show of a contract, the likeliest first."""
    zero = Decimal(0)
    if deal.kind == "discount":
        return [promised]
    if deal.kind == "provisioned":
        return [fee_of(deal, month)]
    drawn = Decimal(told["drawn_usd"])
    if deal.kind == "credit":
        return [-drawn]
    # a shortfall at the end; or the commitment paid ahead, whole or by the month, less what usage drew of it
    short, fee = Decimal(told["shortfall_usd"]), deal.amount_usd
    parts = [fee, fee / 12] if deal.period == "year" else [fee]
    return [short, *parts, *(part - drawn for part in parts), -drawn, zero]


def _lines(lines: pl.DataFrame, spread: pl.DataFrame) -> pl.DataFrame:
    """Lines whose effective cost has their share of throughput, and a discount of their unit alone."""
    shares = spread.filter(~pl.col("unused")).group_by("line_id").agg(
        _fee=pl.col("effective_usd").sum(), _by=pl.col("contract").min())
    lines = lines.join(shares, on="line_id", how="left", maintain_order="left")
    factor = pl.col("agreed_factor").round(9).cast(pl.Decimal(38, 9))
    after = pl.when(pl.col("by_unit")).then(
        share(pl.col("computed_usd"), factor, pl.lit(Decimal(1)).cast(USD))).otherwise(pl.col("computed_effective_usd"))
    return lines.with_columns(
        computed_effective_usd=(after + pl.col("_fee").fill_null(ZERO)).cast(USD),
        contract=pl.coalesce("contract", "_by")).drop("_fee", "_by")


def _causes(causes: pl.DataFrame, claims: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    """Causes with the contract that accounts for them, agreed where the bill shows of it what it comes to."""
    kept = made.group_by("contract").agg(pl.col("as_agreed").all())
    told = claims.join(kept, left_on="claimed", right_on="contract").select("line_id", "cause", "claimed", "as_agreed")
    return causes.join(told, on=["line_id", "cause"], how="left", maintain_order="left").with_columns(
        agreed=pl.col("agreed") | pl.col("as_agreed").fill_null(value=False),
        contract=pl.when(pl.col("cause").is_in(["discount", "commitment", "credit"])).then(pl.col("claimed"))).drop(
        "claimed", "as_agreed")
