"""Aggregate: hourly and daily spend of the days that changed, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.lost import incomplete
from costops.transforms import query
from costops.transforms.check import conform
from costops.transforms.tables import CORE_CHARGE, OUT_SPEND_DAILY, OUT_SPEND_HOURLY, Table
from costops.transforms.window import month_of


def aggregate(lake: Lake, days: Iterable[date]) -> tuple[list[date], set[date]]:
    """Bring `out_spend_hourly` and `out_spend_daily` up to date for some days.

    The days whose figures changed, and those whose sums stand as they are because a source lacks rows of them. A day
    without charges loses its rows.
    """
    days = set(days)
    held = incomplete(lake, days)
    if held:
        LOGGER.warning("spend: the sums of %d days stand as they are, the first %s: rows of a source are lost; restore "
                       "them, or delete the source's folder in core_input if they were meant to go", len(held), min(held))
    days -= held
    con = query.connect(scratch=lake.scratch)
    sources = {part["source"] for part in lake.partitions(CORE_CHARGE)}
    changed = []
    for day in sorted(days):
        scope = {"day": str(day)}
        rows = lake.relation(CORE_CHARGE, [{"source": name, "day": str(day)} for name in sorted(sources)])
        con.execute(f"CREATE OR REPLACE TEMP VIEW core_charge AS SELECT * FROM {rows}")
        hourly = _summed(con, OUT_SPEND_HOURLY)
        if lake.replace(OUT_SPEND_HOURLY, hourly, [scope]):
            changed.append(day)
    # also where no hour changed: a run may have died between the two tables
    for month in sorted({month_of(day) for day in days}):
        _daily(lake, con, month, {day for day in days if month_of(day) == month})
    return changed, held


def _daily(lake: Lake, con: query.Connection, month: str, days: set[date]) -> None:
    """Replace some days of a month; the others keep their rows."""
    scope = {"month": month}
    kept = lake.read(OUT_SPEND_DAILY, [scope]).filter(~pl.col("day").is_in(sorted(days)))
    rows = lake.relation(OUT_SPEND_HOURLY, [{"day": str(day)} for day in sorted(days)])
    con.execute(f"CREATE OR REPLACE TEMP VIEW out_spend_hourly AS SELECT * FROM {rows}")
    lake.replace(OUT_SPEND_DAILY, pl.concat([kept, _summed(con, OUT_SPEND_DAILY)]), [scope])


def _summed(con: query.Connection, table: Table) -> pl.DataFrame:
    columns = ", ".join(f"cast({f.name} AS {f.type.duckdb}) AS {f.name}" for f in table.fields)
    return conform(query.frame(con, f"SELECT {columns} FROM ({query.statement(table.name)})"), table)
