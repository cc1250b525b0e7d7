"""Ingest over the workers of a cluster: inputs are read in shares, then days are put together in shares.

This run holds the lake for writing and is alone in replacing partitions; workers leave finished files for it
(`costops.flows.tasks.share`). A day is put together from all rows that tell it, whoever read them, so its bytes are
those of a run in one process. Sources are read together; a source that another one stands over is written after it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from costops.flows.runtime.bucket import Bucket
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import Folder
from costops.flows.runtime.overlay import Overlay
from costops.flows.runtime.settings import Source
from costops.flows.sources import files
from costops.flows.sources.files import Found, Prepared
from costops.flows.tasks import share
from costops.flows.tasks.days import Days
from costops.flows.tasks.ingest import BATCH_BYTES, BATCH_FILES, format_of, ingest_source
from costops.flows.tasks.inputs import Counts, Ingested, Inputs, id_of
from costops.flows.tasks.pool import Pool, Promise, open_pool
from costops.flows.tasks.run import Run
from costops.flows.tasks.setaside import SetAside
from costops.flows.tasks.share import DayWritten, Place, Read, ToRead, ToWrite, Written
from costops.flows.tasks.within import in_flow
from costops.transforms.errors import CostopsError
from costops.transforms.tables import CORE_CHARGE
from costops.transforms.window import Window

SHARES = 2
"""Shares per worker: where one takes longer than the others, the rest is still spread."""

Progress = Callable[[int, int], None] | None
Ingest = Callable[[Source, frozenset[date], Progress], Ingested]
"""A source, the days that changed in sources above it, and whom to tell how far it is."""


@contextmanager
def ingesting(run: Run, sources: Sequence[Source], prices: pl.DataFrame) -> Iterator[Ingest]:
    """What reads a source: this process, or the configured workers. A dry run and a run outside a flow stay here."""
    if run.settings.run.engine == "local" or isinstance(run.lake.store, Overlay) or not in_flow():
        yield lambda source, above, progress: ingest_source(
            run.lake, run.settings, source, prices, now=run.now, window=run.window, again=run.again,
            primary_days=above, progress=progress)
        return
    _forget(run.lake)
    try:
        with open_pool(run.settings.run) as pool:
            yield _Spread(run, sources, prices, pool)
    finally:
        _forget(run.lake)


class _Spread:
    """The sources of a run, each on its way."""

    def __init__(self, run: Run, sources: Sequence[Source], prices: pl.DataFrame, pool: Pool) -> None:
        self.above = {source.name: {one.name for one in sources if source.name in one.primary_over}
                      for source in sources}
        self.asked = {source.name: _Asked(run, source, prices, pool) for source in sources}

    def __call__(self, source: Source, above: frozenset[date], progress: Progress) -> Ingested:
        """Wait for a source and replace its partitions; others that wait for nobody are put together meanwhile."""
        for name, names in self.above.items():
            if not names and not self.asked[name].put_together:
                self.asked[name].put_together = True
                self.asked[name].write()
        try:
            return self.asked[source.name].commit(above, progress)
        finally:
            for names in self.above.values():
                names.discard(source.name)


class _Asked:
    """One source: its inputs with the readers, then its days with the writers, then into the lake."""

    def __init__(self, run: Run, source: Source, prices: pl.DataFrame, pool: Pool) -> None:
        self.run, self.source, self.prices, self.pool = run, source, prices, pool
        self.prefix = f"{share.PREFIX}{run.run_id}/{source.name}/"
        self.settings = run.settings.model_dump_json()
        self.aside = SetAside(run.lake, source, format_of(source, run.settings.teams), now=run.now)
        self.done = Ingested(source.name)
        self.writing: list[Promise[Written]] = []
        self.held: set[str] = set()
        self.failed: CostopsError | None = None
        self.put_together = False
        try:
            self._read()
        except CostopsError as error:           # told when it is this source's turn
            self.failed = error

    def _read(self) -> None:
        """Have the inputs that are new or changed read."""
        run, work = self.run, self.run.lake.scratch / "ingest" / self.source.name
        work.mkdir(parents=True, exist_ok=True)
        self.state = _Unread(run.lake, self.source)
        self.found = files.find(str(self.source.uri), run.settings.home)
        fresh, modified = self.state.sort(self.found, work, again=run.again, window=run.window)
        due = fresh + self.state.neighbours(modified, self.found, fresh, work, run.window)
        shutil.rmtree(work, ignore_errors=True)
        self.inputs = [one.found for one in due]
        self.done.inputs_known = len(self.found) - len(due)
        self.reading: list[Promise[Read]] = [
            self.pool.submit(share.read, ToRead(self.settings, self.source.name, run.now, batch,
                                                f"{self.prefix}read-{number}.part"),
                             name=f"read {self.source.name}, part {number}")
            for number, batch in enumerate(_batches(self.inputs, self.pool.workers * SHARES))]

    def write(self) -> None:
        """When all is read, have its days put together."""
        if self.failed:
            return
        try:
            told = [one.result() for one in self.reading]
        except CostopsError as error:
            self.failed = error
            return
        uris = {id_of(self.source.name, one.uri): one.uri for one in self.inputs}
        before = self.state.days_of(uris)
        self._remember(told)
        rows: Counter[date] = Counter()
        for one in told:
            rows.update(one.rows)
        window = self.run.window
        days = {day for day in rows.keys() | before if window is None or day in window}
        self.run.lake.owe(days)
        for part in _shares(days, rows, self.pool.workers * SHARES):
            beside = Window(part.start - timedelta(days=1), part.end + timedelta(days=1))
            keys = tuple((one.key, tuple(told.input_id for told in one.inputs)) for one in told
                         if any(day in beside for day in one.rows))
            job = ToWrite(self.settings, self.source.name, part, window, keys, uris,
                          tuple(sorted(day for day in before if day in beside)), self.prefix)
            self.writing.append(self.pool.submit(share.write, job, name=f"write {self.source.name}, {part}"))

    def _remember(self, told: Iterable[Read]) -> None:
        """The inputs as read now, with what is wrong in them."""
        by_uri = {one.uri: one for one in self.inputs}
        counts = [Counts(Prepared(by_uri[one.place.uri], Path(), one.sha256), one.input_id, one.lines, one.findings,
                         one.skipped, set(one.told)) for read in told for one in read.inputs]
        for one in counts:
            self.state.put(one)
        if self.run.window is not None:
            self.state.defer(((one.input_id, day) for one in counts for day in sorted(one.told)), self.run.window)
        self.done.count(counts)
        self.done.read_ids |= {one.input_id for one in counts}
        self.aside.noted += [row for read in told for row in read.noted]

    def commit(self, above: frozenset[date], progress: Progress) -> Ingested:
        """Replace the partitions, then remember the inputs: a run that dies before has told nothing."""
        if self.failed:
            raise self.failed
        run, done = self.run, self.done
        self.held = {part["day"] for part in run.lake.partitions(CORE_CHARGE, source=self.source.name)}
        for number, promise in enumerate(self.writing, start=1):
            written = promise.result()
            self.aside.noted += written.noted
            for one, count in written.findings.items():
                self.state.rows[one]["findings"] += count
            for day in written.days:
                self._settle(day)
            if progress:
                progress(number, len(self.writing))
        self.state.save()
        if not self.found:
            self.aside.empty()
        Days(run.lake, run.settings, self.source, self.prices, self.state, self.aside.note, window=run.window).recount(
            done, above)
        self.aside.write(self.state, done.read_ids)
        return done

    def _settle(self, one: DayWritten) -> None:
        self.state.settle(one.day, dict(one.kept), one.late,
                          held=None if str(one.day) in self.held else 0)
        self.done.rows_kept += sum(one.kept.values())
        self.done.touched.add(one.day)
        if one.changed and self._replace(one):
            self.done.changed.add(one.day)

    def _replace(self, one: DayWritten) -> bool:
        """Put a finished file where it belongs, on the version that the worker had read; or take the partition away."""
        lake, part = self.run.lake, {"source": self.source.name, "day": str(one.day)}
        if isinstance(lake.store, Bucket) and one.base is not None:
            lake.store.saw(lake.key(CORE_CHARGE, part), one.base)
        if one.key is None:
            return lake.remove(CORE_CHARGE, part)
        path = lake.store.fetch(one.key, lake.scratch / "share")
        if path is None:
            raise CostopsError(f"{lake.store.uri}/{one.key}: gone before it was used; run again.")
        return lake.commit(CORE_CHARGE, part, path)


class _Unread(Inputs):
    """A source's inputs, of which only those are fetched here whose bytes must be compared with what is known."""

    def sort(self, found: Sequence[Found], work: Path, *, again: bool, window: Window | None
             ) -> tuple[list[Prepared], list[Prepared]]:
        """The inputs that are new or changed, not fetched; and of these the changed ones."""
        self._sorting, self._again, self._window = True, again, window
        try:
            return super().sort(found, work, again=again, window=window)
        finally:
            self._sorting = False

    def _prepare(self, one: Found, work: Path) -> Prepared:
        row = self.rows.get(id_of(self.source.name, one.uri))
        told = row is None or not self._sorting or (self._again and (
            self._window is None or any(day in self._window for day in row["days"] or [])))
        return Prepared(one, Path(), "") if told else super()._prepare(one, work)


