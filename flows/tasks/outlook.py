"""Looking at the series of the lake: odd days, forecasts, budgets. Done again only when spend or the day changed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl

from costops.flows.runtime.settings import Budget
from costops.flows.tasks import watched
from costops.flows.tasks.detect import detect
from costops.flows.tasks.forecasting import forecast
from costops.flows.tasks.run import Gate, Run
from costops.flows.tasks.step import step
from costops.flows.tasks.watched import write
from costops.transforms.tables import OUT_BUDGET, OUT_FORECAST, OUT_FORECAST_SCORE, OUT_SPEND_DAILY

__all__ = ["budget", "detect", "forecast"]


@step()
def budget(run: Run) -> None:
    """Where each budget stands, and where its period is likely to end."""
    daily = run.lake.read(OUT_SPEND_DAILY)
    if not run.settings.budgets or daily.is_empty():
        return
    last: date = daily["day"].max()  # type: ignore[assignment]
    ahead = run.lake.read(OUT_FORECAST, [{"day": str(run.now.date())}])
    told = run.lake.read(OUT_FORECAST_SCORE, [{"day": str(run.now.date())}]).filter(
        (pl.col("unique_id") == "all") & (pl.col("metric") == "dependence"))["score"]
    rho = float(told[0]) if told.len() else None
    seen = watched.series(run, daily)
    rows = [_budget(one, daily, ahead, last, rho, seen.series) for one in run.settings.budgets]
    write(run, "budget", OUT_BUDGET, pl.DataFrame(rows, infer_schema_length=None))
    over = [str(row["budget"]) for row in rows if row["is_breached"]]
    run.gates.append(Gate("budget", Decimal(len(over)), Decimal(0), ", ".join(over)))


def _budget(one: Budget, daily: pl.DataFrame, ahead: pl.DataFrame, last: date, rho: float | None,
            series: pl.DataFrame) -> dict[str, object]:
    from costops.models.budget import DEPENDENCE, month_view

    start = last.replace(day=1) if one.period == "month" else last
    mine = daily
    for name in ("team", "provider", "model_id", "application"):
        if (value := getattr(one, name)) is not None:
            mine = mine.filter(pl.col(name) == value)
    spent = Decimal(mine.filter(pl.col("day") >= start)["list_cost_usd"].sum() or 0)
    share = float(spent / one.amount_usd)
    reached = [float(limit) for limit in one.thresholds if share >= limit]
    row: dict[str, object] = {
        "budget": one.name, "period": one.period, "period_start": start, "amount_usd": one.amount_usd,
        "spent_usd": spent, "threshold": max(reached, default=None), "is_breached": spent > one.amount_usd,
        "expected_total": None, "chance_exceeded": None, "exhausted_on": None,
    }
    cut = [f"{name}={value}" for name in ("team", "provider", "model_id", "application") if (value := getattr(one, name))]
    rows = ahead.filter(pl.col("unique_id") == (cut[0] if cut else "total")) if len(cut) < 2 else ahead.clear()
    if one.period == "month" and not rows.is_empty():
        # of days that are still filling the forecast is nearer to the truth than what is there of them
        known = pl.col("ds") <= rows["cutoff"].max()
        actual = series.filter((pl.col("unique_id") == rows["unique_id"][0]) & known).select("ds", "y")
        view = month_view(actual, rows, month=start, budget=float(one.amount_usd),
                          rho=DEPENDENCE if rho is None else rho)
        row |= {"expected_total": max(view.expected, float(spent)), "chance_exceeded": view.chance_exceeded,
                "exhausted_on": view.exhausted_on}
    return row
