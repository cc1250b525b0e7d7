"""What hours add where there are but a few days: real streams cut to short histories, forecast with and without them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from costops.models.boosted import Settings
from costops.models.forecast import forecast

Array = NDArray[np.float64]
LENGTHS = (7, 10, 12)
HORIZON, SPAN, APART = 7, 14, 10
START = datetime(2026, 3, 2, tzinfo=UTC)


def clients(path: Path) -> dict[str, Array]:
    """Hourly requests of the steadier clients of a cloud trace: some use on four days of five."""
    trace = pl.read_parquet(path).group_by("client", hour=pl.col("start_s") // 3600).agg(y=pl.col("rate").sum() * 600)
    hours = (int(trace["hour"].max()) + 1) // 24 * 24  # type: ignore[arg-type]
    found = {}
    for (client,), own in trace.group_by("client", maintain_order=True):
        y = np.zeros(hours + 24)
        y[own["hour"].to_numpy()] = own["y"].to_numpy()
        if y.sum() >= 1_000 and (y[:hours].reshape(-1, 24).sum(axis=1) > 0).mean() >= 0.8:
            found[f"client {client}"] = y[:hours]
    return found


def streams(folder: Path) -> dict[str, Array]:
    """Two weeks at a time of the NAB files, summed to hours."""
    found = {}
    for path in sorted(folder.rglob("*.csv")):
        told = pl.read_csv(path, try_parse_dates=True)
        time, value = told.columns[:2]
        hours = told.group_by(hour=pl.col(time).dt.truncate("1h")).agg(pl.col(value).sum()).sort("hour").upsample(
            "hour", every="1h")
        y = hours[value].fill_null(0).to_numpy().astype(np.float64)
        for start in range(0, y.size, APART * 24):
            part = y[start : start + SPAN * 24]
            if part.size == SPAN * 24 and (part >= 0).all() and part.sum() > 0:
                found[f"{path.stem} {start // 24}"] = part
    return found


def row(name: str, series: dict[str, Array], days: int) -> None:
    """Print one row of the table: `days` of history, the next week or what is left of the stream."""
    hours = [START + timedelta(hours=step) for step in range(days * 24)]
    panel = pl.concat(pl.DataFrame({"unique_id": one, "ds": hours, "y": y[: days * 24]}) for one, y in series.items())
    daily = panel.group_by("unique_id", pl.col("ds").dt.date(), maintain_order=True).agg(pl.col("y").sum())
    without = forecast(daily, horizon=HORIZON, settings=Settings(rows=20_000))
    with_hours = forecast(panel, horizon=HORIZON, fitted=without.fitted)
    errors, uses = [], []
    for one, y in series.items():
        came = y[days * 24 :].reshape(-1, 24).sum(axis=1)[:HORIZON]
        own = [made.forecasts.filter(pl.col("unique_id") == one) for made in (without, with_hours)]
        scale = float(y.mean()) * 24
        errors.append([float(np.abs(rows["yhat"].to_numpy()[: came.size] - came).mean()) / scale for rows in own])
        uses.append(str(own[1]["model"][0]).endswith("with hours"))
    told, used = np.array(errors), np.array(uses)
    mine = f"{told[used, 1].mean() / told[used, 0].mean():.3f}" if used.any() else "-"
    print(f"| {name} | {len(series)} | {days} | {used.mean():.0%} | {told[:, 1].mean() / told[:, 0].mean():.3f} | {mine} |")


def table(shared: Path) -> None:
    """Print the table over the cloud trace and the NAB files of the shared data."""
    print("\n| hours of | series | days known | share that uses them | error with / without, all | those that use them |"
          "\n|---|---|---|---|---|---|")
    for name, found in (("clients of a cloud trace", clients(shared / "traces" / "servegen_m-large_trace.parquet")),
                        ("NAB files, two weeks at a time", streams(shared / "series" / "nab"))):
        for days in LENGTHS:
            row(name, found, days)
