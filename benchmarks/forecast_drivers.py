"""What a planned business driver is worth where a series follows it, and what it costs where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from costops.models import synthetic
from costops.models.forecast import Result, forecast

DAYS, HORIZON, COUNT = 300, 30, 60
FIRST = date(2024, 1, 1)
CASES = (("use in proportion to it", 1.0, 0.0), ("the same, the plan 10 % off", 1.0, 0.1),
         ("use as its square root", 0.5, 0.0), ("a driver of something else", 0.0, 0.0))


@dataclass(frozen=True)
class Case:
    """A panel, its drivers with their plans, and what came."""

    panel: pl.DataFrame
    drivers: pl.DataFrame
    came: dict[str, NDArray[np.float64]]


def users(rng: np.random.Generator) -> NDArray[np.float64]:
    """Active users: slow growth, weeks of more and less, and a campaign every other month."""
    path = np.cumsum(rng.normal(0.001, 0.012, DAYS + HORIZON))
    for day in rng.integers(0, DAYS + HORIZON, DAYS // 60):
        path[day:] += rng.normal(0, 0.15)
    return np.asarray(1_000 * np.exp(path))


def case(elasticity: float, off: float, seed: int) -> Case:
    """Cost series that follow a driver of their own with an elasticity; `off`: how far a plan is typically off."""
    rng = np.random.default_rng(seed)
    days = [FIRST + timedelta(days=step) for step in range(DAYS + HORIZON)]
    panel, drivers, came = [], [], {}
    for place, base in enumerate(synthetic.many(COUNT, days=DAYS + HORIZON, seed=seed)):
        name, driver = f"s{place:03d}", users(rng)
        y = base * (driver / driver.mean()) ** elasticity
        told = np.r_[driver[:DAYS], driver[DAYS:] * np.exp(off * rng.choice([-1.0, 1.0]))]
        panel.append(pl.DataFrame({"unique_id": name, "ds": days[:DAYS], "y": y[:DAYS]}))
        drivers.append(pl.DataFrame({"unique_id": name, "ds": days, "driver": "users", "value": told}))
        came[name] = y[DAYS:]
    return Case(pl.concat(panel), pl.concat(drivers), came)


def errors(result: Result, came: dict[str, NDArray[np.float64]]) -> pl.DataFrame:
    """Mean absolute error and model of each series."""
    return pl.DataFrame([(name, float(np.abs(rows["yhat"].to_numpy() - came[name]).mean()), str(rows["model"][0]))
                         for (name,), rows in result.forecasts.group_by("unique_id", maintain_order=True)],
                        schema=["unique_id", "mae", "model"], orient="row")


def table() -> None:
    """Print one row per case."""
    print(f"\n| {COUNT} series, {HORIZON} days ahead | share that uses it | MAE with / without, all | those that use it |"
          "\n|---|---|---|---|")
    for name, elasticity, off in CASES:
        one = case(elasticity, off, seed=17)
        without = forecast(one.panel, horizon=HORIZON)
        with_it = forecast(one.panel, horizon=HORIZON, fitted=without.fitted, drivers=one.drivers)
        both = errors(with_it, one.came).join(errors(without, one.came), on="unique_id", suffix="_without").with_columns(
            ratio=(pl.col("mae") / pl.col("mae_without")).log(), uses=pl.col("model").str.ends_with("with users"))
        mine = both.filter("uses")["ratio"].mean()
        told = "-" if mine is None else f"{np.exp(mine):.3f}"  # type: ignore[arg-type]
        print(f"| {name} | {both['uses'].mean():.0%} | {np.exp(both['ratio'].mean()):.3f} | {told} |")  # type: ignore[arg-type]
