"""Forecasts of the total and of the largest values of each dimension, watched against what came, and adding up."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import polars as pl

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks import regressors, watched
from costops.flows.tasks.kept import MODEL_KEY, kept_model
from costops.flows.tasks.run import Run
from costops.flows.tasks.step import step
from costops.transforms.check import conform
from costops.transforms.finding import findings
from costops.transforms.series import hourly_series
from costops.transforms.tables import (
    CORE_FINDING,
    OUT_BACKTEST,
    OUT_FORECAST,
    OUT_FORECAST_SCORE,
    OUT_SPEND_DAILY,
    OUT_SPEND_HOURLY,
)

_FIT_KEY = "_state/outlook/fit.json"

SOURCE = "forecast"
"""The name under which drift is kept as a finding."""

LIVE_DAYS = 35
"""Forecasts of this many last nights are held against what came."""

DRIFTED_SHARE = 0.2
"""Share of the judged series that has to drift before all is fitted anew; the total alone is enough."""

LIMITS = {7: (0.10, 0.15, 0.20), 30: (0.10, 0.15, 0.20), 90: (0.10, 0.15, 0.20)}
"""Horizon -> limits of the relative error, for the share of series that stays below."""

OTHER = "(other)"
"""The value of a dimension that stands for all values without a series of their own, and for none."""

ALL = {"unique_id": "all", "dimension": "all", "value": "all"}


@step()
def forecast(run: Run) -> None:
    """Forecast with the model that the lake keeps; where live errors have left their backtest, fit anew first."""
    refit = bool(run.notes.get("refit"))
    drivers = regressors.declared(run)
    made = watched.mark(run, *regressors.fingerprint(drivers))
    if not refit and watched.stands(run, "forecast", OUT_FORECAST, made):
        return
    from costops.models.forecast import forecast as ahead

    daily = run.lake.read(OUT_SPEND_DAILY)
    if daily.is_empty():
        return
    seen = watched.series(run, daily)
    if seen.series.is_empty():
        return
    series = seen.series.filter(pl.col("ds") <= seen.last)      # what adds up knows the same days
    horizon = run.settings.forecast.horizon_days
    begun = _begun(run, made)
    known = kept_model(run, horizon) if begun is None and not refit else None
    since = begun[0] if begun else known.trained_to if known else None
    live = _live(run, series, since)
    if _drifted(run, live) or known is None:
        known = None
        _begin(run, made, since)
    result = ahead(series.select("unique_id", "ds", "y"), horizon=horizon, fitted=known, after=seen.last,
                   drivers=drivers, hours=_hours(run, series))
    if drivers is not None:
        regressors.note(run, result.drivers)
    if known is None:
        from costops.models.store import to_text

        run.lake.store.put(MODEL_KEY, to_text(result.fitted).encode())
    members = series.select(watched.IDS).unique(maintain_order=True)
    named = _with_holidays(run, result.forecasts, series).join(members, on="unique_id", how="left", maintain_order="left")
    published = result.scores.filter(pl.col("model") == "published")
    rows = coherent(named, published, series)
    watched.write(run, "forecast", OUT_FORECAST, rows)
    scores = pl.concat([
        _long(published.drop("model", "folds")).join(members, on="unique_id", how="left").select(_SCORE),
        _claims(published), _overall(result.coverage, result.fitted.dependence), _live_rows(live, members)])
    watched.write(run, "forecast", OUT_FORECAST_SCORE, scores.filter(pl.col("score").is_finite()).unique(
        ["unique_id", "horizon", "metric"], maintain_order=True))
    held = result.backtest("total").join(members, on="unique_id")
    if not held.is_empty():
        watched.write(run, "forecast", OUT_BACKTEST, held)
    for name, reason in pl.concat([result.refusals, result.notes.rename({"note": "reason"})]).iter_rows():
        LOGGER.info("forecast: %s: %s", name, reason)
    watched.done(run, "forecast", made, rows.height)


def _hours(run: Run, series: pl.DataFrame) -> pl.DataFrame:
    """The hours of series that began lately: days say little about them yet."""
    from costops.models.hourly import SHORT

    last: date = series["ds"].max()  # type: ignore[assignment]
    since = last - timedelta(days=SHORT)
    young = series.group_by("unique_id").agg(pl.col("ds").min()).filter(pl.col("ds") > since)
    if young.is_empty():
        return series.select("unique_id", "ds", "y").clear()
    parts = [part for part in run.lake.partitions(OUT_SPEND_HOURLY) if str(since) < part["day"] <= str(last)]
    told = hourly_series(run.lake.read(OUT_SPEND_HOURLY, parts), run.settings.forecast.by)
    return told.filter(pl.col("unique_id").is_in(young["unique_id"].to_list()))


def _with_holidays(run: Run, rows: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    """Forecasts with the holidays of the configured country, where those of the past tell that they help."""
    from costops.models import holiday

    country = run.settings.forecast.country
    total = series.filter(pl.col("unique_id") == "total")
    if country is None or rows.is_empty():
        return rows
    days = holiday.holidays(country, total["ds"].min(), rows["ds"].max())  # type: ignore[arg-type]
    factor = holiday.effect(total.select("ds", "y"), days)
    LOGGER.info("forecast: a holiday of %s spends %.0f %% of a usual working day", country, 100 * factor)
    return holiday.apply(rows, days, factor)


def _begun(run: Run, made: str) -> tuple[date | None] | None:
    """What the fit of a run that died was fitted after: the same fit is made again, from the same figures."""
    body = run.lake.store.read(_FIT_KEY)
    held = json.loads(body) if body else {}
    if held.get("mark") != made or watched.stands(run, "forecast", OUT_FORECAST, made):
        return None
    return (date.fromisoformat(held["since"]) if held["since"] else None,)


def _begin(run: Run, made: str, since: date | None) -> None:
    run.lake.store.put(_FIT_KEY, (json.dumps({"mark": made, "since": str(since) if since else None}) + "\n").encode())


# -- adding up ----------------------------------------------------------------------------------------------------

def coherent(rows: pl.DataFrame, scores: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    """Forecasts whose means add up: providers (or the first dimension) to the total, then every other dimension to it.

    Each moves in units of its backtest variance. What no value of a dimension shows is a part of its own, `(other)`, so
    that also what is published adds up. The median of an intermittent series stays: only means add up.
    """
    from costops.models.hierarchy import HierarchyError

    order = [name for name in rows["dimension"].unique(maintain_order=True) if name != "total"]
    order.sort(key=lambda name: (name != "provider", name))
    out = rows
    for place, name in enumerate(order):
        try:
            out = _sum_up(out, scores, series, name, free=place == 0)
        except HierarchyError as error:
            LOGGER.info("forecast: %s does not add up to the total: %s", name, error)
    return out


def _sum_up(rows: pl.DataFrame, scores: pl.DataFrame, series: pl.DataFrame, dimension: str, *, free: bool
            ) -> pl.DataFrame:
    """One dimension and the total made to add up; the total moves only where it is `free`."""
    from costops.models.hierarchy import HierarchyError, reconcile

    mine = rows.filter(pl.col("dimension").is_in(["total", dimension]))
    parts = mine.filter(pl.col("dimension") == dimension)["unique_id"].unique(maintain_order=True).to_list()
    total = mine.filter(pl.col("unique_id") == "total")
    if not parts or total.is_empty():
        return rows
    recent = series.filter(pl.col("ds") > series["ds"].max() - timedelta(days=28))  # type: ignore[operator]
    level = {row["unique_id"]: row["y"] for row in recent.group_by("unique_id").agg(pl.col("y").mean()).to_dicts()}
    shown = sum(level.get(name, 0.0) for name in parts)
    whole = level.get("total", 0.0)
    if (recent["y"] < 0).any() or (rows["mean"] < 0).any():
        raise HierarchyError("credits make parts negative")
    rest = f"{dimension}={OTHER}"
    if whole - shown > 1e-6 * max(whole, 1e-9):
        gone = mine.filter(pl.col("dimension") == dimension).group_by("ds").agg(pl.col("mean").sum().alias("_parts"))
        mean = (pl.col("mean") - pl.col("_parts")).clip(0.0)
        scaled = {name: pl.when(pl.col("yhat") > 0).then(mean * pl.col(name) / pl.col("yhat")).otherwise(mean)
                  for name in ("lo80", "hi80", "lo95", "hi95")}       # as far round its mean as the total's are
        left = total.join(gone, on="ds", how="left", maintain_order="left").with_columns(
            **scaled, mean=mean, yhat=mean, unique_id=pl.lit(rest), dimension=pl.lit(dimension), value=pl.lit(OTHER),
            model=pl.lit("remainder"), grade=pl.lit("-"))
        mine = pl.concat([mine, left.select(mine.columns)])
        parts = [*parts, rest]
    edges = pl.DataFrame({"parent": ["total"] * len(parts), "child": parts})
    variances = _variances(["total", *parts], scores, level | {rest: whole - shown})
    fitted = reconcile(mine, edges, variances) if free else _to_total(mine, parts, variances)
    moved = fitted.select(
        "unique_id", "ds", *(pl.col(name).alias(f"_{name}") for name in ("mean", "lo80", "hi80", "lo95", "hi95")))
    remainder = mine.filter(pl.col("unique_id") == rest).select(rows.columns)
    joined = pl.concat([rows, remainder]).join(moved, on=["unique_id", "ds"], how="left", maintain_order="left")
    touched = pl.col("_mean").is_not_null()
    if not free:
        touched = touched & (pl.col("unique_id") != "total")
    centred = touched & (pl.col("yhat") == pl.col("mean"))       # elsewhere yhat is a median, and its bounds are its own
    return joined.with_columns(
        mean=pl.when(touched).then("_mean").otherwise("mean"), yhat=pl.when(centred).then("_mean").otherwise("yhat"),
        **{name: pl.when(centred).then(f"_{name}").otherwise(name) for name in ("lo80", "hi80", "lo95", "hi95")},
    ).select(rows.columns)


def _to_total(rows: pl.DataFrame, parts: list[str], variances: pl.DataFrame) -> pl.DataFrame:
    """Parts that add up to a total which stays: what is lacking goes to each in units of its variance, none below zero."""
    import numpy as np

    from costops.models.hierarchy import shifted

    order = rows["ds"].unique().sort()
    wide = rows.pivot(on="unique_id", index="ds", values="mean").sort("ds").select("total", *parts).to_numpy()
    sizes = dict(variances.iter_rows())
    weight = np.array([sizes[name] for name in parts])
    total, made = wide[:, 0], wide[:, 1:].copy()
    for _ in range(len(parts) + 1):
        lack = total - made.sum(axis=1)
        free = np.where((made > 0) | (lack > 0)[:, None], weight, 0.0)
        free = free / np.maximum(free.sum(axis=1, keepdims=True), 1e-300)
        made = np.maximum(made + free * lack[:, None], 0.0)
    names = ["total", *parts]
    coherent = pl.DataFrame({"unique_id": np.repeat(names, len(order)), "ds": pl.concat([order] * len(names)),
                             "coherent": np.concatenate([total[None], made.T]).ravel()})
    return shifted(rows, coherent, "mean")


def _variances(names: list[str], scores: pl.DataFrame, level: dict[str, float]) -> pl.DataFrame:
    """Squared backtest errors; a series without one gets the panel's usual relative error at its own level."""
    longest = scores.sort("horizon").group_by("unique_id", maintain_order=True).last()
    errors = dict(longest.select("unique_id", "mae").drop_nulls().iter_rows())
    told = sorted(errors[name] / level[name] for name in names if name in errors and level.get(name, 0.0) > 0)
    usual = told[len(told) // 2] if told else 0.3
    least = 1e-3 * max(level.get("total", 0.0), 1e-9)
    sizes = [max(errors.get(name, 0.0) or usual * level.get(name, 0.0), least) ** 2 for name in names]
    return pl.DataFrame({"unique_id": names, "variance": sizes})


# -- scores -------------------------------------------------------------------------------------------------------

_SCORE = ("unique_id", "dimension", "value", "horizon", "metric", "score")


def _long(scores: pl.DataFrame) -> pl.DataFrame:
    return scores.select("unique_id", "horizon", pl.selectors.float()).unpivot(
        index=["unique_id", "horizon"], variable_name="metric", value_name="score").drop_nulls("score")


def _rows(found: list[tuple[int, str, float]]) -> pl.DataFrame:
    """Metrics of all series together."""
    frame = pl.DataFrame(found, schema={"horizon": pl.Int64, "metric": pl.String, "score": pl.Float64}, orient="row")
    return frame.with_columns(pl.lit(value).alias(name) for name, value in ALL.items()).select(_SCORE)


def _claims(scores: pl.DataFrame) -> pl.DataFrame:
    """The share of series whose backtest stays below 10, 15 and 20 %, by day and by the period's total."""
    found: list[tuple[int, str, float]] = []
    for horizon, limits in LIMITS.items():
        mine = scores.filter(pl.col("horizon") == horizon)
        for column, name in (("mape", "day"), ("total_ape", "total")):
            errors = mine[column].drop_nulls()
            found += [(horizon, f"share_{name}_within_{limit:.0%}".rstrip("%"), float((errors < limit).to_numpy().mean()))
                      for limit in limits if errors.len()]
            found += [(horizon, f"series_by_{name}", float(errors.len()))]
    return _rows(found)


def _overall(coverage: pl.DataFrame, dependence: float) -> pl.DataFrame:
    """Measured coverage by horizon band over all series, and how much the errors of two days go together."""
    found = [(30, "dependence", dependence)]
    if not coverage.is_empty():
        banded = coverage.with_columns(pl.col("band").str.split("-").list.last().cast(pl.Int64).alias("horizon"))
        weight = pl.col("forecasts").cast(pl.Float64)
        pooled = banded.group_by("horizon").agg(
            (pl.col(name) * weight).sum() / weight.sum() for name in ("coverage80", "coverage95")).sort("horizon")
        for horizon, low, high in pooled.iter_rows():
            found += [(horizon, "coverage80", low), (horizon, "coverage95", high)]
    return _rows(found)


# -- watching -----------------------------------------------------------------------------------------------------

def _live(run: Run, series: pl.DataFrame, trained_to: date | None) -> pl.DataFrame:
    """Days forecast by the kept model on earlier nights that have come true since."""
    from costops.models.drift import live

    today = run.now.date()
    first = str(max(today - timedelta(days=LIVE_DAYS), trained_to + timedelta(days=1) if trained_to else today))
    nights = [part for part in run.lake.partitions(OUT_FORECAST) if first <= part["day"] < str(today)]
    if not nights:
        return pl.DataFrame()
    told = run.lake.read(OUT_FORECAST, nights).filter(pl.col("ds") <= series["ds"].max())
    return live(told, series.select("unique_id", "ds", "y"))


def _drifted(run: Run, lived: pl.DataFrame) -> bool:
    """True where live forecasts no longer keep what their backtest promised; it becomes a finding."""
    from costops.models.drift import coverage_alarm, drift

    if lived.is_empty():
        return False
    scope = [{"day": str(run.now.date()), "source": SOURCE}]
    rows: list[dict[str, Any]] = []
    nights = [part for part in run.lake.partitions(OUT_FORECAST_SCORE) if part["day"] < str(run.now.date())]
    promised = run.lake.read(OUT_FORECAST_SCORE, nights[-1:]).filter(pl.col("metric") == "mae").select(
        "unique_id", "horizon", pl.col("score").alias("mae"), model=pl.lit("published"))
    judged = drift(lived, promised)
    odd = judged.filter("is_drift")
    enough = int((judged["days"] >= 14).sum())
    alarm = coverage_alarm(lived).filter("is_alarm")
    if "total" in odd["unique_id"] or odd.height > DRIFTED_SHARE * max(enough, 5) or alarm.height:
        rows += [{"field": row["unique_id"], "actual": row["reason"]} for row in odd.head(20).iter_rows(named=True)]
        rows += [{"field": f"{row['band']} days ahead", "actual": f"95 % interval held {row['coverage95']:.0%} of days"}
                 for row in alarm.iter_rows(named=True)]
    made = findings({"reason": "forecast_drift", "source": SOURCE, "day": run.now.date(), "severity": "warning",
                     "dataset": OUT_FORECAST.name, "expected": "errors as in the backtest", **row} for row in rows)
    for part in run.lake.replace(CORE_FINDING, conform(made, CORE_FINDING), scope):
        run.partition("forecast", CORE_FINDING, part)
    if rows:
        LOGGER.warning("forecast: live errors have left the backtest's; the models are fitted anew")
    return bool(rows)


def _live_rows(lived: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Live error and coverage per series, and coverage by horizon band over all, as scores."""
    from costops.models.drift import coverage_alarm

    if lived.is_empty():
        return _rows([])
    own = lived.group_by("unique_id", maintain_order=True).agg(
        pl.col("step").max().alias("horizon"), pl.col("error").mean().alias("live_mae"),
        pl.col("inside95").mean().alias("live_coverage95"), pl.len().cast(pl.Float64).alias("live_days"))
    bands = [(int(row["band"].split("-")[1]), name.replace("cov", "live_cov"), float(row[name]))
             for row in coverage_alarm(lived).iter_rows(named=True) for name in ("coverage80", "coverage95")]
    return pl.concat([_long(own).join(members, on="unique_id", how="inner").select(_SCORE).cast({"horizon": pl.Int64}),
                      _rows(bands)])
