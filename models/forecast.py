"""The front door: any long panel in, forecasts with intervals, scores and refusals out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np
import polars as pl

from costops.models import backtest, budget, choice, hourly, intervals, scores, synthetic
from costops.models.backtest import Fold, Outlook
from costops.models.boosted import Boosted, Series, Settings, train
from costops.models.drivers import NOTE_SCHEMA, apply
from costops.models.features import Array
from costops.models.measured import BACKTEST_SCHEMA, coverage, held, score_rows
from costops.models.panel import REFUSAL_SCHEMA, Daily, Panel, clean
from costops.models.publishing import Decision, Fitted, bounds_of, mean_of, naive_of, named, publish
from costops.models.statistical import is_retired, silent_days

MOST_TAUGHT = 2_000  # series the boosted model learns from
MOST_TESTED = 2_000  # series with a backtest of their own; the others use the pool's
MOST_YOUNG = 60
ENOUGH = 60  # series; a smaller panel is taught with synthetic ones beside its own
FURTHEST = 1_100  # days; no daily model says anything about year four
LATEST = 60  # days that a series may end before the day after which all are forecast
SCHEMA = {
    "unique_id": pl.String, "ds": pl.Date, "cutoff": pl.Date, "yhat": pl.Float64,
    "lo80": pl.Float64, "hi80": pl.Float64, "lo95": pl.Float64, "hi95": pl.Float64,
    "model": pl.String, "grade": pl.String, "mean": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Forecasts, the backtest scores behind them, measured coverage, and what could not be forecast."""

    forecasts: pl.DataFrame
    scores: pl.DataFrame
    coverage: pl.DataFrame
    refusals: pl.DataFrame
    notes: pl.DataFrame
    fitted: Fitted
    held_out: tuple[tuple[Daily, Fold], ...] = ()
    drivers: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=NOTE_SCHEMA))

    def backtest(self, name: str) -> pl.DataFrame:
        """Return the held-out days of one series, as they would have been forecast from each cutoff."""
        return pl.concat([held(one, fold, self.fitted) for one, fold in self.held_out if one.unique_id == name] or [
            pl.DataFrame(schema=BACKTEST_SCHEMA)])  # fmt: skip


def _spread(count: int, most: int) -> list[int]:
    """Return at most `most` places spread evenly over `count`."""
    return list(range(count)) if count <= most else [int(i) for i in np.linspace(0, count - 1, most)]


def _teachers(known: Sequence[Series], settings: Settings, horizon: int) -> tuple[list[Series], Settings]:
    """Return what the boosted model learns from; small panels get synthetic company and fewer rows."""
    usable = [s for s in known if s.y.size and not (s.y < 0).any()]
    usable = [usable[i] for i in _spread(len(usable), MOST_TAUGHT)]
    if len(usable) >= ENOUGH or not usable:
        return usable, settings
    company = synthetic.many(ENOUGH - len(usable), days=max(400, min(2 * horizon + 200, 600)), seed=settings.seed)
    rows = settings.rows if len(usable) >= 20 else settings.rows // 4
    return usable + [Series(y / np.abs(y[-112:]).mean(), 0, 1) for y in company], replace(settings, rows=rows)


def _teach(known: Sequence[Series], horizon: int, settings: Settings) -> Boosted | None:
    taught, used = _teachers(known, settings, horizon)
    return train(taught, horizon=min(horizon, 180), settings=used)


def _centres(tested: Sequence[Fold], weights: choice.Weights) -> list[Array]:
    return [
        choice.centre(f.outlook, f.segment, weights.by_day(f.segment, f.outlook.found[0].mean.size))[: f.actual.size]
        for f in tested
    ]


def _log_ratio(fold: Fold, centre: Array) -> float:
    """Return the log ratio of a centre's MAE to that of seasonal naive, bounded."""
    naive = np.abs(naive_of(fold.outlook)[: fold.actual.size] - fold.actual).mean()
    error = np.abs(centre - fold.actual).mean()
    return float(np.clip(np.log((error + 1e-9) / (naive + 1e-9)), -2, 2))


