"""What a backfill is going to do: its days and partitions, a dry run that computes it, and how far it came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from costops.flows.runtime import clock, parquet
from costops.flows.runtime.engine import Engine
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import Store
from costops.flows.runtime.overlay import Overlay
from costops.flows.runtime.settings import Settings, Source
from costops.flows.sources import files
from costops.flows.tasks import stages as do
from costops.flows.tasks.inputs import id_of
from costops.flows.tasks.run import Run, open_lake
from costops.flows.tasks.spread import SHARES
from costops.transforms.errors import Unreachable
from costops.transforms.tables import CORE_CHARGE, CORE_INPUT, TABLE
from costops.transforms.window import Window

DAILY = ("ingest", "price", "spend")
"""Stages of a backfill that run once a day of it; the others look at the whole and run once, at the end."""

OUTLINE = {"source": pl.String(), "days": pl.Int64(), "partitions": pl.Int64(), "inputs": pl.Int64(),
           "records": pl.Int64(), "new_inputs": pl.Int64(), "new_mb": pl.Float64()}

CHANGES = {"day": pl.Date(), "dataset": pl.String(), "partition": pl.String(), "change": pl.String(),
           "rows_before": pl.Int64(), "rows_after": pl.Int64(), "list_cost_before_usd": pl.Decimal(38, 12),
           "list_cost_after_usd": pl.Decimal(38, 12)}


def outline(lake: Lake, settings: Settings, window: Window, sources: Sequence[str]) -> pl.DataFrame:
    """One row per source: partitions that stand in the window, known inputs that touch it, with their records, and
    inputs that the lake has not read, whose name tells a day of the window or none, with their size."""
    rows = []
    for source in settings.by_primacy():
        if not source.feeds_requests or (sources and source.name not in sources):
            continue
        parts = [part for part in lake.partitions(CORE_CHARGE, source=source.name)
                 if date.fromisoformat(part["day"]) in window]
        known = lake.read(CORE_INPUT, [{"source": source.name}])
        touching = known.filter(pl.col("days").list.eval(
            (pl.element() >= window.start) & (pl.element() < window.end)).list.any())
        rows.append({"source": source.name, "days": len(window.days()), "partitions": len(parts),
                     "inputs": touching.height, "records": int(touching["lines_read"].sum() or 0),
                     **_unread(settings, source, set(known["input_id"]), window)})
    return pl.DataFrame(rows, schema=OUTLINE)


def _unread(settings: Settings, source: Source, known: Collection[str], window: Window) -> dict[str, object]:
    """How many files a source has that may tell of the window and were not read yet; nothing where it cannot say."""
    if source.is_pulled:
        return {}
    try:
        found = files.find(str(source.uri), settings.home)
    except Unreachable:
        return {}
    new = [one for one in found if id_of(source.name, one.uri) not in known
           and ((day := files.file_day(one.uri)) is None or day in window)]
    return {"new_inputs": len(new), "new_mb": round(sum(one.listed.size for one in new) / 1e6, 1)}


def dry_run(settings: Settings, window: Window, *, sources: Sequence[str], stages: Sequence[str]) -> pl.DataFrame:
    """Every partition that a backfill would write, change or remove, computed day by day; the lake is only read."""
    with open_lake(settings, write=False) as lake:
        over = Overlay(lake.store, lake.scratch / "overlay")
        trial = Lake(over, lake.scratch / "trial")
        found: list[dict[str, object]] = []
        for day in window.days():
            over.changed.clear()
            over.removed.clear()
            run = Run(settings, trial, clock.now(), window=Window.of_days(day, day), only=tuple(sources),
                      stages=tuple(stages), again=True)
            for name in DAILY:
                if name in run.stages and name in do.STEPS:
                    do.STEPS[name](run)
            found += [_change(lake, trial, day, key) for key in sorted(over.changed | over.removed) if _is_data(key)]
            for item in list(over.own.list()):                  # a day's trial does not lean on another's
                over.own.delete(item.key)
        return pl.DataFrame(found, schema=CHANGES)


def _is_data(key: str) -> bool:
    return key.endswith(".parquet") and not key.startswith(("_state/", "run_ledger/", "core_input/"))


def _change(lake: Lake, trial: Lake, day: date, key: str) -> dict[str, object]:
    dataset, *folders, _ = key.split("/")
    before, after = _totals(lake, dataset, key), _totals(trial, dataset, key)
    kind = "new" if before is None else "removed" if after is None else "changed"
    return {"day": day, "dataset": dataset, "partition": "/".join(folders), "change": kind,
            "rows_before": before and before[0], "rows_after": after and after[0],
            "list_cost_before_usd": before and before[1], "list_cost_after_usd": after and after[1]}


def _totals(lake: Lake, dataset: str, key: str) -> tuple[int, object] | None:
    """Rows of a partition, and their cost where they have one; None where it is not there, or cut short."""
    path = lake.store.fetch(key, lake.scratch / "totals")
    if path is None or parquet.is_cut(path):
        return None
    cost = pl.lit(None, pl.Decimal(38, 12)) if "list_cost_usd" not in TABLE[dataset].columns else (
        pl.col("list_cost_usd").cast(pl.Decimal(38, 12)).sum())
    rows, amount = pl.scan_parquet(path, hive_partitioning=False).select(pl.len(), cost.alias("cost")).collect().row(0)
    return int(rows), amount


@dataclass
class Journal:
    """Which days of a backfill are done. Kept in the lake until the backfill is, so that a killed one goes on."""

    store: Store
    key: str
    done: set[date] = field(default_factory=set)

    @classmethod
    def open(cls, store: Store, window: Window, asked: Sequence[object]) -> Journal:
        """The journal of this very request."""
        digest = hashlib.sha256(repr((str(window.start), str(window.end), *asked)).encode()).hexdigest()[:16]
        key = f"_state/backfill/{digest}.json"
        try:
            days = {date.fromisoformat(text) for text in json.loads(store.read(key) or b"[]")}
        except (ValueError, TypeError):
            days = set()                        # damaged: every day is done again, which changes nothing
        return cls(store, key, days)

    def settle(self, days: Window) -> None:
        """These days are done."""
        self.done.update(days.days())
        self.store.put(self.key, json.dumps(sorted(map(str, self.done))).encode())

    def close(self) -> None:
        """All days are done."""
        self.store.delete(self.key)


def blocks(window: Window, done: Collection[date], engine: Engine) -> list[Window]:
    """The days that are left, one by one; where workers share them, so many neighbouring days at once as they share."""
    most = 1 if engine.engine == "local" else engine.workers * SHARES
    found: list[Window] = []
    for day in window.days():
        if day in done:
            continue
        if found and found[-1].end == day and len(found[-1].days()) < most:
            found[-1] = Window(found[-1].start, day + timedelta(days=1))
        else:
            found.append(Window(day, day + timedelta(days=1)))
    return found


def open_journal(settings: Settings, window: Window, asked: Sequence[object]) -> Journal:
    """The journal of a request, in the workspace's lake."""
    from costops.flows.runtime.objects import open_store

    return Journal.open(open_store(settings.workspace.lake, base=Path(settings.home)), window, asked)
