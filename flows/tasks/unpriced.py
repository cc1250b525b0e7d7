"""Models without a price, as findings: listed, counted and bounded."""

from __future__ import annotations

import polars as pl

from costops.flows.tasks.run import Run
from costops.transforms.finding import findings
from costops.transforms.tables import CORE_FINDING, OUT_SPEND_DAILY

SOURCE = "prices"
"""The name under which these findings are kept."""


def note_unpriced(run: Run) -> None:
    """One finding per provider and model that has requests without a price, dated by the first of them."""
    daily = run.lake.read(OUT_SPEND_DAILY).filter(pl.col("unpriced_requests") > 0)
    rows = daily.group_by("provider", "model_id").agg(
        pl.col("day").min(), pl.col("unpriced_requests").sum(), pl.col("unpriced_low_usd", "unpriced_high_usd").sum(),
        pl.col("source").unique().sort().str.join(", "),
    ).sort("provider", "model_id")
    made = findings({
        "reason": "unpriced", "severity": "warning", "source": SOURCE, "day": row["day"], "line": None, "uri": None,
        "field": f"{row['provider']}/{row['model_id']}", "records": row["unpriced_requests"],
        "amount_usd": row["unpriced_high_usd"],
        "actual": f"no price; between {row['unpriced_low_usd']:f} and {row['unpriced_high_usd']:f} USD at the prices of "
                  f"its siblings (source {row['source']})",
    } for row in rows.iter_rows(named=True))
    scope = [part for part in run.lake.partitions(CORE_FINDING) if part["source"] == SOURCE]
    if scope or not made.is_empty():
        for part in run.lake.replace(CORE_FINDING, made, scope):
            run.partition("spend", CORE_FINDING, part)
