"""Why spend moved: from the four weeks before to the last four, by volume, mix, size, cache and price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.charts import waterfall
from costops.transforms.reports.figures import digits_for, money
from costops.transforms.reports.nightly_data import NightlyData, Part, records
from costops.transforms.reports.page import Cell, Chart, Column, Section, Table, Trace, money_cell, text_cell

_MOST_MODELS = 12
_PARTS = (("volume", "Number of requests"), ("mix", "Other models"), ("size", "Size of requests"),
          ("cache", "Prompt cache"), ("price", "Prices"))


def moves(data: NightlyData) -> Part | None:
    """The waterfall of the total, and the models that moved most."""
    if data.moved is None or data.moved.is_empty():
        return None
    days = int(data.moved["days"][0])
    sums: dict[str, Any] = data.moved.select(pl.selectors.float().sum()).row(0, named=True)
    table = data.moved.sort((pl.col("after_usd") - pl.col("before_usd")).abs(), "model_id", descending=[True, False])
    columns = ("before_usd", *(name for name, _ in _PARTS), "after_usd")
    titles = {"before_usd": "Before", "after_usd": "After"}
    rows = tuple((text_cell(row["model_id"]), *(
        money_cell(_usd(row[name]), sign=name not in titles) for name in columns)) for row in table.head(
        _MOST_MODELS).iter_rows(named=True))
    lead = (f"List cost of the last {days} days beside the {days} days before. The factors change one after the other, "
            "so that the steps add up.")
    more = table.height - len(rows)
    trace = Trace("out_spend_daily", "SELECT model_id, day, sum(list_cost_usd) AS usd FROM out_spend_daily\n"
                  "GROUP BY ALL ORDER BY ALL;")
    return Part("moved", Section("moved", "Why spend moved", lead, (
        _chart(sums, days), Table("What moved each model, US dollars", (
            Column("Model"), *(Column(titles.get(name) or name.capitalize(), "number") for name in columns)), rows,
            headed=True, note=f"{more:,} more models in report.json." if more else "")),
        (trace,)), {"days": days, "by_model": records(table.drop("days"))})


def _chart(sums: dict[str, Any], days: int) -> Chart:
    before, after = _usd(sums["before_usd"]), _usd(sums["after_usd"])
    found = [(f"{days} days before", "total", Decimal(0), before)]
    now = before
    for name, title in _PARTS:
        step = _usd(sums[name])
        if step:
            found.append((title, "up" if step > 0 else "down", now, now + step))
            now += step
    found.append((f"Last {days} days", "total", Decimal(0), after))
    digits = digits_for(end for *_, end in found)
    texts = [money(end - start, digits=digits, sign=kind != "total") for _, kind, start, end in found]
    table = Table("Steps, US dollars", (
        Column("Step"), Column("Amount (USD)", "number"), Column("Running total (USD)", "number")),
        tuple((Cell(label), money_cell(end - start, digits=digits, sign=kind != "total"), money_cell(end, digits=digits))
              for label, kind, start, end in found))
    return Chart("moved", f"{money(after - before, sign=True, symbol='$')} against the {days} days before",
                 "Waterfall of list cost from the days before to the last days, one step per driver.",
                 waterfall(found, texts), table,
                 (("Raises the cost", "var(--c6)"), ("Lowers the cost", "var(--c3)"), ("Total", "var(--c1)")))


def _usd(value: float) -> Decimal:
    return Decimal(str(round(value, 6)))