def fit(series: Sequence[Daily], *, horizon: int, settings: Settings | None = None) -> tuple[Fitted, list[Fold]]:
    """Return the trained models, weights and factors of a panel, and the folds they were measured on."""
    settings = settings or Settings()
    known = [backtest.to_series(s) for s in series]
    early = [backtest.to_series(s, backtest.earliest(s, horizon)) for s in series]
    past = _teach(early, horizon, settings)
    tested_series = [series[i] for i in _spread(len(series), MOST_TESTED)]
    tested = backtest.folds(tested_series, horizon, past)
    extra = backtest.folds(backtest.young(series, horizon, most=MOST_YOUNG), horizon, past)
    weights = choice.learn(tested + extra)
    centres = _centres(tested + extra, weights)
    calibration = intervals.calibrate(tested + extra, centres)
    ratios = [_log_ratio(f, c) for f, c in zip(tested, centres, strict=False)]
    pooled = float(np.mean(ratios)) if ratios else 0.0
    fitted = Fitted(
        horizon=horizon,
        boosted=_teach(known, horizon, settings),
        past=past,
        weights=weights,
        calibration=calibration,
        pooled=min(pooled, 0.0),
        dependence=_dependence(tested, centres),
        trained_to=max((s.last for s in series), default=None),
    )
    return replace(fitted, decisions=_decide(tested, fitted)), tested


def _dependence(tested: Sequence[Fold], centres: Sequence[Array]) -> float:
    """Return how much the errors of the days of one forecast go together, measured on month-long folds."""
    errors, sigmas = [], []
    for fold, centre in zip(tested, centres, strict=False):
        size = min(fold.actual.size, 30)
        if fold.segment == "regular" and size >= 14:
            raw = intervals.widths(fold.outlook)
            errors.append(fold.actual[:size] - centre[:size])
            sigmas.append((raw.up[95] + raw.down[95])[:size] / 2 / 1.96)
    return budget.dependence(errors, sigmas)


def _by_series(tested: Sequence[Fold]) -> dict[str, list[Fold]]:
    out: dict[str, list[Fold]] = {}
    for fold in tested:
        out.setdefault(fold.unique_id, []).append(fold)
    return out


def _decide(tested: Sequence[Fold], fitted: Fitted) -> dict[str, Decision]:
    """Return shift, naive fallback and grade of every tested series."""
    out = {}
    for name, own in _by_series(tested).items():
        shift = choice.own_shift(own, fitted.horizon)
        centres = [publish(f.outlook, f.segment, fitted, Decision(shift)) for f in own]
        ratios = [_log_ratio(f, c[: f.actual.size]) for f, c in zip(own, centres, strict=True)]
        days = sum(f.actual.size for f in own)
        driven = any(f.outlook.instead is not None for f in own)  # and held against whatever is published without
        naive = not driven and choice.loses_to_naive(ratios, fitted.pooled, days)
        reach = [min(30, f.actual.size) for f in own]
        chosen = [naive_of(f.outlook) if naive else c for f, c in zip(own, centres, strict=True)]
        totals = [scores.total_ape(f.actual[:r], c[:r]) for f, c, r in zip(own, chosen, reach, strict=True)]
        out[name] = Decision(shift, naive, choice.grade(totals))
    return out


def _rows(one: Daily, view: Outlook, fitted: Fitted, decision: Decision, days: slice) -> dict[str, object]:
    """Return the columns of one series' forecast for some of the days after its end, back in its own unit."""
    segment = backtest.segment(one.y)
    horizon = view.found[0].mean.size
    name = named(view, decision)
    if is_retired(one.y) or not one.y.any():
        # switched off: zero is expected, and the old level is what a restart would look like
        before = one.y[: one.y.size - silent_days(one.y)][-28:]
        old = float(before.mean()) / one.scale if before.size else 0.0
        centre, nothing = np.zeros(horizon), np.zeros(horizon)
        bounds = {"lo80": nothing, "hi80": nothing, "lo95": nothing, "hi95": np.full(horizon, old)}
        name = "retired" if one.y.any() else "zero"
    else:
        centre = publish(view, segment, fitted, decision)
        bounds = bounds_of(centre, view, segment, fitted, one.y.size)
    with np.errstate(over="ignore"):  # what leaves the range of floats is refused by the caller
        parts = {"yhat": centre, **bounds, "mean": mean_of(centre, bounds, segment)}
        values = {key: part[days] * one.scale for key, part in parts.items()}
    steps = range(1, horizon + 1)[days]
    return {
        "unique_id": [one.unique_id] * len(steps),
        "ds": [one.last + timedelta(days=step) for step in steps],
        "cutoff": [one.last] * len(steps),
        **values,
        "model": [name] * len(steps),
        "grade": [decision.grade] * len(steps),
    }


def _changed(tested: Sequence[Fold]) -> list[Fold]:
    """Return the folds of the series whose own past is not all that is published."""
    return [fold for fold in tested if fold.outlook.instead is not None]


