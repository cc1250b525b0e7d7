"""Report sections that look ahead or aside: forecast, budgets, anomalies, reconciliation, allocation, advice."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.charts import forecast_days
from costops.transforms.reports.figures import day_text, dimensions_said, exact, money, plain, ratio, value_text
from costops.transforms.reports.nightly_data import NightlyData, Part, records
from costops.transforms.reports.page import (
    Block,
    Card,
    Cards,
    Cell,
    Chart,
    Column,
    Note,
    Section,
    Table,
    Trace,
    money_cell,
    share_cell,
    text_cell,
)
from costops.transforms.reports.plain_tables import frame_table
from costops.transforms.reports.reconciliation_lines import by_issuer
from costops.transforms.reports.totals import Period, last_days, measured, measures

_HISTORY = 60
_AHEAD = 31
_MOST_EVENTS = 12


def forecast(data: NightlyData) -> Part | None:
    """What is expected, with the band that it should stay in, and the month's end."""
    if data.forecast is None and data.month_end is None and data.budgets is None:
        return None
    blocks: list[Block] = []
    figures: dict[str, Any] = {}
    traces = []
    if data.forecast is not None and not data.forecast.is_empty():
        newest = _newest(data.forecast)
        blocks += [*_month_end(data, newest), _chart(data, newest)]
        figures["forecast"] = records(_chosen(newest))
        traces.append(Trace("out_forecast", "SELECT * FROM out_forecast WHERE unique_id = 'total' ORDER BY ds;"))
    if data.month_end is not None:
        blocks.append(frame_table(data.month_end, "Expected at the end of the month", headed=True))
        figures["month_end"] = records(data.month_end)
    if data.budgets is not None:
        blocks.append(_budgets(_newest(data.budgets)))
        figures["budgets"] = records(data.budgets)
        traces.append(Trace("out_budget", "SELECT * FROM out_budget;"))
    lead = "Dark is what was spent, dashed what is expected; the bands hold 80 and 95 of 100 days."
    return Part("outlook", Section("forecast", "Forecast and budgets", lead, tuple(blocks), tuple(traces)), figures)


def _chart(data: NightlyData, frame: pl.DataFrame) -> Chart:
    series = _chosen(frame)
    ahead = [{**row, "ds": _day(row["ds"])} for row in series.head(_AHEAD).iter_rows(named=True)]
    period = last_days(data.day, _HISTORY)
    past = measures(period.of(data.spend_daily), ["day"]).sort("day")
    actual = [(row["day"], row["cost_usd"]) for row in past.iter_rows(named=True)]
    actual = actual if series["unique_id"][0] == "total" else []
    names = [name for name in ("yhat", "lo80", "hi80", "lo95", "hi95") if name in frame.columns]
    titles = {"yhat": "Expected", "lo80": "Low, 80%", "hi80": "High, 80%", "lo95": "Low, 95%", "hi95": "High, 95%"}
    table = Table("Forecast per day, US dollars",
                  (Column("Day", "day"), *(Column(titles[name], "number") for name in names)),
                  tuple((Cell(day_text(row["ds"])), *(money_cell(_usd(row[name])) for name in names)) for row in ahead))
    whole = sum((_usd(row.get("mean") or row["yhat"]) or Decimal(0) for row in ahead), Decimal(0))
    title = f"Daily spend and forecast; the next {len(ahead)} days come to about {money(whole, symbol='$')}"
    return Chart("forecast", title, "Line of daily spend, then the forecast with its 80 and 95 percent bands.",
                 forecast_days(actual, ahead), table)


def _chosen(frame: pl.DataFrame) -> pl.DataFrame:
    """The total, or the first series where there is none."""
    ids = frame["unique_id"].unique().sort().to_list()
    return frame.filter(pl.col("unique_id") == ("total" if "total" in ids else ids[0])).sort("ds")


