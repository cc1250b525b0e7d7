"""Days of `core_charge` that are gone or cut although their inputs say that they hold rows: made again from these."""

from __future__ import annotations

from datetime import date

import polars as pl
import pyarrow.parquet as pq

from costops.flows.runtime import parquet
from costops.flows.runtime.lake import Lake, Partition
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.objects import Folder
from costops.flows.tasks.ingest import ingest_source
from costops.flows.tasks.inputs import Ingested
from costops.flows.tasks.run import Run
from costops.transforms.errors import Unreachable
from costops.transforms.tables import CORE_CHARGE, CORE_INPUT
from costops.transforms.window import Window

DAMAGED = "_state/damaged/"
"""Where the lake keeps the bytes of days that are set aside."""

_SUFFIX = ".damaged"


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


def cut_days(lake: Lake, source: str, window: Window | None) -> list[date]:
    """Days whose file ends in its middle. A look at the end of each, on a local lake: a bucket has whole objects."""
    store = lake.store
    if not isinstance(store, Folder):
        return []
    days = window.days() if window else [date.fromisoformat(part["day"])
                                         for part in lake.partitions(CORE_CHARGE, source=source)]
    files = {day: store.path(lake.key(CORE_CHARGE, {"source": source, "day": str(day)})) for day in days}
    return [day for day, path in files.items() if path.is_file() and parquet.is_cut(path)]


def make_again(run: Run, prices: pl.DataFrame) -> list[Ingested]:
    """Read the inputs of lost and cut days once more and write these days anew.

    A backfill reads all inputs of its days anyway: it needs only that no cut file stands in its way. Where the inputs
    are gone the file is left as it was, so that readers fail and do not miss a day in silence.
    """
    done = []
    for source in run.settings.by_primacy():
        if not source.feeds_requests or source.uri is None or not run.selected(source.name):
            continue
        lost = [] if run.again else [day for day in lost_days(run.lake, source.name)
                                     if run.window is None or day in run.window]
        days = sorted({*lost, *cut_days(run.lake, source.name, run.window)})
        if not days:
            continue
        aside = {day: part for day in days
                 if set_aside(run.lake, part := {"source": source.name, "day": str(day)})}
        changed: set[date] = set()
        try:
            made = ingest_source(run.lake, run.settings, source, prices, now=run.now, again=True,
                                 window=Window.of_days(days[0], days[-1]))
            changed = set(made.changed)
        except Unreachable:                     # told when the source is read for what is new
            continue
        finally:
            for part in (part for day, part in aside.items() if day not in changed):
                _put_back(run.lake, part)
        gone = [day for day in days if day not in changed]
        LOGGER.warning("%s: %d lost days are made again%s", source.name, len(days) - len(gone), (
            f"; of {len(gone)} the inputs are gone, the first {gone[0]}: restore them from a backup" if gone else ""))
        done.append(made)
    _tidy(run.lake)
    return done


def set_aside(lake: Lake, part: Partition) -> bool:
    """Take a day out of readers' sight until it is made again; its sums stand. False where it had no byte."""
    key = lake.key(CORE_CHARGE, part)
    body = lake.store.read(key)
    if body:
        lake.store.put(_aside(key), body)
    lake.store.delete(key)
    return bool(body)


def _put_back(lake: Lake, part: Partition) -> None:
    key = lake.key(CORE_CHARGE, part)
    if body := lake.store.read(_aside(key)):
        lake.store.put(key, body)
        lake.store.delete(_aside(key))


def _tidy(lake: Lake) -> None:
    """Drop what was set aside of days that stand again with all their rows, also where a run died before it could."""
    for item in list(lake.store.list(DAMAGED)):
        part = dict(folder.split("=", 1) for folder in item.key.split("/") if "=" in folder)
        path = lake.file(CORE_CHARGE, part)
        rows = 0 if path is None or parquet.is_cut(path) else pq.read_metadata(path).num_rows
        if rows and rows >= told_rows(lake, part["source"]).get(date.fromisoformat(part["day"]), 0):
            lake.store.delete(item.key)


def _aside(key: str) -> str:
    return f"{DAMAGED}{key}{_SUFFIX}"