def forecast(  # noqa: PLR0913  each is a choice of the caller
    panel: pl.DataFrame,
    *,
    horizon: int = 90,
    fitted: Fitted | None = None,
    with_backtest: bool = True,
    as_of: date | None = None,
    after: date | None = None,
    settings: Settings | None = None,
    drivers: pl.DataFrame | None = None,
    hours: pl.DataFrame | None = None,
) -> Result:
    """Return forecasts of every series for the `horizon` days after its last value, or after the day `after`.

    With `after` all series are forecast for the same days: one that ends earlier is forecast further.

    Nothing is ever NaN, and no bound of a non-negative series is negative. A series that cannot be
    forecast is a row in `refusals`. With `fitted`, nothing is trained; without a backtest nothing is
    measured and the decisions of the fit are used. `drivers` (unique_id, null for all series, ds, driver, value)
    are used where they are known to the end and the backtest of a series is better with them. So are the hours of
    short series, told by `panel` itself or by `hours` (unique_id, ds, y).
    """
    if not 1 <= horizon <= FURTHEST:
        raise ValueError(f"horizon is {horizon}; expected 1 to {FURTHEST} days")
    cleaned: Panel = clean(panel, as_of=as_of)
    tested: list[Fold] = []
    if fitted is None:
        fitted, tested = fit(cleaned.series, horizon=horizon, settings=settings)
    elif with_backtest:
        chosen = [cleaned.series[i] for i in _spread(len(cleaned.series), MOST_TESTED)]
        tested = backtest.folds(chosen, min(horizon, fitted.horizon), fitted.past)
        fitted = replace(fitted, decisions={**fitted.decisions, **_decide(tested, fitted)})
    skipped = {s.unique_id: max((after - s.last).days, 0) if after else 0 for s in cleaned.series}
    ended = [(s.unique_id, f"ends on {s.last}, {skipped[s.unique_id]} days early") for s in cleaned.series
             if skipped[s.unique_id] > LATEST]  # fmt: skip
    current = [s for s in cleaned.series if skipped[s.unique_id] <= LATEST]
    lead = max((skipped[s.unique_id] for s in current), default=0)
    views = backtest.outlooks([backtest.to_series(s) for s in current], horizon + lead, fitted.boosted)
    told, notes = pl.DataFrame(schema=NOTE_SCHEMA), cleaned.notes
    if with_backtest and any(hourly.short(one) for one in current):
        by_hour = hourly.apply(current, tested, views, panel if hours is None else hours, fitted=fitted)
        tested, views, notes = by_hour.tested, by_hour.views, pl.concat([notes, by_hour.notes])
        fitted = replace(fitted, decisions={**fitted.decisions, **_decide(_changed(tested), fitted)})
    if drivers is not None:
        until = [one.last + timedelta(days=skipped[one.unique_id] + horizon) for one in current]
        used = apply(current, tested, views, drivers, until=until, fitted=fitted)
        tested, views, told = used.tested, used.views, used.notes
        fitted = replace(fitted, decisions={**fitted.decisions, **_decide(_changed(tested), fitted)})
    blocks = []
    for one, view in zip(current, views, strict=True):
        decision = fitted.decisions.get(one.unique_id, Decision())
        days = slice(skipped[one.unique_id], skipped[one.unique_id] + horizon)
        blocks.append(pl.DataFrame(_rows(one, view, fitted, decision, days), schema=SCHEMA))
    known = {s.unique_id: s for s in cleaned.series}
    scored = [
        row
        for name, own in _by_series(tested).items()
        for row in score_rows(own, known[name].scale, fitted, fitted.decisions.get(name, Decision()))
    ]
    out = pl.concat(blocks) if blocks else pl.DataFrame(schema=SCHEMA)
    bad = out.filter(~pl.all_horizontal(pl.col("yhat", "lo80", "hi80", "lo95", "hi95", "mean").is_finite()))
    lost = bad["unique_id"].unique(maintain_order=True).to_list()
    reasons = [(name, "its forecast leaves the range of floating point numbers") for name in lost]
    beyond = pl.DataFrame([*ended, *reasons], schema=REFUSAL_SCHEMA, orient="row")
    return Result(
        forecasts=out.filter(~pl.col("unique_id").is_in(lost)),
        scores=pl.DataFrame(scored, schema=scores.SCHEMA),
        coverage=coverage(tested, fitted),
        refusals=pl.concat([cleaned.refusals, beyond]),
        notes=notes,
        fitted=fitted,
        drivers=told,
        held_out=tuple((known[fold.unique_id], fold) for fold in tested),
    )
