"""How the backtest of what is published went: scores, held-out days and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from costops.models import intervals, scores
from costops.models.backtest import Fold
from costops.models.features import Array
from costops.models.panel import Daily
from costops.models.publishing import Decision, Fitted, bounds_of, naive_of, publish

REPORTED = (7, 30, 90)
BACKTEST_SCHEMA = {
    "unique_id": pl.String, "cutoff": pl.Date, "ds": pl.Date, "y": pl.Float64, "yhat": pl.Float64,
    "lo80": pl.Float64, "hi80": pl.Float64, "lo95": pl.Float64, "hi95": pl.Float64,
}  # fmt: skip
COVERAGE_SCHEMA = {
    "segment": pl.String, "band": pl.String, "forecasts": pl.UInt32, "coverage80": pl.Float64, "coverage95": pl.Float64,
}  # fmt: skip


def score_rows(own: Sequence[Fold], scale: float, fitted: Fitted, decision: Decision) -> list[dict[str, object]]:
    """Return the mean scores of every model of one series at each reported horizon."""
    horizon = fitted.horizon
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for fold in own:
        centre = publish(fold.outlook, fold.segment, fitted, decision)
        bounds = bounds_of(centre, fold.outlook, fold.segment, fitted, fold.origin)
        views: dict[str, tuple[Array, dict[str, Array] | None]] = {"published": (centre, bounds)}
        views.update({m.name: (m.mean, None) for m in fold.outlook.found})
        if fold.outlook.boosted is not None:
            views["boosted"] = (fold.outlook.boosted[2], None)
        naive = naive_of(fold.outlook)
        for reach in sorted({*(h for h in REPORTED if h < horizon), horizon}):
            if reach > fold.actual.size:
                continue
            actual = fold.actual[:reach]
            for name, (yhat, around) in views.items():
                cut = None if around is None else {k: v[:reach] for k, v in around.items()}
                found.setdefault((name, reach), []).append(
                    scores.score(
                        actual, yhat[:reach], naive=naive[:reach], naive_error=fold.naive_error, level=1.0, bounds=cut
                    )
                )
    rows: list[dict[str, object]] = []
    for (name, reach), many in found.items():
        mean = {k: _mean([m[k] for m in many]) for k in many[0]}
        mae = mean.pop("mae")
        rows.append(
            {"unique_id": own[0].unique_id, "model": name, "horizon": reach, "folds": len(many),
             "mae": None if mae is None else mae * scale, **mean}
        )  # fmt: skip
    return rows


def _mean(values: Sequence[float]) -> float | None:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.mean(finite)) if finite else None


def held(one: Daily, fold: Fold, fitted: Fitted) -> pl.DataFrame:
    """Return the days of one fold with what would have been published, in the unit of the series."""
    decision = fitted.decisions.get(one.unique_id, Decision())
    centre = publish(fold.outlook, fold.segment, fitted, decision)
    bounds = bounds_of(centre, fold.outlook, fold.segment, fitted, fold.origin)
    size = fold.actual.size
    cutoff = one.first + timedelta(days=fold.origin - 1)
    parts = {"y": fold.actual, "yhat": centre[:size], **{name: bound[:size] for name, bound in bounds.items()}}
    return pl.DataFrame(
        {
            "unique_id": [one.unique_id] * size, "cutoff": [cutoff] * size,
            "ds": [cutoff + timedelta(days=step) for step in range(1, size + 1)],
            **{name: part * one.scale for name, part in parts.items()},
        },
        schema=BACKTEST_SCHEMA,
    )  # fmt: skip


def coverage(tested: Sequence[Fold], fitted: Fitted) -> pl.DataFrame:
    """Return the measured coverage of the published intervals by segment and horizon band."""
    rows = []
    for fold in tested:
        decision = fitted.decisions.get(fold.unique_id, Decision())
        centre = publish(fold.outlook, fold.segment, fitted, decision)
        bounds = bounds_of(centre, fold.outlook, fold.segment, fitted, fold.origin)
        size = fold.actual.size
        for start, stop in intervals.BANDS:
            cut = slice(start - 1, min(stop, size))
            if start > size:
                break
            inside = {
                f"coverage{v}": scores.coverage(
                    fold.actual[cut], bounds[f"lo{v}"][:size][cut], bounds[f"hi{v}"][:size][cut]
                )
                for v in intervals.LEVELS
            }
            rows.append({"segment": fold.segment, "band": f"{start}-{stop}", "first_day": start, **inside})
    if not rows:
        return pl.DataFrame(schema=COVERAGE_SCHEMA)
    grouped = pl.DataFrame(rows).group_by("segment", "band", "first_day").agg(
        pl.len().alias("forecasts"), pl.col("coverage80").mean(), pl.col("coverage95").mean()
    )  # fmt: skip
    return grouped.sort("segment", "first_day").drop("first_day")
