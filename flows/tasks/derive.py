"""Derive from spend: FOCUS rows, allocation, unit economics, recommendations. Only what changed is written anew."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.tasks.pricing import contracts_frame
from costops.flows.tasks.run import Run
from costops.transforms import query
from costops.transforms.allocate import Rule, allocate
from costops.transforms.economics import unit_economics
from costops.transforms.focus_daily import focus_rows
from costops.transforms.prices.cells import price_cells
from costops.transforms.recommend import price_keys, recommend, usage, window
from costops.transforms.tables import (
    CORE_BUSINESS_METRIC,
    CORE_CHARGE,
    CORE_PRICE,
    OUT_ALLOCATION,
    OUT_FOCUS_DAILY,
    OUT_RECOMMENDATION,
    OUT_SPEND_DAILY,
    OUT_SPEND_HOURLY,
    OUT_UNIT_ECONOMICS,
    Table,
)
from costops.transforms.window import month_of


def derive(run: Run) -> None:
    """Bring what follows from `out_spend_daily` up to date."""
    focus(run)
    con = query.connect(scratch=run.lake.scratch)
    con.execute("CREATE TEMP VIEW spend AS SELECT * FROM "
                + run.lake.relation(OUT_SPEND_DAILY, run.lake.partitions(OUT_SPEND_DAILY)))
    _allocation(run, con)
    _economics(run, con)
    _recommendations(run, con)
    con.close()


def focus(run: Run) -> None:
    """Rewrite the touched days of `out_focus_daily` inside their months, and days whose sums are not those of spend."""
    lake = run.lake
    days: dict[str, list[str]] = {}
    for part in lake.partitions(CORE_CHARGE):
        days.setdefault(part["day"], []).append(part["source"])
    con = query.connect(scratch=lake.scratch)
    touched = run.touched | lake.owed()
    due = (touched | _differing(lake, con)) & {date.fromisoformat(day) for day in days} | _gone(lake, touched)
    for month in sorted({month_of(day) for day in due}):
        made = [lake.read(OUT_FOCUS_DAILY, [{"billing_period": month}]).filter(~pl.col("x_Day").is_in(sorted(due)))]
        for day in sorted(one for one in due if month_of(one) == month):
            rows = lake.relation(CORE_CHARGE, [{"source": name, "day": str(day)}
                                               for name in sorted(days.get(str(day), []))])
            con.execute(f"CREATE OR REPLACE TEMP VIEW core_charge AS SELECT * FROM {rows}")
            made.append(focus_rows(query.frame(con, query.statement(OUT_FOCUS_DAILY.name))))
        _noted(run, OUT_FOCUS_DAILY, lake.replace(OUT_FOCUS_DAILY, pl.concat(made), [{"billing_period": month}]))
    con.close()


def _differing(lake: Lake, con: query.Connection) -> set[date]:
    """Days whose cost in FOCUS rows is not that of spend: a run that ended between the two, or an older lake."""
    spend = lake.relation(OUT_SPEND_DAILY, lake.partitions(OUT_SPEND_DAILY))
    rows = lake.relation(OUT_FOCUS_DAILY, lake.partitions(OUT_FOCUS_DAILY))
    found = con.execute(f"""SELECT day FROM (
        SELECT day, sum(coalesce(list_cost_usd, 0)) AS listed, sum(coalesce(effective_cost_usd, 0)) AS due
        FROM {spend} GROUP BY day) AS s
        FULL JOIN (SELECT x_Day AS day, sum(ListCost) AS listed, sum(EffectiveCost) AS due
                   FROM {rows} GROUP BY x_Day) AS f USING (day)
        WHERE coalesce(s.listed, 0) <> coalesce(f.listed, 0) OR coalesce(s.due, 0) <> coalesce(f.due, 0)""").fetchall()
    return {day for (day,) in found}


def _gone(lake: Lake, touched: Iterable[date]) -> set[date]:
    """Touched days that have no charges any more, and none because of their age."""
    first = lake.kept_from(CORE_CHARGE.name)
    there = {part["day"] for part in lake.partitions(CORE_CHARGE)}
    return {day for day in touched if str(day) not in there and (first is None or day >= first)}


def _allocation(run: Run, con: query.Connection) -> None:
    spend = query.frame(con, """SELECT month, team, sum(effective_cost_usd) AS effective_cost_usd
        FROM spend GROUP BY ALL ORDER BY ALL""")
    rules = [Rule(one.name, one.method, one.source_team, one.shares) for one in run.settings.allocations]
    months = set(spend["month"].to_list())
    scope = [part for part in run.lake.partitions(OUT_ALLOCATION) if part["month"] in months]
    _noted(run, OUT_ALLOCATION, run.lake.replace(OUT_ALLOCATION, allocate(spend, rules), scope))


def _economics(run: Run, con: query.Connection) -> None:
    metrics = run.lake.read(CORE_BUSINESS_METRIC)
    if metrics.is_empty():
        return
    con.register("metric_days", metrics.select("day").unique().to_arrow())
    daily = query.frame(con, "SELECT * FROM spend WHERE day IN (SELECT day FROM metric_days)")
    made = unit_economics(metrics, daily)
    _noted(run, OUT_UNIT_ECONOMICS, run.lake.replace(OUT_UNIT_ECONOMICS, made, run.lake.partitions(OUT_UNIT_ECONOMICS)))


def _recommendations(run: Run, con: query.Connection) -> None:
    last = query.scalar(con, "SELECT max(day) FROM spend")
    if last is None:
        return
    first, _ = window(last)
    con.execute("CREATE OR REPLACE TEMP TABLE held AS SELECT * FROM spend WHERE day >= $first", {"first": first})
    used = usage(query.frame(con, "SELECT * FROM held"))
    book = run.lake.read(CORE_PRICE)
    if book.is_empty():
        return
    cells = price_cells(price_keys(used, last), book, contracts=contracts_frame(run.settings.contracts))
    made = recommend(used, _by_hour(run, con, first), cells, day=run.now.date(), last=last)
    _noted(run, OUT_RECOMMENDATION, run.lake.replace(OUT_RECOMMENDATION, made, [{"day": str(run.now.date())}]))


def _by_hour(run: Run, con: query.Connection, first: date) -> pl.DataFrame:
    """Standard requests by owner, day and hour, in the workspace's time zone."""
    rows = run.lake.relation(OUT_SPEND_HOURLY, [part for part in run.lake.partitions(OUT_SPEND_HOURLY)
                                                if part["day"] >= str(first)])
    utc = query.frame(con, f"""SELECT provider, model_id, team, application, hour AS at, sum(requests) AS requests
        FROM {rows} WHERE service_tier = 'standard' GROUP BY ALL ORDER BY ALL""")
    zone = ZoneInfo(run.settings.workspace.reporting_timezone).key
    local = pl.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return utc.with_columns(day=(local - pl.duration(hours=12)).dt.date(), hour=local.dt.hour().cast(pl.Int64),
                            requests=pl.col("requests").cast(pl.Int64))


def _noted(run: Run, table: Table, parts: Iterable[dict[str, str]]) -> None:
    for part in parts:
        run.partition("spend", table, part)