def _batches(inputs: Sequence[Found], parts: int) -> Iterator[tuple[Place, ...]]:
    """The inputs in so many parts of about the same size, in more where a part would be larger than a batch."""
    most = min(-(-sum(one.listed.size for one in inputs) // parts), BATCH_BYTES)
    batch: list[Place] = []
    size = 0
    for one in inputs:
        if batch and (size + one.listed.size > most or len(batch) >= BATCH_FILES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(Place.of(one))
        size += one.listed.size
    if batch:
        yield tuple(batch)


def _shares(days: Iterable[date], rows: Mapping[date, int], parts: int) -> list[Window]:
    """Stretches of days with about the same number of rows each. Together they cover the days and those beside them."""
    ordered = sorted(days)
    if not ordered:
        return []
    most = -(-sum(rows.get(day, 0) for day in ordered) // parts)
    starts, size = [ordered[0] - timedelta(days=1)], 0
    for day in ordered:
        count = rows.get(day, 0)
        if size and size + count > most:
            starts.append(day)
            size = 0
        size += count
    return [Window(start, end) for start, end in zip(starts, [*starts[1:], ordered[-1] + timedelta(days=2)], strict=True)]


def _forget(lake: Lake) -> None:
    """Remove what workers left, of this run or of one that was killed."""
    if isinstance(lake.store, Folder):
        shutil.rmtree(lake.store.path(share.PREFIX), ignore_errors=True)
        return
    for item in list(lake.store.list(share.PREFIX)):
        lake.store.delete(item.key)
