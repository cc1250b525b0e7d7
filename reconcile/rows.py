"""The rows that a reconciliation writes: causes at the contract's grain, every line, and the evidence of each cause."""

from __future__ import annotations

import polars as pl

from costops.transforms.check import conform
from costops.transforms.tables import OUT_RECONCILIATION, OUT_RECONCILIATION_LINE

CONTRACT_KEY = ("issuer", "source", "account_id", "model_id", "unit", "day")
MOST_TEXTS = 5


def evidence_rows(lines: pl.DataFrame, causes: pl.DataFrame) -> pl.DataFrame:
    """Causes with what they rest on: both quantities, both prices, price ids, the bill's input and line."""
    facts = lines.select(
        "line_id", "scope", "issuer", "source", "usage_sources", "provider", "account_id", "project", "model_id",
        "unit", "tier", "region", "day", "currency", "computed_usd", "gap_usd", billed_usd=pl.col("report_usd"),
        logged_quantity=pl.col("logged"), billed_quantity=pl.coalesce("billed_quantity", "bought"),
        quantity_told=pl.col("billed_quantity").is_not_null(),
        computed_usd_per_million=(pl.when(pl.col("logged") > 0).then(
            pl.col("computed_usd").cast(pl.Float64) / pl.col("logged").cast(pl.Float64) * 1e6)).round_sig_figs(9),
        billed_usd_per_million=(pl.when(pl.col("bought_n") > 0).then(
            pl.col("list_usd").cast(pl.Float64) / pl.col("bought_n") * 1e6)).round_sig_figs(9),
        price_id=pl.coalesce("price_ids", "book_price_id"), billed_price_id=pl.col("alt_price_id"),
        _contract=pl.col("contract"), input_id=pl.col("input_id"), bill_line=pl.col("bill_line"),
        covered_quantity=pl.col("covered_quantity"), bill_rows=pl.col("bill_rows"), invoice_id=pl.col("invoice_id"))
    told = causes.join(facts, on="line_id", how="left", maintain_order="left")
    own = pl.coalesce("contract", pl.when(pl.col("cause") == "discount").then(pl.col("_contract")))
    return told.with_columns(contract=own).drop("_contract").sort(
        pl.col("cause_usd").abs(), "line_id", "cause", descending=[True, False, False])


def contract_rows(month: str, status: str, lines: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """`out_reconciliation`: lines summed to the contract's key, their causes likewise; the sums stay equal."""
    key = list(CONTRACT_KEY)
    totals = lines.with_columns(billed_usd=pl.col("report_usd")).group_by(key).agg(
        pl.col("computed_usd").sum(), pl.col("billed_usd").sum(), pl.col("gap_usd").sum(), lines=pl.len(),
        logged_quantity=pl.col("logged").sum(), billed_quantity=pl.col("bought").sum(),
        bill_rows=pl.col("bill_rows").sum())

    def some(name: str) -> pl.Expr:
        texts = pl.col(name).drop_nulls()
        return pl.when(texts.len() > 0).then(texts.unique().sort().head(MOST_TEXTS).str.join(" "))

    told = evidence.sort("line_id", "cause").group_by(*key, "cause", maintain_order=True).agg(
        pl.col("cause_usd").sum(), agreed=pl.col("agreed").all(), provider=pl.col("provider").min(),
        service_tier=some("tier"), region=some("region"), project_id=some("project"),
        usage_sources=some("usage_sources"),
        currency=some("currency"), price_id=some("price_id"), billed_price_id=some("billed_price_id"),
        contract=some("contract"), input_id=some("input_id"), bill_line=pl.col("bill_line").min(),
        invoice_id=some("invoice_id"), computed_usd_per_million=pl.col("computed_usd_per_million").max(),
        billed_usd_per_million=pl.col("billed_usd_per_million").max(), detail=pl.col("detail").drop_nulls().first())
    rows = told.filter(pl.col("cause_usd") != 0).join(totals, on=key, nulls_equal=True, how="left")
    rows = rows.with_columns(month=pl.lit(month), status=pl.lit(status))
    return conform(rows, OUT_RECONCILIATION).sort(*OUT_RECONCILIATION.sort, nulls_last=True)


def line_rows(month: str, lines: pl.DataFrame) -> pl.DataFrame:
    """`out_reconciliation_line`: every line, with both sides."""
    rows = lines.with_columns(
        month=pl.lit(month), billed_usd=pl.col("report_usd"), project_id=pl.col("project"),
        service_tier=pl.col("tier"),
        logged_quantity=pl.col("logged"), billed_list_usd=pl.col("list_usd"),
        kind=pl.coalesce("kind", pl.lit("usage")) if "kind" in lines.columns else pl.lit("usage"),
        matched=pl.col("on_bill") & pl.col("in_logs"), price_id=pl.coalesce("price_ids", "book_price_id"),
        description=pl.col("description") if "description" in lines.columns else pl.lit(None, dtype=pl.String))
    return conform(rows, OUT_RECONCILIATION_LINE).sort("line_id")
