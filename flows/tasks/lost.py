"""Days of `core_charge` that are gone from the lake although its inputs say that they hold rows."""

from __future__ import annotations

from datetime import date

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.ingest import ingest_source
from costops.flows.tasks.inputs import Ingested
from costops.flows.tasks.run import Run
from costops.transforms.errors import Unreachable
from costops.transforms.tables import CORE_CHARGE, CORE_INPUT
from costops.transforms.window import Window


def told_rows(lake: Lake, source: str) -> dict[date, int]:
    """How many rows each day of a source holds, by what its inputs told; days dropped by age are left out."""
    first = lake.kept_from(CORE_CHARGE.name)
    rows = lake.read(CORE_INPUT, [{"source": source}]).select("days", "kept_by_day").explode("days", "kept_by_day")
    told = rows.drop_nulls().group_by("days").agg(pl.col("kept_by_day").sum()).sort("days")
    return {day: count for day, count in told.iter_rows() if count and not (first and day < first)}


def lost_days(lake: Lake, source: str) -> list[date]:
    """Days that should have a file and have none, or an empty one."""
    prefix = f"{CORE_CHARGE.name}/source={source}/"
    held = {item.key.removeprefix(prefix).split("/")[0] for item in lake.store.list(prefix) if item.size}
    return [day for day in told_rows(lake, source) if f"day={day}" not in held]


def make_again(run: Run, prices: pl.DataFrame) -> list[Ingested]:
    """Read the inputs of lost days once more and write these days anew."""
    done = []
    for source in run.settings.by_primacy():
        if run.again or not source.feeds_requests or source.uri is None or not run.selected(source.name):
            continue
        days = [day for day in lost_days(run.lake, source.name) if run.window is None or day in run.window]
        if not days:
            continue
        for day in days:                        # what is left of an empty file stands in the way
            run.lake.store.delete(run.lake.key(CORE_CHARGE, {"source": source.name, "day": str(day)}))
        try:
            made = ingest_source(run.lake, run.settings, source, prices, now=run.now, again=True,
                                 window=Window.of_days(days[0], days[-1]))
        except Unreachable:                     # told when the source is read for what is new
            continue
        gone = [day for day in days if day not in made.changed]
        LOGGER.warning("%s: %d lost days are made again%s", source.name, len(days) - len(gone), (
            f"; of {len(gone)} the inputs are gone, the first {gone[0]}: restore them from a backup" if gone else ""))
        done.append(made)
    return done
