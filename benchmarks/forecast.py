"""Print every forecast goal with what was measured: `python benchmarks/forecast.py [--series FOLDER]`."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import forecast_drivers
import forecast_hours
import numpy as np
import polars as pl
from forecast_cases import (
    BOUNDS,
    ORIGINS,
    Array,
    Case,
    Forecasts,
    boosted_baseline,
    classical,
    family_cases,
    load,
    panel,
)

from costops.models import scores, synthetic
from costops.models.forecast import forecast
from costops.models.hierarchy import reconcile
from costops.models.publishing import Fitted

HORIZONS = (7, 30, 90)
LIMITS = {7: 0.10, 30: 0.15, 90: 0.20}


def folder() -> Path:
    """Return where the shared series lie, from the environment or beside the repository."""
    return Path(os.environ.get("COSTOPS_SHARED", "../shared")) / "data" / "series"


def published(cases: list[Case]) -> tuple[Forecasts, Fitted, float]:
    """Return what `forecast` publishes at each origin, its newest fit, and the CPU seconds it took."""
    out: Forecasts = {}
    fitted: Fitted | None = None
    start = time.process_time()
    for origin in reversed(range(ORIGINS)):
        result = forecast(panel(cases, origin), horizon=90)
        fitted = result.fitted
        for key, rows in result.forecasts.group_by("unique_id", maintain_order=True):
            out[str(key[0]), origin] = {c: rows[c].to_numpy() for c in ("yhat", *BOUNDS)}
    assert fitted is not None
    return out, fitted, time.process_time() - start


def measure(cases: list[Case], found: Forecasts, naive: Forecasts, model: str) -> pl.DataFrame:
    """Return one row of scores per series, origin and horizon."""
    rows = []
    for case in cases:
        for origin in range(ORIGINS):
            key = (case.unique_id, origin)
            if key not in naive:
                continue
            cut = case.cut(origin)
            known = case.y[:cut]
            scale = float(np.abs(known[7:] - known[:-7]).mean())
            own = found.get(key, {"yhat": naive[key]["yhat"]})
            for reach in HORIZONS:
                if reach > case.horizon:
                    continue
                actual = case.y[cut : cut + reach]
                part: dict[str, Array] = {k: v[:reach] for k, v in own.items()}
                bounds = {b: part[b] for b in BOUNDS} if "lo80" in part else None
                got = scores.score(
                    actual, part["yhat"], naive=naive[key]["yhat"][:reach], naive_error=scale,
                    level=float(known[-28:].mean()), bounds=bounds,
                )  # fmt: skip
                rows.append(
                    {"model": model, "unique_id": case.unique_id, "family": case.family, "segment": case.segment,
                     "origin": origin, "horizon": reach,
                     "naive_mae": scores.mae(actual, naive[key]["yhat"][:reach]), **got}
                )  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def relative(table: pl.DataFrame) -> pl.DataFrame:
    """Return the geometric mean MAE ratio to seasonal naive, over series and over families."""
    series = table.group_by("model", "segment", "horizon", "family", "unique_id").agg(
        ratio=(pl.col("mae").mean() / pl.col("naive_mae").mean()).log()
    )
    series = series.filter(pl.col("ratio").is_finite())
    family = series.group_by("model", "segment", "horizon", "family").agg(pl.col("ratio").mean())
    by = ["model", "segment", "horizon"]
    return series.group_by(by).agg(rel=pl.col("ratio").mean().exp()).join(
        family.group_by(by).agg(fam=pl.col("ratio").mean().exp()), on=by
    )  # fmt: skip


def averages(table: pl.DataFrame) -> pl.DataFrame:
    """Return the other scores by model, segment and horizon."""
    number = pl.selectors.float()
    clean = table.with_columns(number.fill_nan(None))
    return clean.group_by("model", "segment", "horizon").agg(
        pl.col("crps").mean(), pl.col("interval_score95").mean().alias("is95"),
        pl.col("interval_score95").log().mean().exp().alias("is95_geometric"),
        pl.col("coverage80").mean(), pl.col("coverage95").mean(),
        pl.col("mape").median(), pl.col("total_ape").median(), pl.col("mase").mean(), pl.col("wape").median(),
    )  # fmt: skip


def pick(frame: pl.DataFrame, column: str, model: str, segment: str, horizon: int) -> float:
    """Return one number of a table; NaN where there is none."""
    found = frame.filter((pl.col("model") == model) & (pl.col("segment") == segment) & (pl.col("horizon") == horizon))
    return float(found[column][0]) if found.height and found[column][0] is not None else float("nan")


def best(frame: pl.DataFrame, column: str, horizon: int) -> float:
    """Return the best single baseline's number on regular series."""
    others = frame.filter(
        (pl.col("model") != "published") & (pl.col("segment") == "regular") & (pl.col("horizon") == horizon)
    )
    return float(others[column].drop_nulls().drop_nans().min())  # type: ignore[arg-type]


