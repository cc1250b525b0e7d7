"""One run: its configuration, lake and time, what its stages did, and how it ends."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from costops.flows.runtime import clock
from costops.flows.runtime.faults import fault
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER, redact, secret_variables
from costops.flows.runtime.objects import open_store
from costops.flows.runtime.settings import Settings
from costops.flows.tasks.within import in_flow
from costops.transforms.check import conform
from costops.transforms.errors import CostopsError, Unreachable
from costops.transforms.tables import RUN_LEDGER, Table
from costops.transforms.window import Window

STAGES = ("ingest", "price", "spend", "reconcile", "detect", "forecast", "budget", "publish")


@dataclass(frozen=True)
class Gate:
    """A share that must not be exceeded, and whether it was."""

    name: str
    value: Decimal
    limit: Decimal
    detail: str = ""

    @property
    def failed(self) -> bool:
        """True where the value lies above the limit."""
        return self.value > self.limit

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.6f} > {self.limit}{f' ({self.detail})' if self.detail else ''}"


@dataclass
class Run:
    """What every stage gets and where it notes what it did; `earlier` is what the days of a backfill noted."""

    settings: Settings
    lake: Lake
    now: datetime
    window: Window | None = None
    only: tuple[str, ...] = ()
    stages: tuple[str, ...] = STAGES
    again: bool = False
    touched: set[date] = field(default_factory=set)
    touched_by: dict[str, set[date]] = field(default_factory=dict)
    touched_months: set[str] = field(default_factory=set)
    gates: list[Gate] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)
    earlier: list[dict[str, Any]] = field(default_factory=list)
    wrote: bool = False
    spend_changed: bool = False
    progress: Callable[[str, int, int], None] | None = None

    @property
    def run_id(self) -> str:
        """Start and a digest of what was asked for."""
        asked = f"{self.now.isoformat()}{self.window}{self.only}{self.stages}{os.getpid()}"
        return f"{self.now:%Y%m%dT%H%M%SZ}-{hashlib.sha256(asked.encode()).hexdigest()[:6]}"

    def note(self, entry: str, stage: str, **more: Any) -> None:
        """One row of the run ledger."""
        self.entries.append({"entry": entry, "stage": stage, **more})

    def partition(self, stage: str, table: Table, partition: dict[str, str], **more: Any) -> None:
        """Note a partition that was written."""
        self.wrote = True
        self.note("partition", stage, dataset=table.name, outcome="written", source=partition.get("source"),
                  partition="/".join(f"{name}={value}" for name, value in partition.items()), **more)

    def selected(self, name: str) -> bool:
        """True where the source was asked for."""
        return not self.only or name in self.only

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and note how it ended."""
        began = time.monotonic()
        LOGGER.info("%s: started", name)
        try:
            yield
        except CostopsError as error:
            self.note("stage", name, outcome="failed", seconds=time.monotonic() - began, detail=redact(str(error)))
            raise
        self.note("stage", name, outcome="written" if self.wrote else "unchanged",
                  seconds=time.monotonic() - began)
        LOGGER.info("%s: done in %.1f s", name, time.monotonic() - began)

    def missed(self, source: str, error: Unreachable) -> None:
        """A source that could not be reached: named, and the others go on."""
        self.unreachable.append(redact(f"{source}: {error}"))
        LOGGER.error("%s: %s", source, error)
        self.note("source", "ingest", source=source, outcome="failed", detail=redact(str(error)))

    def write_ledger(self) -> None:
        """Append this run's entries to the ledger's partition of today, if it did anything or is the first."""
        if not (self.wrote or self.unreachable) and self.lake.partitions(RUN_LEDGER):
            return
        fault("before_ledger")
        started = self.now.replace(tzinfo=None)
        rows = pl.DataFrame(
            [{"run_id": self.run_id, "day": self.now.date(), "started_at": started, "number": number,
              "program_version": version("llm-costops"), **entry} for number, entry in enumerate(self.entries)],
            infer_schema_length=None)
        scope = {"day": str(self.now.date())}
        old = self.lake.read(RUN_LEDGER, [scope]).filter(pl.col("run_id") != self.run_id)
        self.lake.write(RUN_LEDGER, pl.concat([old, conform(rows, RUN_LEDGER)]))
        self.lake.catalog()

    @property
    def exit_code(self) -> int:
        """0 done, 1 a gate failed, 3 a source could not be reached, 4 a locked month would have changed."""
        if self.refusals:
            return 4
        if self.unreachable:
            return 3
        return 1 if any(gate.failed for gate in self.gates) else 0


@contextmanager
def open_lake(settings: Settings, *, write: bool = True) -> Iterator[Lake]:
    """The workspace's lake, held for writing unless it is only read; scratch goes away with it."""
    secret_variables(settings.secret_names())
    if in_flow():
        LOGGER.setLevel(logging.INFO)           # the records reach the run's log in the UI
    with scratch_folder(settings) as scratch:
        lake = Lake(open_store(settings.workspace.lake, base=settings.home), scratch)
        if write:
            with lake.writing():
                lake.open()
                yield lake
        else:
            lake.open(create=False)
            yield lake


@contextmanager
def scratch_folder(settings: Settings) -> Iterator[Path]:
    """A folder of this process for files in the making, gone afterwards; those of killed processes go first."""
    base = settings.workspace.scratch or os.environ.get("COSTOPS_SCRATCH")
    _forget_dead(Path(base or tempfile.gettempdir()))
    scratch = Path(tempfile.mkdtemp(prefix=f"costops-{os.getpid()}-", dir=base))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _forget_dead(base: Path) -> None:
    """Remove the scratch folders of runs that were killed: their names tell the process, and it is gone."""
    for folder in base.glob("costops-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and Path("/proc/self").exists() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_run(settings: Settings, **given: Any) -> Iterator[Run]:
    """A run on the workspace's lake; its ledger is written at the end, also after a failure."""
    with open_lake(settings) as lake:
        run = Run(settings, lake, clock.now(), **given)
        lake.read(RUN_LEDGER, [{"day": str(run.now.date())}])      # damaged: refused before anything is written
        try:
            yield run
        finally:
            run.write_ledger()
