"""Sums of a reconciled month: per issuer, per model, and what usage without a price may cost."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from costops.reconcile.billed import Billed
from costops.reconcile.match import TOKENS, Matched


def summary_of(lines: pl.DataFrame, evidence: pl.DataFrame, bills: Billed) -> pl.DataFrame:
    """Per issuer: computed, billed and gap, what is unexplained, and the sum of each cause in its own column."""
    base = lines.group_by("scope", "issuer").agg(
        computed_usd=pl.col("computed_usd").sum(), computed_effective_usd=pl.col("computed_effective_usd").sum(),
        billed_usd=pl.col("report_usd").sum(), gap_usd=pl.col("gap_usd").sum(), lines=pl.len(),
        bill_rows=pl.col("bill_rows").fill_null(0).sum().cast(pl.Int64),
        matched_lines=(pl.col("on_bill") & pl.col("in_logs") & (pl.col("gap_usd") == 0)).sum().cast(pl.Int64),
        on_bill=pl.col("on_bill").any(), in_logs=pl.col("in_logs").any())
    by_cause = evidence.group_by("scope", "issuer", "cause").agg(pl.col("cause_usd").sum()).sort("cause")
    keys = ["scope", "issuer"]
    wide = by_cause.pivot("cause", index=keys, values="cause_usd") if by_cause.height else by_cause.select(keys)
    services = bills.other_services.group_by("scope", "issuer").agg(other_services_usd=pl.col("report_usd").sum())
    made = base.join(wide, on=["scope", "issuer"], how="left").join(services, on=["scope", "issuer"], how="left")
    return made.with_columns(
        outcome=pl.when(~pl.col("on_bill")).then(pl.lit("no_bill")).when(~pl.col("in_logs")).then(
            pl.lit("no_logs")).otherwise(pl.lit("compared"))).sort("issuer", "scope")


def coverage_of(lines: pl.DataFrame, match: Matched) -> pl.DataFrame:
    """Logged against billed tokens per issuer, model and unit; and what the provider's own usage report counts."""
    both = lines.filter(pl.col("unit").is_in(TOKENS) & pl.col("model_id").is_not_null())
    made = both.group_by("scope", "issuer", "model_id", "unit").agg(
        logged_quantity=pl.col("logged").sum(), billed_quantity=pl.col("bought").sum(),
        told=pl.col("billed_quantity").is_not_null().all())
    feed = match.feed.filter(pl.col("unit").is_not_null()).group_by("scope", "model_id", "unit").agg(
        reported_quantity=pl.col("quantity").sum())
    made = made.join(feed, on=["scope", "model_id", "unit"], how="left")
    return made.with_columns(coverage=pl.when(pl.col("billed_quantity") > 0).then(
        (pl.col("logged_quantity").cast(pl.Float64) / pl.col("billed_quantity").cast(pl.Float64)).round(6))).sort(
        "issuer", "model_id", "unit")


def bounds_of(match: Matched, lines: pl.DataFrame) -> tuple[Decimal, Decimal | None]:
    """What usage without a price may cost, where no bill prices it either."""
    billed = lines.filter(pl.col("on_bill") & (pl.col("unpriced") > 0)).select("scope", "model_id").unique()
    open_rows = match.bounds.join(billed, on=["scope", "model_id"], how="anti")
    if open_rows["high_usd"].null_count():
        return Decimal(open_rows["low_usd"].sum() or 0), None
    return Decimal(open_rows["low_usd"].sum() or 0), Decimal(open_rows["high_usd"].sum() or 0)
