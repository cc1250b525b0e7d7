"""Report sections that look ahead or aside: forecast, budgets, anomalies, reconciliation, allocation, advice."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.charts import forecast_days
from costops.transforms.reports.figures import day_text, money
from costops.transforms.reports.nightly_data import NightlyData, Part, records
from costops.transforms.reports.page import Block, Cell, Chart, Column, Note, Section, Table, Trace, money_cell
from costops.transforms.reports.plain_tables import frame_table
from costops.transforms.reports.reconciliation_lines import by_issuer
from costops.transforms.reports.totals import last_days, measures

_HISTORY = 60


def forecast(data: NightlyData) -> Part | None:
    """What is expected, with the band that it should stay in, and the month's end."""
    if data.forecast is None and data.month_end is None and data.budgets is None:
        return None
    blocks: list[Block] = []
    figures: dict[str, Any] = {}
    traces = []
    if data.forecast is not None and not data.forecast.is_empty():
        blocks.append(_chart(data, data.forecast))
        figures["forecast"] = records(data.forecast)
        traces.append(Trace("out_forecast", "SELECT * FROM out_forecast WHERE unique_id = 'total' ORDER BY ds;"))
    if data.month_end is not None:
        blocks.append(frame_table(data.month_end, "Expected at the end of the month", headed=True))
        figures["month_end"] = records(data.month_end)
    if data.budgets is not None:
        order = ("name", "team", "period", "budget_usd", "amount_usd", "spent_usd", "expected_usd", "chance_exceeded",
                 "exhausted_on")
        blocks.append(frame_table(data.budgets, "Budgets", order=order, headed=True))
        figures["budgets"] = records(data.budgets)
        traces.append(Trace("out_budget", "SELECT * FROM out_budget;"))
    lead = "Dark is what was spent, dashed what is expected; the bands hold 80 and 95 of 100 days."
    return Part("outlook", Section("forecast", "Forecast and budgets", lead, tuple(blocks), tuple(traces)), figures)


def _chart(data: NightlyData, frame: pl.DataFrame) -> Chart:
    ids = frame["unique_id"].unique().sort().to_list()
    chosen = "total" if "total" in ids else ids[0]
    ahead = [{**row, "ds": _day(row["ds"])} for row in
             frame.filter(pl.col("unique_id") == chosen).sort("ds").iter_rows(named=True)]
    period = last_days(data.day, _HISTORY)
    past = measures(period.of(data.spend_daily), ["day"]).sort("day")
    actual = [(row["day"], row["cost_usd"]) for row in past.iter_rows(named=True)] if chosen == "total" else []
    names = [name for name in ("yhat", "lo80", "hi80", "lo95", "hi95") if name in frame.columns]
    titles = {"yhat": "Expected", "lo80": "Low, 80%", "hi80": "High, 80%", "lo95": "Low, 95%", "hi95": "High, 95%"}
    table = Table("Forecast per day, US dollars", (Column("Day"), *(Column(titles[name], "number") for name in names)),
                  tuple((Cell(day_text(row["ds"])), *(money_cell(_usd(row[name])) for name in names)) for row in ahead))
    whole = sum((_usd(row["yhat"]) or Decimal(0) for row in ahead), Decimal(0))
    title = f"Daily spend and forecast; the next {len(ahead)} days come to about {money(whole, symbol='$')}"
    return Chart("forecast", title, "Line of daily spend, then the forecast with its 80 and 95 percent bands.",
                 forecast_days(actual, ahead), table)


def _day(value: Any) -> date:
    return value.date() if isinstance(value, datetime) else value


def _usd(value: Any) -> Decimal | None:
    return None if value is None else value if isinstance(value, Decimal) else Decimal(str(round(value, 6)))


def anomalies(data: NightlyData) -> Part | None:
    """What was out of the ordinary."""
    if data.anomalies is None:
        return None
    order = ("first", "last", "ds", "day", "dimension", "value", "unique_id", "kind", "effect_usd", "expected", "y")
    block: Block = frame_table(data.anomalies, "Anomalies", order=order) if data.anomalies.height else Note(
        "Nothing out of the ordinary.", "good")
    return Part("anomalies", Section("anomalies", "Out of the ordinary", "Events that the usual rhythm, trend and "
                "known price changes do not explain, by money.", (block,),
                (Trace("out_anomaly", "SELECT * FROM out_anomaly;"),)), records(data.anomalies))


def reconciliation(data: NightlyData) -> Part | None:
    """Computed against billed, per month and issuer."""
    if data.reconciliation is None:
        return None
    frame = by_issuer(data.reconciliation)
    block: Block = frame_table(frame, "Computed and billed by month and issuer") if frame.height else Note(
        "No bill has been read yet.")
    sql = ("SELECT month, issuer, cause, sum(cause_usd) AS cause_usd FROM out_reconciliation\n"
           "GROUP BY month, issuer, cause ORDER BY month, issuer, cause_usd DESC;")
    return Part("reconciliation", Section(
        "reconciliation", "Reconciliation with the bills", "Gap is billed less computed. What no cause explains is "
        "called unexplained.", (block,), (Trace("out_reconciliation", sql),)), records(frame))


def others(data: NightlyData) -> list[Part]:
    """Allocation, unit economics and recommendations, where they are given."""
    given = (
        ("allocation", "Allocation", "Shared cost as it was given to those who caused it.", "out_allocation",
         data.allocation),
        ("unit_economics", "Unit economics", "Cost per unit of business.", "out_unit_economics", data.unit_economics),
        ("recommendations", "What would save money", "Estimates from the usage of this report; largest first.",
         "out_recommendation", data.recommendations),
    )
    return [Part(name, Section(name, title, lead, (frame_table(frame, title) if frame.height else Note("Nothing."),),
                               (Trace(dataset, f"SELECT * FROM {dataset};"),)), records(frame))
            for name, title, lead, dataset, frame in given if frame is not None]
