"""Publish: the night's report and tables to every target, `latest/` last."""

from __future__ import annotations

from datetime import date
from importlib.metadata import version
from io import BytesIO

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.tasks.completeness import completeness
from costops.flows.tasks.drivers import stretches
from costops.flows.tasks.run import Run
from costops.flows.tasks.step import step
from costops.flows.tasks.targets import publish_files
from costops.flows.tasks.watched import yesterday
from costops.transforms.reports.export import csv_bytes
from costops.transforms.reports.nightly import GateState, NightlyData, nightly_json, nightly_report
from costops.transforms.tables import (
    CORE_FINDING,
    CORE_INPUT,
    CORE_PRICE,
    OUT_ALLOCATION,
    OUT_ANOMALY,
    OUT_BACKTEST,
    OUT_BUDGET,
    OUT_FOCUS_DAILY,
    OUT_FORECAST,
    OUT_FORECAST_SCORE,
    OUT_RECOMMENDATION,
    OUT_SPEND_DAILY,
    OUT_UNIT_ECONOMICS,
    TABLE,
    Table,
)

TABLES_OUT = ("out_spend_daily", "out_reconciliation", "out_forecast", "out_forecast_score", "out_backtest", "out_anomaly",
              "out_budget", "out_allocation", "out_unit_economics", "out_recommendation", "out_focus_daily")
REPORT_DAYS = 120


@step(network=True)
def publish(run: Run) -> None:
    """Write `nightly/<day>/` to every target, then `latest/`; files that are as they were keep their time."""
    daily = run.lake.read(OUT_SPEND_DAILY, run.lake.partitions(OUT_SPEND_DAILY)[-5:])
    if daily.is_empty():
        return
    data = _data(run, daily)
    made = {"report.html": nightly_report(data).encode(), "report.json": nightly_json(data)}
    for name in TABLES_OUT:
        if name in TABLE and not (rows := _tonight(run.lake, TABLE[name], run.now.date())).is_empty():
            made[f"{name}.parquet"], made[f"{name}.csv"] = _parquet(rows), csv_bytes(rows)
    for place in publish_files(run.settings, made, run, folder=f"nightly/{run.now.date()}"):
        run.notes.setdefault("report", f"{place}/report.html")
    publish_months(run)


def publish_months(run: Run) -> None:
    """The reports of the months that this run reconciled, to every target."""
    for month, documents in sorted(run.notes.get("documents", {}).items()):
        for place in publish_files(run.settings, documents, run, folder=f"reconciliation/{month}", latest=False):
            run.notes.setdefault("month_report", f"{place}/report.html")


def _data(run: Run, daily: pl.DataFrame) -> NightlyData:
    """What the report is made from. It carries no time of day, so that the same figures give the same bytes."""
    lake, today = run.lake, {"day": str(run.now.date())}
    last: date = daily["day"].max()  # type: ignore[assignment]
    return NightlyData(
        day=last, generated_at=run.now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None),
        spend_daily=daily.filter((pl.lit(last) - pl.col("day")).dt.total_days() < REPORT_DAYS),
        inputs=lake.read(CORE_INPUT), findings=lake.read(CORE_FINDING),
        gates=tuple(GateState(gate.name, gate.value, gate.limit, gate.failed, gate.detail) for gate in run.gates),
        program_version=version("llm-costops"), price_book=_book_facts(lake),
        price_sources=run.notes.get("price_sources"),
        forecast=_some(lake, OUT_FORECAST, today), scores=_some(lake, OUT_FORECAST_SCORE, today),
        backtest=_some(lake, OUT_BACKTEST, today), moved=stretches(daily, min(last, yesterday(run))),
        anomalies=_some(lake, OUT_ANOMALY, today),
        budgets=_budgets(lake, today), completeness=completeness(lake, last),
        reconciliation=_reconciliation(lake), allocation=_allocation(lake), unit_economics=_economics(lake),
        recommendations=_recommendations(lake, today),
    )


def _some(lake: Lake, table: Table, part: dict[str, str]) -> pl.DataFrame | None:
    rows = lake.read(table, [part])
    return None if rows.is_empty() else rows


def _budgets(lake: Lake, part: dict[str, str]) -> pl.DataFrame | None:
    rows = _some(lake, OUT_BUDGET, part)
    return None if rows is None else rows.select(
        pl.col("budget").alias("name"), pl.col("amount_usd").alias("budget_usd"), "spent_usd",
        pl.col("expected_total").alias("expected_usd"), "chance_exceeded", "exhausted_on")


def _allocation(lake: Lake) -> pl.DataFrame | None:
    """Who was given what in the newest month."""
    rows = lake.read(OUT_ALLOCATION, lake.partitions(OUT_ALLOCATION)[-1:])
    return None if rows.is_empty() else rows.select(
        "month", "allocation", "from_team", "to_team", "share", "amount_usd")


def _economics(lake: Lake) -> pl.DataFrame | None:
    """Cost per unit on the newest day of each metric that usage is known for."""
    rows = lake.read(OUT_UNIT_ECONOMICS, lake.partitions(OUT_UNIT_ECONOMICS)[-2:]).filter(pl.col("status") == "joined")
    newest = rows.sort("day", maintain_order=True).unique(["source", "metric", "keys"], keep="last")
    return None if rows.is_empty() else newest.sort("metric", "keys").select(
        "day", "metric", "keys", "value", "spend_usd", "cost_usd")


def _recommendations(lake: Lake, part: dict[str, str]) -> pl.DataFrame | None:
    rows = _some(lake, OUT_RECOMMENDATION, part)
    return None if rows is None else rows.sort("saving_usd_month", descending=True, nulls_last=True).select(
        "kind", "subject", "saving_usd_month", "evidence", "how_to_check")


def _reconciliation(lake: Lake) -> pl.DataFrame | None:
    table = TABLE.get("out_reconciliation")
    if table is None:
        return None
    rows = lake.read(table, lake.partitions(table)[-1:])
    return None if rows.is_empty() else rows


def _book_facts(lake: Lake) -> tuple[tuple[str, str], ...]:
    book = lake.read(CORE_PRICE)
    if book.is_empty():
        return ()
    newest = book["recorded_at"].max()
    return (("Prices", f"{book.height:,}"), ("Models", f"{book.select('provider', 'model_id').n_unique():,}"),
            ("Feeds", ", ".join(sorted(book["price_source"].unique())[:6])), ("Recorded", str(newest)[:10]))


def _tonight(lake: Lake, table: Table, day: date) -> pl.DataFrame:
    """The table's rows of tonight, or of its last months; FOCUS rows are many: of the newest month."""
    if table.partition == ("day",):
        return lake.read(table, [{"day": str(day)}])
    return lake.read(table, lake.partitions(table)[-1 if table is OUT_FOCUS_DAILY else -3:])


def _parquet(rows: pl.DataFrame) -> bytes:
    body = BytesIO()
    rows.write_parquet(body, compression="zstd")
    return body.getvalue()
