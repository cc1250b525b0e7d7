"""What the nightly report is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.page import Section
from costops.transforms.tables import CORE_FINDING, CORE_INPUT, RUN_LEDGER


@dataclass(frozen=True)
class GateState:
    """A share that must not be exceeded, and whether it was."""

    name: str
    value: Decimal
    limit: Decimal
    failed: bool
    detail: str = ""


@dataclass(frozen=True)
class NightlyData:
    """Frames and values of one night. Sections whose frame is not given are left out."""

    day: date
    """The last day that is reported on, normally yesterday (UTC)."""
    generated_at: datetime
    """When the run started (UTC)."""
    spend_daily: pl.DataFrame
    """`out_spend_daily`: at least the last 60 days and the months they touch; more is cut off."""
    inputs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CORE_INPUT.schema))
    findings: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CORE_FINDING.schema))
    ledger: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RUN_LEDGER.schema))
    """`run_ledger` rows of this run."""
    gates: tuple[GateState, ...] = ()
    run_id: str = ""
    program_version: str = ""
    price_book: tuple[tuple[str, str], ...] = ()
    """Facts of the price book, name and value: version, entries, newest price, hash."""
    price_sources: pl.DataFrame | None = None
    """`price_source`, `requests`, `list_cost_usd`: what each price source priced; further columns are shown."""
    forecast: pl.DataFrame | None = None
    """`out_forecast` (or `unique_id, ds, yhat, lo80, hi80, lo95, hi95`); `total` is drawn, else the first series."""
    scores: pl.DataFrame | None = None
    """`out_forecast_score`."""
    backtest: pl.DataFrame | None = None
    """`out_backtest`: held-out days of the total."""
    moved: pl.DataFrame | None = None
    """Per model `model_id, days, before_usd, volume, mix, size, cache, price, after_usd`: what moved list cost."""
    month_end: pl.DataFrame | None = None
    """One row per series: spent, expected, low and high of the month."""
    budgets: pl.DataFrame | None = None
    """`out_budget`."""
    anomalies: pl.DataFrame | None = None
    """`out_anomaly`, or rows of events."""
    reconciliation: pl.DataFrame | None = None
    """`out_reconciliation`."""
    reconciliation_lines: pl.DataFrame | None = None
    """`out_reconciliation_line` of the same months: without it only gaps are told, not what was computed and billed."""
    completeness: pl.DataFrame | None = None
    """`counted_` and `logged_` `requests` and `tokens` per provider, model and day, or any frame."""
    allocation: pl.DataFrame | None = None
    unit_economics: pl.DataFrame | None = None
    recommendations: pl.DataFrame | None = None


@dataclass(frozen=True)
class Part:
    """One section and the same numbers for `report.json`."""

    name: str
    section: Section
    figures: Any


def records(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a frame as plain values, decimals kept."""
    return (frame.select(columns) if columns is not None else frame).to_dicts()
