"""Ingest: request logs of one source into priced `core_charge` partitions, only what changed.

An input is known by its uri and told apart by the hash of its bytes. New inputs are merged into the days they
touch. A changed input is read again together with every input that shares a day with its former state, so that
a partition is always what its inputs say, whatever the order of delivery. Partitions are replaced one by one;
the source's `core_input` partition, written last, is what makes an input known. So a run may be killed anywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import Attribution, Settings, Source, TeamRule
from costops.flows.sources import files
from costops.flows.sources.files import Prepared
from costops.flows.tasks.days import Days
from costops.flows.tasks.inputs import Counts, Ingested, Inputs, id_of
from costops.flows.tasks.reading import Records
from costops.flows.tasks.setaside import SetAside
from costops.transforms import ingest, query
from costops.transforms.parse import generic
from costops.transforms.parse.format import TEXT, Fields, Format
from costops.transforms.providers import FORMAT
from costops.transforms.window import Window

BATCH_BYTES = 192 << 20
BATCH_FILES = 2_000
MEMORY = "160MB"
"""What a batch may hold in memory; beyond, it spills to scratch."""


def format_of(source: Source, teams: Sequence[TeamRule] = ()) -> Format:
    """The format of a source: its kind's, with the configured columns, attribution and table of teams put in."""
    if source.kind == "generic.usage":
        form = generic.build({"columns": source.columns, "only": source.only, **source.options})
    else:
        form = FORMAT[source.kind]
    own = {name: value for name in ("team", "application", "project_id")
           if (value := getattr(source, name)) is not None}
    form = _attributed(ingest.with_constants(form, own), source.attribution)
    return ingest.with_teams(form, [(rule.field, rule.pattern, rule.team) for rule in teams], source=source.name)


def ingest_source(lake: Lake, settings: Settings, source: Source, book: pl.DataFrame, *, now: datetime,  # noqa: PLR0913
                  window: Window | None = None, again: bool = False, primary_days: frozenset[date] = frozenset(),
                  progress: Callable[[int, int], None] | None = None) -> Ingested:
    """Read what is new of a source and replace the partitions that it touches.

    `window` limits the days that are written; `again` reads every input that may touch it anew; `primary_days` are
    the days on which a source that stands over this one has changed. Bad records become findings. Raises `Unreachable`
    where the source itself cannot be read.
    """
    done = Ingested(source.name)
    state = Inputs(lake, source)
    found = files.find(str(source.uri), settings.home)
    work = lake.scratch / "ingest" / source.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        fresh, modified = state.sort(found, work, again=again, window=window)
        reread = fresh + state.neighbours(modified, found, fresh, work, window)
        done.inputs_known = len(found) - len(reread)
        reader = _Reader(lake, settings, source, book, state, now=now, window=window)
        pending = {id_of(source.name, one.found.uri) for one in reread}
        for number, batch in enumerate(_batches(reread)):
            reader.take(batch, pending, work / f"batch-{number}", done)
            if not modified:
                state.save()
            if progress:
                progress(done.inputs_read, len(reread))
        state.save()
        if not found:
            reader.aside.empty()
        reader.days.recount(done, primary_days)
        reader.aside.write(state, reader.read_ids)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


class _Reader:
    """Reads batches of inputs and writes the partitions that they touch."""

    def __init__(self, lake: Lake, settings: Settings, source: Source, book: pl.DataFrame, state: Inputs, *,
                 now: datetime, window: Window | None) -> None:
        self.source, self.state, self.form = source, state, format_of(source, settings.teams)
        self.aside = SetAside(lake, source, self.form, now=now)
        self.days = Days(lake, settings, source, book, state, self.aside.note, window=window)
        self.read_ids: set[str] = set()

    def take(self, batch: Sequence[Prepared], pending: set[str], work: Path, done: Ingested) -> None:
        """Parse a batch, set the bad aside, price the good and replace their days."""
        work.mkdir(parents=True, exist_ok=True)
        con = query.connect(scratch=work, memory=MEMORY, threads=1)     # records are numbered in order: one at a time
        counts = read_records(con, batch, self.source, self.form, self.aside, work)
        before = self.state.days_of(one.input_id for one in counts)
        for one in counts:
            self.state.put(one)
        self.days.write(con, before, pending - self.read_ids, done)
        self.read_ids |= {one.input_id for one in counts}
        done.read_ids |= self.read_ids
        done.count(counts)
        con.close()


def read_records(con: query.Connection, batch: Sequence[Prepared], source: Source, form: Format, aside: SetAside,
                 work: Path, *, whole: bool = False) -> list[Counts]:
    """The records of some inputs as `parsed`, each with its verdict, and those to be kept as `usage`; their counts.

    With `whole`, `parsed` has every column that the format tells, be it empty.
    """
    counts = [Counts(one, id_of(source.name, one.found.uri)) for one in batch]
    records = Records(aside.lake, source, form, aside.report)
    records.parse(con, counts, work)
    if whole:
        records.widen(con)
    aside.judge(con, counts)
    con.execute("CREATE OR REPLACE TEMP VIEW usage AS " + ingest.usage_select(
        records.told, source.constants(), source=source.name, where="p._verdict = 'ok'"))
    for number, day in query.frame(con, "SELECT DISTINCT _file, day FROM usage ORDER BY ALL").iter_rows():
        counts[number].told.add(day)
    return counts


def _attributed(form: Format, attribution: Attribution) -> Format:
    """A format with the configured field paths in place of its own attribution."""
    columns, fields = dict(form.columns), form.fields
    for name, path in attribution.model_dump(exclude_none=True).items():
        fields = _with_path(fields, path.split("."))
        first, *rest = path.split(".")
        columns[name] = f'records."{first}"' + "".join(f'."{part}"' for part in rest)
    return replace(form, columns=columns, fields=fields) if columns != form.columns else form


def _with_path(fields: Fields, parts: list[str]) -> Fields:
    """`fields` with a text leaf at a path."""
    first, *rest = parts
    if not rest:
        return {**fields, first: fields.get(first, TEXT)}
    inner = fields.get(first, {})
    return {**fields, first: _with_path(inner if not isinstance(inner, str) else {}, rest)}


def _batches(inputs: Sequence[Prepared]) -> Iterable[list[Prepared]]:
    batch: list[Prepared] = []
    size = 0
    for one in inputs:
        length = one.path.stat().st_size
        if batch and (size + length > BATCH_BYTES or len(batch) >= BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length
    if batch:
        yield batch
