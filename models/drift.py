"""Whether live forecasts still keep what their backtest promised."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

COVERAGE = (0.90, 0.98)  # outside of it the 95 % interval has lost its meaning
LEAST_DAYS = 14


@dataclass(frozen=True)
class DriftRules:
    """When live errors call for a refit."""

    worse: float = 1.5  # times the backtest's MAE
    least_days: int = LEAST_DAYS
    coverage: tuple[float, float] = COVERAGE


def live(forecasts: pl.DataFrame, actual: pl.DataFrame) -> pl.DataFrame:
    """Return one row per forecast day that has come true: error, and whether it was inside the intervals."""
    truth = actual.select(pl.col("unique_id").cast(pl.String), pl.col("ds").cast(pl.Date), pl.col("y").cast(pl.Float64))
    joined = forecasts.join(truth, on=["unique_id", "ds"]).filter(pl.col("y").is_finite())
    slack = 1e-9 * pl.col("y").abs().clip(lower_bound=1e-6)
    return joined.with_columns(
        error=(pl.col("y") - pl.col("yhat")).abs(),
        step=(pl.col("ds") - pl.col("cutoff")).dt.total_days(),
        inside80=(pl.col("y") >= pl.col("lo80") - slack) & (pl.col("y") <= pl.col("hi80") + slack),
        inside95=(pl.col("y") >= pl.col("lo95") - slack) & (pl.col("y") <= pl.col("hi95") + slack),
    )


def drift(lived: pl.DataFrame, scores: pl.DataFrame, *, rules: DriftRules | None = None) -> pl.DataFrame:
    """Return one row per series: live MAE and coverage beside the backtest's, `is_drift` and the reason.

    The backtest's MAE at the shortest scored horizon that reaches the live days is the yardstick.
    """
    rules = rules or DriftRules()
    measured = lived.group_by("unique_id", maintain_order=True).agg(
        days=pl.len(),
        furthest=pl.col("step").max(),
        live_mae=pl.col("error").mean(),
        live_coverage95=pl.col("inside95").mean(),
    )
    promised = scores.filter(pl.col("model") == "published").select("unique_id", "horizon", backtest_mae="mae")
    paired = measured.join(promised, on="unique_id", how="left")
    paired = paired.with_columns(short=(pl.col("horizon") < pl.col("furthest")).fill_null(value=True))
    paired = paired.sort("unique_id", "short", pl.when("short").then(-pl.col("horizon")).otherwise("horizon"))
    chosen = paired.group_by("unique_id", maintain_order=True).first().drop("short", "furthest")
    enough = pl.col("days") >= rules.least_days
    ratio = pl.col("live_mae") / pl.col("backtest_mae")
    low, high = rules.coverage
    # the allowance is two standard errors, so that two weeks of luck are not called drift
    slack = 2 * (0.95 * 0.05 / pl.col("days")).sqrt()
    under = pl.col("live_coverage95") < low - slack
    held = (100 * pl.col("live_coverage95")).round(0)
    over = (pl.col("live_coverage95") > high) & (pl.col("days") >= 10 * rules.least_days)
    return chosen.with_columns(ratio=ratio).with_columns(
        reason=pl.when(~enough).then(pl.lit(""))
        .when(pl.col("ratio") > rules.worse)
        .then(pl.format("live error is {} times the backtest's", pl.col("ratio").round(1)))
        .when(under).then(pl.format("95 % interval held {} % of days", held))
        .when(over).then(pl.format("95 % interval held {} % of days: too wide to warn", held))
        .otherwise(pl.lit(""))
    ).with_columns(is_drift=pl.col("reason") != "")  # fmt: skip


def coverage_alarm(lived: pl.DataFrame, *, rules: DriftRules | None = None) -> pl.DataFrame:
    """Return pooled live coverage by horizon band, and whether it left the range that was promised."""
    rules = rules or DriftRules()
    band = pl.when(pl.col("step") <= 7).then(pl.lit("1-7")).when(pl.col("step") <= 14).then(pl.lit("8-14")).when(
        pl.col("step") <= 30
    ).then(pl.lit("15-30")).when(pl.col("step") <= 60).then(pl.lit("31-60")).otherwise(pl.lit("61-90"))  # fmt: skip
    grouped = lived.group_by(band=band).agg(
        days=pl.len(),
        coverage80=pl.col("inside80").mean(),
        coverage95=pl.col("inside95").mean(),
        order=pl.col("step").min(),
    )
    low, high = rules.coverage
    outside = ~pl.col("coverage95").is_between(low, high) & (pl.col("days") >= 100)
    return grouped.sort("order").drop("order").with_columns(is_alarm=outside)
