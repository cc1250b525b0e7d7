"""What the summary of a month says beside its table: sides that are missing, and the group's currency."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from costops.transforms.reports.figures import days_text, plain
from costops.transforms.reports.page import Cell, Column, Note, Table, money_cell, text_cell
from costops.transforms.reports.reconciliation_data import ReconciliationData
from costops.transforms.reports.reconciliation_lines import sides_of

_SIDES = {
    "no usage log": "{issuer} sent a bill, and no usage log of it has been read: its lines can be checked against its own "
                    "sums and its invoice, not against usage. All of it stands as billed, not logged.",
    "no bill yet": "{issuer} has usage and no bill of this month yet: all of it stands as logged, not billed, until one "
                   "comes.",
}


def one_sided(data: ReconciliationData) -> list[Note]:
    """What cannot be reconciled, because a side is missing."""
    return [Note(_SIDES[side].format(issuer=plain(issuer or "One issuer")), "warn")
            for issuer, side in sorted(sides_of(data.lines).items(), key=str) if side in _SIDES]


def in_group(data: ReconciliationData) -> list[Table]:
    """The same sums in the group's currency, at its dated rate."""
    if data.group is None or data.group.is_empty():
        return []
    currency, rate, at, source = data.group.select("currency", "rate", "rate_date", "rate_source").row(0)
    sums = data.group.select(pl.col("computed", "billed", "gap").sum()).row(0)

    def row(name: Cell, *amounts: Decimal) -> tuple[Cell, ...]:
        return (name, *(money_cell(amount, sign=place == 2) for place, amount in enumerate(amounts)))

    return [Table(f"In {plain(currency)}", (Column("Issuer"), *(
        Column(f"{title} ({plain(currency)})", "number") for title in ("Computed", "Billed", "Gap"))),
        tuple(row(text_cell(one[0]), *one[1:]) for one in data.group.select(
            "issuer", "computed", "billed", "gap").iter_rows()), foot=row(Cell("Total"), *sums),
        note=f"1 USD is {rate.normalize():f} {plain(currency)}, the rate of {days_text(at, at)} ({plain(source)}).")]
