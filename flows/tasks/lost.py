"""Days of `core_charge` that are gone or cannot be read although inputs tell them: made again from these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from costops.flows.runtime import parquet
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import Source
from costops.flows.sources import files
from costops.flows.tasks.ingest import ingest_source
from costops.flows.tasks.inputs import Ingested, Inputs
from costops.flows.tasks.run import Run
from costops.transforms.errors import Refused, Unreachable
from costops.transforms.tables import CORE_CHARGE, CORE_INPUT
from costops.transforms.window import Window

_ONE = timedelta(days=1)


def told_rows(lake: Lake, source: str) -> dict[date, int]:
    """How many rows each day of a source holds, by what its inputs told; days dropped by age are left out."""
    return dict(_told(lake, source).group_by("day").agg(pl.col("rows").sum()).sort("day").iter_rows())


def _told(lake: Lake, source: str) -> pl.DataFrame:
    """Rows that the lake kept of each input's content on each day, where there are any: day, content_sha256, rows."""
    first = lake.kept_from(CORE_CHARGE.name) or date.min
    rows = lake.read(CORE_INPUT, [{"source": source}]).select(
        pl.col("days").alias("day"), "content_sha256", pl.col("kept_by_day").alias("rows"))
    return rows.explode("day", "rows").filter(pl.col("rows") > 0, pl.col("day") >= first)


def lost_days(lake: Lake, source: str) -> list[date]:
    """Days that should have a file and have none, or an empty one."""
    prefix = f"{CORE_CHARGE.name}/source={source}/"
    held = {item.key.removeprefix(prefix).split("/")[0] for item in lake.store.list(prefix) if item.size}
    return [day for day in told_rows(lake, source) if f"day={day}" not in held]


def cut_days(lake: Lake, source: str, window: Window | None) -> list[date]:
    """Days whose file ends in its middle. A look at the end of each, on a local lake: a bucket has whole objects."""
    if not Path(lake.store.uri).is_dir():
        return []
    days = window.days() if window else [date.fromisoformat(part["day"])
                                         for part in lake.partitions(CORE_CHARGE, source=source)]
    parts = {day: lake.file(CORE_CHARGE, {"source": source, "day": str(day)}) for day in days}
    return [day for day, path in parts.items() if path is not None and parquet.is_cut(path)]


def short_days(lake: Lake, source: str, days: Iterable[date]) -> list[date]:
    """Those of some days of which the lake has fewer rows than inputs told: all of them lost, or some."""
    told = told_rows(lake, source)
    return [day for day in days if day in told and _rows(lake, source, day) < told[day]]


def _rows(lake: Lake, source: str, day: date) -> int:
    path = lake.file(CORE_CHARGE, {"source": source, "day": str(day)})
    return 0 if path is None or parquet.is_cut(path) else pq.read_metadata(path).num_rows


def incomplete(lake: Lake, days: Iterable[date]) -> set[date]:
    """Those of some days of which a source lacks rows: their sums would leave out what it had."""
    asked = sorted(set(days))
    sources = [part["source"] for part in lake.partitions(CORE_INPUT)] if asked else []
    return {day for source in sources for day in short_days(lake, source, asked)}


def make_again(run: Run, prices: pl.DataFrame, damaged: Mapping[str, Iterable[date]] | None = None) -> list[Ingested]:
    """Read the inputs of days once more that are lost, cut or short, or `damaged` by source, and write these days anew.

    A day is made again only where every input is there that told rows of it. Until it is replaced its file stays, so that
    a reader is refused and does not miss its rows in silence. A backfill reads the inputs of its days anyway: it needs
    only that no cut file stands in its way, neither in its window nor beside it.
    """
    done: list[Ingested] = []
    for source in run.settings.by_primacy():
        if not source.feeds_requests or source.uri is None or not run.selected(source.name):
            continue
        bad = set((damaged or {}).get(source.name, ())) if damaged is not None else _broken(run, source)
        try:
            whole = _whole(run, source, bad)
            done.extend(_made(run, source, prices, stretch) for stretch in _stretches(whole))
        except Unreachable:                     # told when the source is read for what is new
            continue
        except Refused as error:                # a day beside them cannot be read either
            if damaged is None:
                raise
            LOGGER.warning("%s: %s", source.name, error)
            continue
        if whole:
            LOGGER.warning("%s: %d lost days are made again", source.name, len(whole))
    return done


def _broken(run: Run, source: Source) -> set[date]:
    """Lost and cut days, and those that a run which died left short, or that became short when late rows met a lost day."""
    wide = Window(run.window.start - _ONE, run.window.end + _ONE) if run.window else None
    cut = cut_days(run.lake, source.name, wide)
    if run.again:
        return set(cut)
    gone = {*lost_days(run.lake, source.name), *short_days(run.lake, source.name, sorted(run.lake.owed()))}
    return {*cut, *(day for day in gone if run.window is None or day in run.window)}


def _whole(run: Run, source: Source, days: set[date]) -> list[date]:
    """Those of some days that can be made again; of the others it is told what is missing."""
    if not days:
        return []
    told = _told(run.lake, source.name)
    state = Inputs(run.lake, source)
    uris = [one.uri for one in files.find(str(source.uri), run.settings.home)
            if state.hints.get(one.uri) == one.listed.version]                  # else its bytes may be others by now
    known = run.lake.read(CORE_INPUT, [{"source": source.name}]).select("uri", "content_sha256")
    there = known.filter(pl.col("uri").is_in(uris))["content_sha256"].unique()  # also under another name
    lacking = told.filter(pl.col("day").is_in(list(days)), ~pl.col("content_sha256").is_in(there.implode()))
    gone = sorted((days - set(told["day"])) | set(lacking["day"]))
    if gone:
        missing = known.join(lacking.filter(pl.col("day") == gone[0]), on="content_sha256", how="semi")["uri"].sort()
        LOGGER.warning("%s: %d days are lost and inputs of theirs are gone or changed, the first %s (%s): restore these or "
                       "the lake's file from a backup, then run again", source.name, len(gone), gone[0],
                       missing[0] if len(missing) else "no input is known that told it")
    return sorted(days - set(gone))


def _stretches(days: Iterable[date]) -> Iterator[list[date]]:
    """Days that follow one another."""
    stretch: list[date] = []
    for day in days:
        if stretch and day != stretch[-1] + _ONE:
            yield stretch
            stretch = []
        stretch.append(day)
    if stretch:
        yield stretch


def _made(run: Run, source: Source, prices: pl.DataFrame, days: list[date]) -> Ingested:
    keys = {run.lake.key(CORE_CHARGE, {"source": source.name, "day": str(day)}) for day in days}
    run.lake.overlooked |= keys
    try:
        return ingest_source(run.lake, run.settings, source, prices, now=run.now, again=True,
                             window=Window.of_days(days[0], days[-1]))
    finally:
        run.lake.overlooked -= keys
