"""Bills that came and were not taken: the newest telling of a period is incomplete, or smaller than the one in force."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from costops.flows.tasks.run import Gate, Run
from costops.transforms.tables import CORE_BILL_SNAPSHOT, CORE_FINDING

NOT_TAKEN = ("refused", "incomplete")


def delivery_gate(run: Run) -> Gate:
    """Fails while the newest telling of any period was not taken: the figures of the one before stand so long."""
    parts = {part["source"] for part in run.lake.partitions(CORE_BILL_SNAPSHOT)}
    findings = run.lake.read(CORE_FINDING, [part for part in run.lake.partitions(CORE_FINDING) if part["source"] in parts])
    held = not_taken(run.lake.read(CORE_BILL_SNAPSHOT), findings)
    told = "; ".join(f"{source} {period}: {status}, {reason}" for source, period, status, reason in held.iter_rows())
    return Gate("bill_deliveries", Decimal(held.height), Decimal(0), told)


def not_taken(snapshots: pl.DataFrame, findings: pl.DataFrame) -> pl.DataFrame:
    """Source, period, status and reason of the newest telling, where it is not the one that counts.

    `findings` are those of the last reading: a snapshot that was refused once stays known, its finding does not.
    """
    key = ["source", "billing_period"]
    counts = snapshots.filter(pl.col("status") == "current").group_by(key).agg(since=pl.col("as_of").max())
    alive = findings.filter(pl.col("reason").is_in([f"snapshot_{status}" for status in NOT_TAKEN])).select(
        "source", pl.col("field").alias("billing_period")).unique()
    late = snapshots.filter(pl.col("status").is_in(NOT_TAKEN)).join(alive, on=key, how="semi").join(
        counts, on=key, how="left").filter(
        pl.col("since").is_null() | pl.col("as_of").is_null() | (pl.col("as_of") >= pl.col("since")))
    return late.sort(*key, "as_of", nulls_last=True, maintain_order=True).unique(
        key, keep="last", maintain_order=True).select(*key, "status", "reason")
