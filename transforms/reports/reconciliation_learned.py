"""What the month's bills teach: contracts, coverage, prices, and what was seen on one side only."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.figures import DASH, digits_for, plain, plural
from costops.transforms.reports.page import Block, Cell, Column, Note, Section, Table, Trace, money_cell, text_cell
from costops.transforms.reports.plain_tables import frame_table
from costops.transforms.reports.reconciliation_data import ReconciliationData
from costops.transforms.reports.reconciliation_lines import unit_said


def coverage(data: ReconciliationData) -> Section | None:
    """How much of what is billed is logged: where it is not all of it, and how many are whole."""
    if data.coverage is None:
        return None
    frame = data.coverage
    whole = 0
    if {"logged_quantity", "billed_quantity"} <= set(frame.columns):
        logged, billed = (pl.col(name).fill_null(0).cast(pl.Float64) for name in ("logged_quantity", "billed_quantity"))
        keys = [name for name in ("issuer", "model_id", "unit") if name in frame.columns]
        short = frame.filter(logged != billed)
        whole = frame.height - short.height
        frame = short.sort((logged - billed).abs(), *keys, descending=[True, *(False for _ in keys)])
    order = ("issuer", "model_id", "unit", "logged_quantity", "billed_quantity", "reported_quantity", "coverage")
    if "unit" in frame.columns:
        frame = frame.with_columns(pl.col("unit").replace_strict(
            {unit: unit_said(unit) for unit in frame["unit"].unique().drop_nulls()}, default=pl.col("unit")))
    frame = frame.select(name for name in order if name in frame.columns and frame[name].null_count() < frame.height)
    titles = {"logged_quantity": "Logged", "billed_quantity": "Billed", "model_id": "Model",
              "reported_quantity": "Counted by the provider", "coverage": "Logged of billed"}
    note = Note(f"Of {plural(whole, 'model and unit', 'models and units')} every token that is billed is logged.", "good")
    blocks: tuple[Block, ...] = (
        *((frame_table(frame, "Coverage by issuer", order=order, titles=titles),) if frame.height else ()),
        *((note,) if whole else ()))
    return Section("coverage", "Coverage", "How much of what was billed is in the logs, the largest difference first.",
                   blocks or (Note("Nothing was billed by the token."),))


_PRICE_KINDS = ("price", "unpriced_model")
_CONTRACT_KINDS = ("discount_not_granted", "contract_differs", "shortfall_due", "credit_expired", "credit_expires",
                   "throughput_unused")


_KINDS = {
    "price": "price differs", "unpriced_model": "no price in the book", "model_only_billed": "model: on the bill only",
    "model_only_logged": "model: in the logs only", "key_only_billed": "API key: on the bill only",
    "key_only_logged": "API key: in the logs only", "project_only_billed": "project: on the bill only",
    "project_only_logged": "project: in the logs only", "model_name": "two names of one model",
    "unlogged_usage": "billed, not logged",
}
"""What a learning is called."""


def learned(data: ReconciliationData, *, of_prices: bool) -> pl.DataFrame | None:
    """What the bill teaches about prices, or about what was seen on one side only."""
    if data.learnings is None:
        return None
    about = pl.col("kind").is_in(_PRICE_KINDS)
    found = data.learnings.filter(about if of_prices else ~about & ~pl.col("kind").is_in(_CONTRACT_KINDS))
    shown = (*_LEARNED, "service_tier", "region")
    words = {**_KINDS, **{kind: kind.replace("_", " ") for kind in found["kind"].unique() if kind not in _KINDS}}
    units = {unit: unit_said(unit) for unit in found["unit"].unique().drop_nulls()} if "unit" in found.columns else {}
    found = found.with_columns(
        pl.col("kind").replace_strict(words, default=pl.col("kind"), return_dtype=pl.String),
        *((pl.col("unit").replace_strict(units, default=pl.col("unit"), return_dtype=pl.String),) if units else ()))
    return found.select(name for name in shown if name in found.columns and found[name].null_count() < found.height)


def prices(data: ReconciliationData) -> Section | None:
    """Prices that the bill implies, and what to do about them."""
    found = learned(data, of_prices=True)
    if found is None:
        return None
    block: Block = frame_table(found, "Implied and booked prices", order=_LEARNED, titles=_TITLES) if (
        found.height) else _prices_hold(data)
    lead = "Amount by quantity of the bill, where it disagrees with the price book, with the correction to apply."
    return Section("prices", "Prices that the bill implies", lead, (block,))


def _prices_hold(data: ReconciliationData) -> Note:
    if data.lines is not None and "matched" in data.lines.columns and not data.lines["matched"].any():
        return Note("No price could be checked: no line of the month has both a bill and logged usage.", "warn")
    return Note("The bill implies the prices of the book.", "good")


def contracts(data: ReconciliationData) -> Section | None:
    """Each contract beside what the bill shows of it, and what to do where they differ."""
    if data.contracts is None or data.contracts.is_empty():
        return None
    frame = data.contracts.sort("contract", "period_start")
    digits = digits_for(frame["billed_usd"])

    def amount(value: Decimal | None, **more: Any) -> Cell:
        return Cell(DASH) if value is None else money_cell(value, digits=digits, **more)

    rows = tuple((
        text_cell(row["contract"], sub=f"{_CONTRACT[row['kind']]}, {plain(row['issuer'])}"
                  + (f", {plain(row['model_id'])}" if row["model_id"] else "")),
        amount(row["agreed_usd"]), amount(row["drawn_usd"]), amount(row["remaining_usd"]),
        amount(row["expected_usd"]), amount(row["billed_usd"]),
        amount(row["difference_usd"], sign=True, tone="" if row["as_agreed"] else "bad"))
        for row in frame.iter_rows(named=True))
    table = Table("Contracts", (
        Column("Contract"), Column("Agreed (USD)", "number"), Column("Drawn this month (USD)", "number"),
        Column("Left (USD)", "number"), Column("Due this month (USD)", "number"), Column("On the bill (USD)", "number"),
        Column("Difference (USD)", "number")), rows)
    blocks: tuple[Block, ...] = (table,)
    told = data.learnings.filter(pl.col("kind").is_in(_CONTRACT_KINDS)) if data.learnings is not None else None
    if told is not None and told.height:
        order = ("kind", "subject", "model_id", "amount_usd", "action")
        shown = told.select(name for name in order if told[name].null_count() < told.height)
        blocks += (frame_table(shown, "What the contracts ask for", order=order,
                               titles={**_TITLES, "subject": "Contract"}),)
    return Section("contracts", "Contracts", "What was agreed, what this month drew of it, and what the bill shows.",
                   blocks, (Trace("out_contract", f"SELECT * FROM out_contract WHERE month = '{data.sql_month}';"),))


_CONTRACT = {"discount": "discount", "commitment": "spend commitment", "credit": "prepaid credit",
             "provisioned": "provisioned throughput"}


def contract_sheet(data: ReconciliationData) -> dict[str, pl.DataFrame]:
    """The workbook's sheet of contracts, where there are any."""
    return {} if data.contracts is None or data.contracts.is_empty() else {"contracts": data.contracts.drop("scope")}


_LEARNED = ("kind", "subject", "model_id", "unit", "amount_usd", "book_usd_per_million", "billed_usd_per_million",
            "action")
_TITLES = {"book_usd_per_million": "Book, per million", "billed_usd_per_million": "Bill, per million",
           "amount_usd": "At stake (USD)", "model_id": "Model", "action": "What to do"}


def unmatched(data: ReconciliationData) -> Section | None:
    """What only the bill, or only the logs know."""
    found = learned(data, of_prices=False)
    if found is None:
        return None
    block: Block = frame_table(found, "Seen on one side only", order=_LEARNED, titles=_TITLES) if (
        found.height) else Note("Everything was seen on both sides.", "good")
    lead = ("Models, keys and projects of the bill without logs, and the reverse, by money. The same dollar may "
            "stand under its model, its project and its key: these amounts do not add up.")
    return Section("unmatched", "Seen on one side only", lead, (block,))
