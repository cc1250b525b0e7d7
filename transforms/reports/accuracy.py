"""How far the forecasts can be trusted: held-out days, how often the accuracy claim holds, each series' backtest."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.charts import forecast_days, share_bars
from costops.transforms.reports.figures import NOTHING, day_text, dimensions_said, percent, plain, plural
from costops.transforms.reports.nightly_data import NightlyData, Part, records
from costops.transforms.reports.page import Block, Cell, Chart, Column, Note, Section, Table, Trace, drawn_cell, text_cell

LIMITS = (10, 15, 20)
HORIZONS = (7, 30, 90)
PROMISED = (Decimal("0.90"), Decimal("0.98"))
"""Measured coverage of the 95 % interval outside of this is an alarm."""

_BEFORE = 45
_MOST_SERIES = 15
_WAYS = (("day", "By day", "var(--c1)"), ("total", "By the period's total", "var(--c2)"))


def accuracy(data: NightlyData) -> Part | None:
    """Held-out days of the total, the claim's shares, coverage, and the backtest of the largest series."""
    if data.scores is None or data.scores.is_empty():
        return None
    scores = data.scores.filter(pl.col("day") == pl.col("day").max()) if "day" in data.scores.columns else data.scores
    every = {(row["horizon"], row["metric"]): row["score"]
             for row in scores.filter(pl.col("unique_id") == "all").iter_rows(named=True)}
    blocks: list[Block] = [*_held_out(data), *_claims(every), *_coverage(every), *_by_series(data, scores)]
    if not blocks:
        return None
    lead = "Days are held out, forecast by models that never saw them, and compared with what came."
    traces = [Trace("out_forecast_score", "SELECT * FROM out_forecast_score WHERE unique_id IN ('all', 'total')\n"
                    "ORDER BY unique_id, metric, horizon;")]
    if data.backtest is not None:
        traces.append(Trace("out_backtest", "SELECT * FROM out_backtest ORDER BY cutoff, ds;"))
    return Part("accuracy", Section("accuracy", "How far the forecast can be trusted", lead, tuple(blocks), tuple(traces)),
                {"scores": records(scores.drop("day", strict=False)),
                 "backtest": [] if data.backtest is None else records(data.backtest.drop("day", strict=False))})


def _held_out(data: NightlyData) -> list[Block]:
    """The longest held-out stretch of the total: history, what would have been forecast, what came."""
    if data.backtest is None or data.backtest.is_empty():
        return []
    folds = data.backtest.group_by("cutoff").agg(pl.len()).sort("len", "cutoff")
    cutoff = folds["cutoff"][-1]
    own = data.backtest.filter(pl.col("cutoff") == cutoff).sort("ds")
    cost = pl.col("list_cost_usd").sum()
    shown = (pl.col("day") <= cutoff) & (pl.col("day") > cutoff - timedelta(days=_BEFORE))
    before = data.spend_daily.filter(shown).group_by("day").agg(cost).sort("day")
    actual = [*before.iter_rows(), *((row["ds"], _usd(row["y"])) for row in own.iter_rows(named=True))]
    names = ("y", "yhat", "lo95", "hi95")
    table = Table("Held-out days, US dollars", (
        Column("Day", "day"), Column("Came", "number"), Column("Forecast", "number"), Column("Low, 95%", "number"),
        Column("High, 95%", "number")), tuple((Cell(day_text(row["ds"])), *(drawn_cell(_usd(row[name])) for name in names))
                                              for row in own.iter_rows(named=True)))
    inside = own.filter((pl.col("y") >= pl.col("lo95")) & (pl.col("y") <= pl.col("hi95"))).height
    title = (f"The total as it would have been forecast on {day_text(cutoff)}: {inside} of {plural(own.height, 'day')} "
             "inside the 95% band")
    return [Chart("held-out", title, "Line of daily spend, and over its last days the forecast made without them, "
                  "with its 80 and 95 percent bands.", forecast_days(actual, list(own.iter_rows(named=True))), table)]


