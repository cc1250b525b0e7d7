"""Parts that sum to their total: weighted least squares by backtest variance, never below zero."""

from __future__ import annotations

import numpy as np
import polars as pl

from costops.models.features import Array

BOUNDS = ("lo80", "hi80", "lo95", "hi95")
ROUNDS = 50


class HierarchyError(ValueError):
    """The parent-child rows do not form a hierarchy over the given series."""


def reconcile_levels(base: Array, summing: Array, variances: Array) -> Array:
    """Return coherent, non-negative forecasts (levels, days) closest to `base` in units of its variances.

    `summing` says which bottom series (columns) each level (rows) adds up. Levels without a usable
    variance do not count; when no upper level counts, this is bottom-up.
    """
    bottom = _bottom_rows(summing)
    usable = np.isfinite(variances) & (variances > 0)
    if not usable.any() or not usable[bottom].all():
        return np.asarray(summing @ np.maximum(base[bottom], 0.0))
    weight = np.where(usable, 1.0 / np.where(usable, variances, 1.0), 0.0)
    weight = weight / weight.max()
    gram = (summing.T * weight) @ summing
    target = (summing.T * weight) @ base
    parts = _solve(gram, target)
    for _ in range(ROUNDS):  # days with a negative part: fix those at zero, solve for the rest
        if (parts >= -1e-12).all():
            break
        for day in np.flatnonzero((parts < -1e-12).any(axis=0)):
            parts[:, day] = _non_negative(gram, target[:, day])
    return np.asarray(summing @ np.maximum(parts, 0.0))


def _solve(gram: Array, target: Array) -> Array:
    try:
        return np.asarray(np.linalg.solve(gram, target))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(gram, target, rcond=None)[0])


def _non_negative(gram: Array, target: Array) -> Array:
    """Return the non-negative minimiser of one day's quadratic, by shrinking its set of free parts."""
    free = np.ones(target.size, dtype=bool)
    out = np.zeros(target.size)
    while free.any():
        out[:] = 0.0
        out[free] = _solve(gram[np.ix_(free, free)], target[free])
        below = out < -1e-12
        if not below.any():
            break
        free &= ~below
    return np.maximum(out, 0.0)


def _bottom_rows(summing: Array) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the row of each bottom series: the one that adds up that series alone."""
    alone = np.flatnonzero(summing.sum(axis=1) == 1)
    place = {int(np.argmax(summing[row])): int(row) for row in alone[::-1]}
    if len(place) < summing.shape[1]:
        raise HierarchyError("a bottom series has no row of its own; give every leaf a forecast")
    return np.array([place[column] for column in range(summing.shape[1])])


def summing_matrix(names: list[str], edges: list[tuple[str, str]]) -> tuple[list[str], Array]:
    """Return the bottom series and the matrix that adds them up, from (parent, child) pairs."""
    children: dict[str, list[str]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    unknown = sorted({n for edge in edges for n in edge} - set(names))
    if unknown:
        raise HierarchyError(f"no forecast for {', '.join(unknown[:5])}; forecast every level or drop its edges")
    bottom = [n for n in names if n not in children]
    place = {n: i for i, n in enumerate(bottom)}
    rows = np.zeros((len(names), len(bottom)))

    def leaves(name: str, path: tuple[str, ...]) -> set[int]:
        if name in path:
            raise HierarchyError(f"{name} is its own ancestor; remove the cycle {' > '.join((*path, name))}")
        if name in place:
            return {place[name]}
        return {leaf for child in children[name] for leaf in leaves(child, (*path, name))}

    for i, name in enumerate(names):
        rows[i, sorted(leaves(name, ()))] = 1.0
    return bottom, rows


def reconcile(forecasts: pl.DataFrame, edges: pl.DataFrame, variances: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return the forecasts with parts that sum to their parents on every day.

    Only means add up: where there is a `mean`, that is what is reconciled, and `yhat` becomes it.

    `edges` holds parent and child; `variances` unique_id and variance, from the backtest. Without it the
    parts are added up. Each interval keeps its own width and moves with its centre, so the total's
    interval still comes from the total's own errors.
    """
    names = forecasts["unique_id"].unique(maintain_order=True).to_list()
    _, summing = summing_matrix(names, list(edges.select("parent", "child").iter_rows()))
    days = forecasts["ds"].unique().sort()
    centre = "mean" if "mean" in forecasts.columns else "yhat"
    wide = forecasts.pivot(on="unique_id", index="ds", values=centre).sort("ds").select(names)
    base = wide.to_numpy().T
    if not np.isfinite(base.astype(np.float64)).all():
        raise HierarchyError("the levels do not cover the same days; forecast them to the same horizon and cutoff")
    known = dict(variances.select("unique_id", "variance").iter_rows()) if variances is not None else {}
    weights = np.array([known.get(n, np.nan) for n in names], dtype=np.float64)
    fitted = reconcile_levels(base, summing, weights)
    moved = pl.DataFrame(
        {"unique_id": np.repeat(names, len(days)), "ds": pl.concat([days] * len(names)), "coherent": fitted.ravel()}
    )
    return shifted(forecasts, moved, centre)


def shifted(forecasts: pl.DataFrame, moved: pl.DataFrame, centre: str) -> pl.DataFrame:
    """Return forecasts with the centres of `moved` (unique_id, ds, coherent); the bounds move with them."""
    joined = forecasts.join(moved, on=["unique_id", "ds"], how="left", maintain_order="left")
    shift = pl.col("coherent") - pl.col(centre)
    moved_bounds = []
    for bound in (b for b in BOUNDS if b in forecasts.columns):
        outer = pl.max_horizontal if bound.startswith("hi") else pl.min_horizontal
        moved_bounds.append(outer((pl.col(bound) + shift).clip(lower_bound=0.0), pl.col("coherent")).alias(bound))
    same = [pl.col("coherent").alias(name) for name in {"yhat", centre}]
    return joined.with_columns(*moved_bounds, *same).drop("coherent")
