"""What request logs told of what the provider counted."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from costops.flows.runtime.lake import Lake
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
