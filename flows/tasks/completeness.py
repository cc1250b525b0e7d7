"""What request logs told of what the provider counted."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.tasks.run import Gate, Run
from costops.transforms import query
from costops.transforms.tables import CORE_CHARGE

LOOKED_BACK = 35


def completeness(lake: Lake, last: date) -> pl.DataFrame | None:
    """Per provider, model and day: requests and tokens counted by the provider and logged; None without a usage feed."""
    first = str(last - timedelta(days=LOOKED_BACK))
    parts = [part for part in lake.partitions(CORE_CHARGE) if first <= part["day"] <= str(last)]
    if not parts:
        return None
    con = query.connect(scratch=lake.scratch)
    con.execute(f"CREATE VIEW core_charge AS SELECT * FROM {lake.relation(CORE_CHARGE, parts)}")
    rows = query.frame(con, query.statement("completeness"))
    con.close()
    return None if rows.is_empty() else rows


def completeness_gate(run: Run) -> None:
    """How much of what providers counted is logged, once days have filled: below `gates.completeness` the run fails."""
    least = run.settings.gates.completeness
    if not least:
        return
    filling = max((source.restatement_days for source in run.settings.sources), default=0)
    rows = completeness(run.lake, run.now.date() - timedelta(days=filling + 1))
    if rows is None:
        return
    counted, logged = rows["counted_tokens"], rows["logged_tokens"]
    seen = pl.min_horizontal("logged_tokens", "counted_tokens")
    total = int(counted.sum() or 0)
    share = Decimal(int(rows.select(seen.sum()).item() or 0)) / total if total else Decimal(1)
    worst = rows.with_columns(gap=counted - logged).sort("gap", descending=True).row(0, named=True)
    detail = f"{share:.2%} of the tokens that providers count are logged; least of {worst['model_id']} on {worst['day']}"
    run.gates.append(Gate("completeness", 1 - share, 1 - least, detail))