class Goals:
    """The printed list: each bar, what was measured, whether must and stretch are met."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str, str]] = []

    def add(
        self, name: str, values: list[float], must: list[tuple[float, float]], stretch: list[tuple[float, float]]
    ) -> None:
        def met(ranges: list[tuple[float, float]]) -> str:
            inside = [lo - 5e-4 <= v <= hi + 5e-4 for v, (lo, hi) in zip(values, ranges, strict=True)]
            return "yes" if all(inside) else "no" if not any(inside) else "/".join("yes" if i else "no" for i in inside)

        def show(ranges: list[tuple[float, float]]) -> str:
            return " / ".join(
                f"<= {hi:g}" if lo == 0 else f"{lo:g}-{hi:g}" if hi < 1e9 else f">= {lo:g}" for lo, hi in ranges
            )

        measured = " / ".join(f"{v:.3f}" if abs(v) < 5 else f"{v:.1f}" for v in values)
        self.rows.append((name, measured, show(must), met(must), met(stretch)))

    def print(self) -> None:
        print("| bar | measured | must | must met | stretch met |\n|---|---|---|---|---|")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")


def most(*values: float) -> list[tuple[float, float]]:
    return [(0.0, v) for v in values]


def accuracy(goals: Goals, rel: pl.DataFrame, avg: pl.DataFrame) -> None:
    """Add the rows on regular series."""
    ours = "published"

    def against(frame: pl.DataFrame, column: str) -> list[float]:
        return [pick(frame, column, ours, "regular", h) / best(frame, column, h) for h in HORIZONS]

    def own(column: str, by: float = 1.0) -> list[float]:
        return [by * pick(avg, column, ours, "regular", h) for h in HORIZONS]

    goals.add(
        "MAE / best single baseline, 7 / 30 / 90 d", against(rel, "rel"), most(0.98, 0.93, 0.87), most(0.95, 0.90, 0.80)
    )
    goals.add("the same, families equal", against(rel, "fam"), most(0.95, 0.94, 0.88), most(0.92, 0.90, 0.82))
    goals.add("CRPS / best baseline", against(avg, "crps"), most(0.96, 0.92, 0.87), most(0.92, 0.87, 0.80))
    goals.add("interval score / best baseline", against(avg, "is95"), most(1.0, 0.93, 0.91), most(0.95, 0.90, 0.85))
    geometric = against(avg, "is95_geometric")
    goals.add("for comparison, geometric mean over forecasts", geometric, most(1.0, 0.93, 0.91), most(0.95, 0.90, 0.85))
    goals.add("coverage of the 95% interval", own("coverage95"), [(0.93, 0.97)] * 3, [(0.94, 0.96)] * 3)
    goals.add("coverage of the 80% interval", own("coverage80"), [(0.75, 0.85)] * 3, [(0.78, 0.82)] * 3)
    goals.add("median MAPE (%)", own("mape", 100), most(12, 15, 19), most(10.5, 13.5, 16.5))
    goals.add("median period-total error (%)", own("total_ape", 100), most(7, 10, 11), most(6, 8, 9))


def special(goals: Goals, rel: pl.DataFrame, avg: pl.DataFrame) -> None:
    """Add the rows on short and intermittent series."""
    ours = "published"
    short = [pick(rel, "rel", ours, "short", h) for h in (7, 30)]
    goals.add("short series: relative MAE 7 / 30 d", short, most(1.0, 0.95), most(0.95, 0.90))
    held = [pick(avg, "coverage95", ours, "short", h) for h in (7, 30)]
    goals.add(
        "short series: coverage of the 95% interval", held, [(0.88, 1e9), (0.83, 1e9)], [(0.93, 1e9), (0.90, 1e9)]
    )
    sparse = [pick(rel, "rel", ours, "intermittent", h) for h in HORIZONS]
    goals.add("intermittent: relative MAE 7 / 30 / 90 d", sparse, most(0.90, 0.87, 0.76), most(0.65, 0.80, 0.70))


def warm(goals: Goals, cases: list[Case], fitted: Fitted) -> None:
    """Add the CPU seconds of one warm 90-day forecast, without and with its backtest."""
    one = panel([c for c in cases if c.horizon == 90][:1], 0)
    times = []
    for tested in (False, True):
        forecast(one, horizon=90, fitted=fitted, with_backtest=tested)
        start = time.process_time()
        for _ in range(5):
            forecast(one, horizon=90, fitted=fitted, with_backtest=tested)
        times.append((time.process_time() - start) / 5)
    goals.add("warm 90-day forecast of one series, CPU s", times[:1], most(0.2), most(0.05))
    goals.add("the same with its backtest, CPU s", times[1:], most(2.0), most(2.0))


def coherence(goals: Goals, series: Path) -> None:
    """Add the cost of making parts sum to their total: total, two halves and bottom, 30 days."""
    for family, most_parts in (("gefcom_load", 20), ("nn5_atm_cash", 20)):
        cases = family_cases(series, family, most_parts)
        if len(cases) < 4:
            continue
        edges = pl.DataFrame(
            [("half-0", "total"), ("half-1", "total")] + [(c.unique_id, f"half-{i % 2}") for i, c in enumerate(cases)],
            schema=["child", "parent"], orient="row",
        )  # fmt: skip
        base_error = own_error = gap = 0.0
        for origin in range(ORIGINS):
            parts = panel(cases, origin)
            halves = parts.join(edges.rename({"child": "unique_id"}), on="unique_id")
            middle = halves.group_by("parent", "ds").agg(pl.col("y").sum()).rename({"parent": "unique_id"})
            top = parts.group_by("ds").agg(pl.col("y").sum()).with_columns(unique_id=pl.lit("total"))
            levels = pl.concat([f.select("unique_id", "ds", "y") for f in (top, middle, parts)]).sort("unique_id", "ds")
            result = forecast(levels, horizon=30)
            held = result.scores.filter((pl.col("model") == "published") & (pl.col("horizon") == 30))
            out = reconcile(result.forecasts, edges, held.select("unique_id", variance=pl.col("mae") ** 2))
            actual = {c.unique_id: c.y[c.cut(origin) : c.cut(origin) + 30] for c in cases}
            for name, truth in actual.items():
                base_error += float(np.abs(_yhat(result.forecasts, name) - truth).sum())
                own_error += float(np.abs(_yhat(out, name) - truth).sum())
            total = _yhat(out, "total")
            gap = max(gap, float((np.abs(np.sum([_yhat(out, n) for n in actual], axis=0) - total) / total).max()))
        name = f"reconciled / base bottom WAPE, 30 d, {family} ({len(cases)} parts, sums off by {gap:.0e})"
        goals.add(name, [own_error / base_error], most(1.01), most(1.0))


def _yhat(frame: pl.DataFrame, name: str) -> Array:
    return frame.filter(pl.col("unique_id") == name).sort("ds")["yhat"].to_numpy()


def claim(table: pl.DataFrame) -> None:
    """Print the share of regular series inside the accuracy limits, by day and by period total."""
    ours = table.filter((pl.col("model") == "published") & (pl.col("segment") == "regular"))
    print("\n| horizon | limit | share of forecasts by daily MAPE | by period total |\n|---|---|---|---|")
    for reach, limit in LIMITS.items():
        part = ours.filter(pl.col("horizon") == reach).with_columns(pl.selectors.float().fill_nan(None))
        day = (part["mape"].drop_nulls() < limit).mean()
        total = (part["total_ape"].drop_nulls() < limit).mean()
        print(f"| {reach} d | {limit:.0%} | {day:.0%} | {total:.0%} |")


def speed(count: int) -> None:
    """Print the CPU seconds of a whole panel with calibration."""
    frame = synthetic.frame(count, days=400, seed=3)
    start, wall = time.process_time(), time.perf_counter()
    result = forecast(frame, horizon=90)
    cpu, took = time.process_time() - start, time.perf_counter() - wall
    print(
        f"\n{count} series of 400 days, trained, backtested, calibrated, 90 days: "
        f"{cpu:.0f} s CPU, {took:.0f} s wall, {result.forecasts.height} rows"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=Path, default=folder(), help="folder with daily.csv and series_meta.csv")
    parser.add_argument("--speed", type=int, default=0, metavar="N", help="also time a panel of N synthetic series")
    args = parser.parse_args()
    cases = load(args.series)
    singles = classical(cases)
    singles["LightGBM recursive"] = boosted_baseline(cases)
    own, fitted, cpu = published(cases)
    naive = singles["seasonal naive"]
    table = pl.concat(measure(cases, found, naive, name) for name, found in {"published": own, **singles}.items())
    rel, avg = relative(table), averages(table)
    goals = Goals()
    accuracy(goals, rel, avg)
    special(goals, rel, avg)
    warm(goals, cases, fitted)
    coherence(goals, args.series)
    goals.print()
    print(
        f"\n{len(cases)} series, {ORIGINS} origins each: "
        f"{cpu:.0f} s CPU for training, backtests, calibration and forecasts."
    )
    claim(table)
    print(
        "\n| model | segment | horizon | relMAE | famMAE | MAPE % | total % | MASE | CRPS | IS95 | cov80 | cov95 |\n|"
        + "---|" * 12
    )
    both = rel.join(avg, on=["model", "segment", "horizon"]).sort(
        "segment", "horizon", "rel", descending=[True, False, False]
    )
    for row in both.iter_rows(named=True):
        numbers = [
            row["rel"],
            row["fam"],
            _pct(row["mape"]),
            _pct(row["total_ape"]),
            row["mase"],
            row["crps"],
            row["is95"],
            row["coverage80"],
            row["coverage95"],
        ]
        cells = ["-" if n is None or not np.isfinite(n) else f"{n:.3f}" if abs(n) < 5 else f"{n:.1f}" for n in numbers]
        print(f"| {row['model']} | {row['segment']} | {row['horizon']} | " + " | ".join(cells) + " |")
    forecast_drivers.table()
    if (args.series.parent / "traces").is_dir():
        forecast_hours.table(args.series.parent)
    if args.speed:
        speed(args.speed)


def _pct(value: float | None) -> float | None:
    return None if value is None else 100 * value


if __name__ == "__main__":
    main()
