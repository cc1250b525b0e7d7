"""Looking at the series of the lake: odd days, forecasts, budgets. Done again only when spend or the day changed."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import Budget
from costops.flows.tasks.run import Gate, Run
from costops.flows.tasks.step import step
from costops.transforms.check import conform
from costops.transforms.series import daily_series
from costops.transforms.tables import (
    OUT_ANOMALY,
    OUT_BUDGET,
    OUT_FORECAST,
    OUT_FORECAST_SCORE,
    OUT_SPEND_DAILY,
    Table,
)

if TYPE_CHECKING:
    from costops.models.forecast import Fitted

MODEL_KEY = "models/forecast.txt"
"""Where the lake keeps what the last fit learned, as text with its hash."""

SHOWN_DAYS = 90
"""Odd days of this many last days are kept in each night's `out_anomaly`."""

_IDS = ["unique_id", "dimension", "value"]


@step()
def detect(run: Run) -> None:
    """Odd days of the last quarter, grouped into incidents, with the rate limit that decides who is told."""
    if _stands(run, OUT_ANOMALY):
        return
    from costops.models.alert import limit
    from costops.models.anomaly import detect as find
    from costops.models.incident import events, incidents

    series = _series(run)
    if series.is_empty():
        return
    flags = find(series.select("unique_id", "ds", "y"))
    members = series.select(_IDS).unique(maintain_order=True)
    found = events(flags)
    _, drivers = incidents(found, members)
    odd = flags.filter("is_anomaly").join(members, on="unique_id", how="left")
    since = series["ds"].max() - timedelta(days=SHOWN_DAYS)  # type: ignore[operator]
    odd = odd.filter(pl.col("ds") > since)
    if not odd.is_empty() and not drivers.is_empty():
        sent = limit(drivers.select(pl.col("unique_id").alias("subject"), "first", "last", "kind", "effect", "incident"))
        named = sent.select(pl.col("subject").alias("unique_id"), "first", "last", "incident", "is_sent")
        odd = odd.join_where(named.rename({"unique_id": "_id"}), pl.col("unique_id") == pl.col("_id"),
                             pl.col("ds") >= pl.col("first"), pl.col("ds") <= pl.col("last"))
    _write(run, "detect", OUT_ANOMALY, odd.unique(["unique_id", "ds"], keep="first", maintain_order=True))


@step()
def forecast(run: Run) -> None:
    """Forecasts of the total and of the largest values of each dimension, with their backtest."""
    refit = bool(run.notes.get("refit"))
    if _stands(run, OUT_FORECAST) and not refit:
        return
    from costops.models.forecast import forecast as ahead

    series = _series(run)
    if series.is_empty():
        return
    horizon = run.settings.forecast.horizon_days
    known = None if refit else _kept_model(run, horizon)
    result = ahead(series.select("unique_id", "ds", "y"), horizon=horizon, fitted=known)
    if known is None:
        from costops.models.store import to_text

        run.lake.store.put(MODEL_KEY, to_text(result.fitted).encode())
    members = series.select(_IDS).unique(maintain_order=True)
    _write(run, "forecast", OUT_FORECAST, result.forecasts.join(members, on="unique_id", how="left"))
    scores = result.scores.select("unique_id", "horizon", pl.selectors.float()).unpivot(
        index=["unique_id", "horizon"], variable_name="metric", value_name="score").drop_nulls("score")
    _write(run, "forecast", OUT_FORECAST_SCORE, scores.filter(pl.col("score").is_finite()).join(
        members, on="unique_id", how="left").unique(["unique_id", "horizon", "metric"], maintain_order=True))
    for name, reason in result.refusals.iter_rows():
        LOGGER.info("forecast: %s: %s", name, reason)


@step()
def budget(run: Run) -> None:
    """Where each budget stands, and where its period is likely to end."""
    daily = run.lake.read(OUT_SPEND_DAILY)
    if not run.settings.budgets or daily.is_empty():
        return
    last: date = daily["day"].max()  # type: ignore[assignment]
    ahead = run.lake.read(OUT_FORECAST, [{"day": str(run.now.date())}])
    rows = [_budget(one, daily, ahead, last) for one in run.settings.budgets]
    _write(run, "budget", OUT_BUDGET, pl.DataFrame(rows, infer_schema_length=None))
    over = [str(row["budget"]) for row in rows if row["is_breached"]]
    run.gates.append(Gate("budget", Decimal(len(over)), Decimal(0), ", ".join(over)))


def _kept_model(run: Run, horizon: int) -> Fitted | None:
    """The model of an earlier fit, if there is one of the horizon that reads; its hash is checked before its text."""
    from costops.models.store import ModelTextError, from_text

    body = run.lake.store.read(MODEL_KEY)
    if body is None:
        return None
    try:
        fitted = from_text(body.decode("utf-8", "replace"))
    except ModelTextError as error:
        LOGGER.warning("%s: %s; it is fitted anew", MODEL_KEY, error)
        return None
    return fitted if fitted.horizon >= horizon else None


def _budget(one: Budget, daily: pl.DataFrame, ahead: pl.DataFrame, last: date) -> dict[str, object]:
    from costops.models.budget import month_view

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
    dimension = next((name for name in ("team", "provider", "model_id") if getattr(one, name)), None)
    series = f"{dimension}={getattr(one, dimension)}" if dimension else "total"
    rows = ahead.filter(pl.col("unique_id") == series)
    if one.period == "month" and not rows.is_empty():
        actual = mine.group_by("day").agg(pl.col("list_cost_usd").sum().cast(pl.Float64)).rename(
            {"day": "ds", "list_cost_usd": "y"}).sort("ds")
        view = month_view(actual, rows, month=start, budget=float(one.amount_usd))
        row |= {"expected_total": view.expected, "chance_exceeded": view.chance_exceeded,
                "exhausted_on": view.exhausted_on}
    return row


def _series(run: Run) -> pl.DataFrame:
    """Daily spend up to yesterday: today is still filling."""
    return daily_series(run.lake.read(OUT_SPEND_DAILY), run.settings.forecast.by,
                        last=run.now.date() - timedelta(days=1))


def _stands(run: Run, table: Table) -> bool:
    """True where tonight's figures are there already and no spend has changed since."""
    return not run.spend_changed and bool(run.lake.partitions(table, day=str(run.now.date())))


def _write(run: Run, stage: str, table: Table, rows: pl.DataFrame) -> None:
    dated = conform(rows.with_columns(day=pl.lit(run.now.date())), table)
    scope = {"day": str(run.now.date())}
    for part in run.lake.replace(table, dated, [scope]):
        run.partition(stage, table, part)