def _newest(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of the newest run, where a frame holds several."""
    return frame.filter(pl.col("day") == pl.col("day").max()) if "day" in frame.columns else frame


def _month_end(data: NightlyData, frame: pl.DataFrame) -> list[Block]:
    """What the month of the next day will come to: spent so far, and the mean forecast of every day left."""
    start = data.day + timedelta(days=1)
    last = (start.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    ahead = {_day(row["ds"]): row for row in frame.filter(pl.col("unique_id") == "total").iter_rows(named=True)}
    left = Period(start, last).days
    if not all(day in ahead for day in left):
        return []
    column = "mean" if "mean" in frame.columns else "yhat"
    month = Period(start.replace(day=1), data.day)
    spent = measured(data.spend_daily, month)["cost_usd"] if start.day > 1 else Decimal(0)
    more = sum((_usd(ahead[day][column]) or Decimal(0) for day in left), Decimal(0))
    return [Cards((
        Card(f"Spent in {start:%B} so far", money(spent, symbol="$"), exact=exact(spent),
             note=month.text if start.day > 1 else "the month has not begun"),
        Card("Expected for the days left", money(more, symbol="$"), note=Period(start, last).text),
        Card(f"Expected for all of {start:%B}", money(spent + more, symbol="$"), note="spent and expected together"),
    ))]


def _budgets(frame: pl.DataFrame) -> Table:
    """Budgets with how much of each is used."""
    if not {"budget", "amount_usd", "spent_usd"} <= set(frame.columns):
        return frame_table(frame, "Budgets", order=("name", "team", "period", "budget_usd", "spent_usd"), headed=True)
    rows = []
    for row in frame.sort("budget").iter_rows(named=True):
        used, over = ratio(row["spent_usd"], row["amount_usd"]), row["spent_usd"] > row["amount_usd"]
        chance = row.get("chance_exceeded")
        sub = " from ".join(filter(None, (f"per {plain(row['period'])}" if row.get("period") else "",
                                          day_text(row["period_start"]) if row.get("period_start") else "")))
        rows.append((text_cell(row["budget"], sub=sub), money_cell(row["amount_usd"]), money_cell(row["spent_usd"]),
                     share_cell(used), money_cell(_usd(row.get("expected_total"))),
                     Cell(value_text(chance, "chance_exceeded"), tone="warn" if chance and chance >= 0.5 else ""),
                     Cell(day_text(row.get("exhausted_on"))),
                     Cell("over" if over else "within", tone="bad" if over else "good")))
    return Table("Budgets", (
        Column("Budget"), Column("Limit (USD)", "number"), Column("Spent (USD)", "number"), Column("Used", "bar"),
        Column("Expected (USD)", "number"), Column("Chance to exceed", "number"), Column("Used up", "day"),
        Column("State")), tuple(rows), headed=True)


def _day(value: Any) -> date:
    return value.date() if isinstance(value, datetime) else value


def _usd(value: Any) -> Decimal | None:
    return None if value is None else value if isinstance(value, Decimal) else Decimal(str(round(value, 6)))


def anomalies(data: NightlyData) -> Part | None:
    """What was out of the ordinary."""
    if data.anomalies is None:
        return None
    frame = _incidents(data.anomalies)
    order = ("first", "last", "ds", "where", "why", "dimension", "value", "unique_id", "kind", "effect_usd", "alerted")
    block: Block = frame_table(frame, "Anomalies", order=order, most=_MOST_EVENTS,
                               titles={"where": "Who shows it", "why": "What moved (USD)"}) if frame.height else Note(
        "Nothing out of the ordinary.", "good")
    return Part("anomalies", Section("anomalies", "Out of the ordinary", "Events that the usual rhythm, trend and "
                "known price changes do not explain, by money.", (block,),
                (Trace("out_anomaly", "SELECT * FROM out_anomaly;"),)), records(data.anomalies))


def _incidents(frame: pl.DataFrame) -> pl.DataFrame:
    """Days of `out_anomaly` as events, the dearest first; the money is that of the dimension that shows most of it."""
    if not {"incident", "ds", "effect", "dimension", "value", "kind"} <= set(frame.columns):
        return frame
    rows = []
    for _, days in sorted(_newest(frame).group_by("incident"), key=lambda pair: str(pair[0])):
        sums = days.group_by("dimension", "value").agg(pl.col("effect").sum()).sort(
            pl.col("effect").abs(), "dimension", "value", descending=[True, False, False])
        whole: list[float] = sums.group_by("dimension", maintain_order=True).agg(
            pl.col("effect").sum())["effect"].to_list()
        most = max(whole) if max(whole) >= -min(whole) else min(whole)
        named = sums.filter(pl.col("dimension") != "total").head(3)
        where = ", ".join(f"{name.removesuffix('_id')} {value}" for name, value, _ in named.iter_rows()) or "total"
        rows.append({
            "first": days["ds"].min(), "last": days["ds"].max(), "kind": "; ".join(days["kind"].unique().sort()),
            "where": _drivers(days) or where, "why": _first(days, "cause"),
            "effect_usd": Decimal(str(round(most, 6))),
            "alerted": bool(days["is_sent"].any()) if "is_sent" in days.columns else None})
    schema = {"first": pl.Date(), "last": pl.Date(), "kind": pl.String(), "where": pl.String(), "why": pl.String(),
              "effect_usd": pl.Decimal(38, 6), "alerted": pl.Boolean()}
    made = pl.DataFrame(rows, schema=schema).sort(
        pl.col("effect_usd").abs(), "last", "where", descending=[True, True, False])
    silent = [name for name in ("why", "alerted") if made[name].null_count() == made.height]
    return made.drop(silent)


def _first(days: pl.DataFrame, column: str) -> str | None:
    if column not in days.columns:
        return None
    told = days[column].drop_nulls()
    return str(told[0]) if told.len() else None


def _drivers(days: pl.DataFrame) -> str | None:
    """Who shows the incident, with the share of its money, as people say it: `team search 80%`."""
    told = _first(days, "drivers")
    return None if told is None else dimensions_said(told)


def reconciliation(data: NightlyData) -> Part | None:
    """Computed against billed, per month and issuer."""
    if data.reconciliation is None:
        return None
    frame = by_issuer(data.reconciliation, data.reconciliation_lines)
    if data.reconciliation_lines is None:       # lines without a gap are not known
        frame = frame.select("month", "issuer", "gap_usd", "unexplained_usd", pl.col("lines").alias("lines_with_a_gap"),
                             "status")
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