def _claims(every: dict[tuple[int, str], float]) -> list[Block]:
    """The share of series within 10, 15 and 20 %, by day and by period total."""
    rows: list[tuple[str, str, float]] = []
    cells: list[tuple[Cell, ...]] = []
    for horizon in HORIZONS:
        for name, title, _ in _WAYS:
            shares = [every.get((horizon, f"share_{name}_within_{limit}")) for limit in LIMITS]
            if all(share is None for share in shares):
                continue
            count = int(every.get((horizon, f"series_by_{name}"), 0))
            cells.append((Cell(plural(horizon, "day")), Cell(title), *map(_share, shares), Cell(f"{count:,}")))
            rows += [(f"{horizon} d, {limit}%", title, share) for limit, share in zip(LIMITS, shares, strict=True)
                     if share is not None]
    if not rows:
        return [Note("No series is long enough yet to hold days out: nothing can be said of the accuracy.")]
    table = Table("Share of series whose error stays below a limit", (
        Column("Horizon"), Column("Error"), *(Column(f"Below {limit}%", "number") for limit in LIMITS),
        Column("Series", "number")), tuple(cells))
    return [Chart("claims", "Share of series whose backtest error stays below 10, 15 and 20 percent",
                  "Bars of the share of series within each limit at each horizon, by day and by the period's total.",
                  share_bars(rows, [(title, colour) for _, title, colour in _WAYS]), table,
                  tuple((title, colour) for _, title, colour in _WAYS))]


def _coverage(every: dict[tuple[int, str], float]) -> list[Block]:
    """What the intervals held in the backtest, and lately."""
    rows, alarms = [], []
    for horizon in sorted({reach for reach, metric in every if metric.endswith(("coverage80", "coverage95"))}):
        held = [every.get((horizon, name)) for name in ("coverage80", "coverage95", "live_coverage80", "live_coverage95")]
        off = [share for share in (held[1], held[3]) if share is not None and not PROMISED[0] <= _usd(share) <= PROMISED[1]]
        alarms += [horizon] if off else []
        rows.append((Cell(f"up to {plural(horizon, 'day')}"), *map(_share, held),
                     Cell("left its range" if off else "as promised", tone="warn" if off else "good")))
    if not rows:
        return []
    return [Table("Share of days that the intervals held", (
        Column("Ahead"), Column("80%, held out", "number"), Column("95%, held out", "number"),
        Column("80%, lately", "number"), Column("95%, lately", "number"), Column("State")), tuple(rows), headed=True,
        note=f"The 95% interval is to hold between {PROMISED[0]:.0%} and {PROMISED[1]:.0%} of days.")]


def _by_series(data: NightlyData, scores: pl.DataFrame) -> list[Block]:
    """Grade, model and backtest errors of the series with the most money ahead."""
    if data.forecast is None or not {"grade", "model", "mean", "dimension"} <= set(data.forecast.columns):
        return []
    newest = data.forecast.filter(pl.col("day") == pl.col("day").max()) if "day" in data.forecast.columns else data.forecast
    ahead = newest.group_by("unique_id").agg(
        pl.col("mean").sum(), pl.col("grade").first(), pl.col("model").first(), pl.col("dimension").first()).sort(
        pl.col("dimension") != "total", -pl.col("mean"), "unique_id").head(_MOST_SERIES)
    told: dict[tuple[str, int, str], float] = {
        (row["unique_id"], row["horizon"], row["metric"]): row["score"] for row in scores.iter_rows(named=True)}
    shown = [horizon for horizon in HORIZONS if any(reach == horizon for _, reach, metric in told if metric == "total_ape")]
    rows = tuple((text_cell(dimensions_said(row["unique_id"]), sub=plain(row["model"], longest=60)), Cell(row["grade"]),
                  *(_share(told.get((row["unique_id"], horizon, metric)))
                    for horizon in shown for metric in ("mape", "total_ape"))) for row in ahead.iter_rows(named=True))
    heads = [Column(f"{horizon} d, {way}", "number") for horizon in shown for way in ("by day", "total")]
    return [Table("Backtest error of the largest series", (Column("Series"), Column("Grade"), *heads), rows, headed=True,
                  note="Grades by the total over up to 30 days: A below 10%, B below 20%, C below 40%, D above.")]


def _share(value: float | None) -> Cell:
    return Cell(NOTHING if value is None else percent(_usd(value)))


def _usd(value: Any) -> Decimal:
    return Decimal(str(round(value, 6)))
