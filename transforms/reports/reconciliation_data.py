"""What the monthly report is made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl


@dataclass(frozen=True)
class ReconciliationData:
    """Frames and values of one month."""

    month: str
    generated_at: datetime
    causes: pl.DataFrame
    """`out_reconciliation`: one row per cause of a gap; further columns are evidence."""
    lines: pl.DataFrame | None = None
    """`out_reconciliation_line`: every line, also those without a gap. Without it only lines with a cause count."""
    status: str = "provisional"
    coverage: pl.DataFrame | None = None
    """Per issuer: billed requests or tokens, and how much of it is logged."""
    learnings: pl.DataFrame | None = None
    """What the bill teaches: `kind` says what (`price`, `model_only_billed` ...), `amount_usd` how much it is about."""
    contracts: pl.DataFrame | None = None
    """`out_contract`: where each contract stands at the end of the month."""
    corrections: pl.DataFrame | None = None
    """`out_reconciliation_correction`: what changed since the lock."""
    invoices: pl.DataFrame | None = None
    """Invoices against their bill lines."""
    evidence: pl.DataFrame | None = None
    """Evidence rows; without it, the further columns of `causes`."""
    group: pl.DataFrame | None = None
    """Sums per issuer in the group's currency: `issuer`, `currency`, `computed`, `billed`, `gap`, and the rate."""
    gates: tuple[tuple[str, bool, str], ...] = ()
    """Name, passed, detail."""
    lock_hash: str = ""
    locked_at: datetime | None = None
    snapshots: tuple[str, ...] = ()
    """The bill snapshots that the figures rest on."""
    run_id: str = ""
    program_version: str = ""
    prepared_by: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def sql_month(self) -> str:
        """The month as it may stand in a query that a report shows."""
        return "".join(char for char in self.month if char.isdigit() or char == "-")
