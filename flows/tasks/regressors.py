"""The declared business drivers of a forecast, from the lake's business metrics; a finding for each that is of no use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import polars as pl

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.run import Run
from costops.transforms.check import conform
from costops.transforms.finding import findings
from costops.transforms.tables import CORE_BUSINESS_METRIC, CORE_FINDING, OUT_FORECAST

SOURCE = "drivers"
"""The name under which drivers that cannot be used are kept as findings."""

SCHEMA = {"unique_id": pl.String(), "ds": pl.Date(), "driver": pl.String(), "value": pl.Float64()}


def declared(run: Run) -> pl.DataFrame | None:
    """Values of `[forecast] drivers` by day, past and planned: unique_id (null: every series), ds, driver, value.

    A metric without keys drives every series; one with a single key that forecasts are made by drives the series of its
    value. Of two sources that tell the same the later name counts. A declared metric that nobody tells is a row of nulls.
    """
    names = run.settings.forecast.drivers
    if not names:
        return None
    told = run.lake.read(CORE_BUSINESS_METRIC).filter(pl.col("metric").is_in(names)).sort("source", "day", "metric")
    owners = [(text, *_owner(text, run.settings.forecast.by)) for text in told["keys"].unique().sort()]
    known = pl.DataFrame(owners, schema={"keys": pl.String, "unique_id": pl.String, "fits": pl.Boolean}, orient="row")
    rows = told.unique(["day", "metric", "keys"], keep="last", maintain_order=True).join(
        known.filter("fits"), on="keys", maintain_order="left").select(
        "unique_id", pl.col("day").alias("ds"), pl.col("metric").alias("driver"),
        pl.col("value").cast(pl.Float64))         # a count at the door of the models
    silent = [name for name in names if name not in set(rows["driver"])]
    return pl.concat([rows, pl.DataFrame({"driver": silent}, schema={"driver": pl.String}).select(
        pl.lit(None, pl.String).alias("unique_id"), pl.lit(None, pl.Date).alias("ds"), "driver",
        pl.lit(None, pl.Float64).alias("value"))]).cast(SCHEMA)  # type: ignore[arg-type]


def _owner(keys: str, by: Sequence[str]) -> tuple[str | None, bool]:
    """The series that keys belong to, and whether there is one."""
    told = json.loads(keys)
    if not told:
        return None, True
    (name, value), *more = told.items()
    return f"{name}={value}", not more and name in by


def fingerprint(drivers: pl.DataFrame | None) -> tuple[str, ...]:
    """What a forecast rests on beside spend."""
    return () if drivers is None else (hashlib.sha256(drivers.write_csv().encode()).hexdigest(),)


def note(run: Run, notes: pl.DataFrame) -> None:
    """Put tonight's findings on drivers in the place of its earlier ones."""
    day = run.now.date()
    rows = [{"reason": "driver_unusable", "source": SOURCE, "day": day, "severity": "warning",
             "dataset": OUT_FORECAST.name, "field": driver if owner is None else f"{driver} of {owner}",
             "expected": "a number for every day to the end of the forecast", "actual": f"{driver} {text}"}
            for driver, owner, text in notes.iter_rows()]
    for part in run.lake.replace(CORE_FINDING, conform(findings(rows), CORE_FINDING),
                                 [{"day": str(day), "source": SOURCE}]):
        run.partition("forecast", CORE_FINDING, part)
    for row in rows:
        LOGGER.warning("forecast: %s", row["actual"])
