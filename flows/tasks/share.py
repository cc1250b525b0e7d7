"""What a worker of a cluster does of an ingest: read a share of the inputs, put together a share of the days.

A worker replaces no partition. It leaves files below a prefix in the lake's `_state/share/` that only the run which
asked knows; that run, which holds the lake for writing, replaces the partitions. So it does not matter how often a
share is done, by whom, or whether a worker that was given up goes on. Jobs and answers are plain values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from costops.flows.runtime.bucket import Bucket, Version
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import secret_variables
from costops.flows.runtime.objects import Listed, Store, open_store
from costops.flows.runtime.overlay import Overlay
from costops.flows.runtime.settings import Settings, Source
from costops.flows.sources import files
from costops.flows.sources.files import Found
from costops.flows.tasks.days import Days
from costops.flows.tasks.ingest import MEMORY, format_of, read_records
from costops.flows.tasks.inputs import Ingested, Inputs
from costops.flows.tasks.run import scratch_folder
from costops.flows.tasks.setaside import SetAside
from costops.transforms import ingest, query
from costops.transforms.errors import Unreachable
from costops.transforms.parse.format import Format
from costops.transforms.tables import CORE_CHARGE, CORE_PRICE
from costops.transforms.window import Window

PREFIX = "_state/share/"


@dataclass(frozen=True)
class Place:
    """One input: the store's root, and its key, size, version and name."""

    root: str
    key: str
    size: int
    version: str
    uri: str

    @classmethod
    def of(cls, found: Found) -> Place:
        """The place of an input that was found."""
        one = found.listed
        return cls(found.store.uri, one.key, one.size, one.version, found.uri)

    def found(self) -> Found:
        """The input again."""
        return Found(open_store(self.root), Listed(self.key, self.size, self.version), self.uri)


@dataclass(frozen=True)
class ToRead:
    """Inputs to be read; their rows go to `key` in the lake."""

    settings: str
    source: str
    now: datetime
    inputs: tuple[Place, ...]
    key: str


@dataclass(frozen=True)
class InputRead:
    """What one input holds: counts of its records, and the days that they tell."""

    place: Place
    input_id: str
    sha256: str
    lines: int
    findings: int
    skipped: int
    told: tuple[date, ...]


@dataclass(frozen=True)
class Read:
    """Inputs that were read: their rows at `key`, how many a day, and what is wrong with them."""

    key: str
    inputs: tuple[InputRead, ...]
    rows: Mapping[date, int]
    noted: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class ToWrite:
    """Days to be put together from rows that were read: those of `share`, where `window` does not leave them out."""

    settings: str
    source: str
    share: Window
    window: Window | None
    read: tuple[tuple[str, tuple[str, ...]], ...]
    """Keys of rows of these days and those beside them, each with the ids of its inputs in order."""
    uris: Mapping[str, str]
    """Every input that is read in this run, by id."""
    before: tuple[date, ...]
    key: str


@dataclass(frozen=True)
class DayWritten:
    """One day: rows kept and late rows by input, and the finished file; `key` is None where nothing is to be put."""

    day: date
    kept: Mapping[str, int]
    late: Mapping[str, int]
    changed: bool
    key: str | None
    base: Version | None
    """The version of the partition that the file replaces, in a bucket."""


@dataclass(frozen=True)
class Written:
    """A share of the days, put together; `findings` counts the impossible records by input."""

    days: tuple[DayWritten, ...]
    findings: Mapping[str, int]
    noted: tuple[dict[str, Any], ...]


def read(job: ToRead) -> Read:
    """Fetch, unpack and parse inputs; their good rows go into one file."""
    settings, source = _opened(job.settings, job.source)
    with scratch_folder(settings) as scratch:
        lake = Lake(_store(settings), scratch)
        form = format_of(source, settings.teams)
        aside = SetAside(lake, source, form, now=job.now)
        con = query.connect(scratch=scratch, memory=MEMORY, threads=1)
        batch = [files.prepare(one.found(), scratch) for one in job.inputs]
        counts = read_records(con, batch, source, form, aside, scratch, whole=True)
        rows = dict(query.frame(con, "SELECT day, count(*) FROM usage GROUP BY day ORDER BY day").iter_rows())
        path = scratch / "rows.part"
        con.execute("COPY (SELECT COLUMNS(lambda name: name NOT IN ('_odd', '_raw', '_verdict', '_again')) FROM parsed "
                    f"WHERE _verdict = 'ok') TO '{path}' "
                    "(FORMAT parquet, COMPRESSION lz4_raw)")
        con.close()
        lake.store.put(job.key, path)
    told = tuple(InputRead(place, one.input_id, one.prepared.sha256, one.lines, one.findings, one.skipped,
                           tuple(sorted(one.told))) for place, one in zip(job.inputs, counts, strict=True))
    return Read(job.key, told, rows, tuple(aside.noted))


def write(job: ToWrite) -> Written:
    """The finished files of a share of the days."""
    settings, source = _opened(job.settings, job.source)
    with scratch_folder(settings) as scratch:
        base = _store(settings)
        over = Overlay(base, scratch / "made")
        lake = Lake(over, scratch)
        state = _Settled(lake, source, job.uris)
        noted: list[dict[str, Any]] = []

        def note(rows: Iterable[dict[str, Any]]) -> None:
            noted.extend({"source": source.name, **row} for row in rows if row["day"] in job.share)

        con = query.connect(scratch=scratch, memory=MEMORY, threads=1)
        _load(con, lake, job, source, format_of(source, settings.teams))
        days = Days(lake, settings, source, lake.read(CORE_PRICE), state, note, window=job.window, share=job.share)
        done = Ingested(source.name)
        days.write(con, set(job.before), set(job.uris), done)
        con.close()
        written = tuple(_handed_over(lake, over, source, day, done, state.settled[day], job.key)
                        for day in sorted(state.settled))
    return Written(written, {one: state.rows[one]["findings"] for one in job.uris if state.rows[one]["findings"]},
                   tuple(noted))


class _Settled(Inputs):
    """A source's inputs as a share of its days sees them; what the share settles is kept for the run that asked."""

    def __init__(self, lake: Lake, source: Source, uris: Mapping[str, str]) -> None:
        super().__init__(lake, source)
        self.rows |= {one: {"uri": uri, "findings": 0, "days": []} for one, uri in uris.items()}
        self.settled: dict[date, tuple[dict[str, int], Mapping[str, int]]] = {}

    def settle(self, day: date, kept: dict[str, int], late: Mapping[str, int], *, held: int | None) -> None:  # noqa: ARG002
        """Keep it; what the partition held the run that asked knows."""
        self.settled[day] = (kept, late)

    def defer(self, told: Iterable[tuple[str, date]], window: Window) -> None:
        """The run that asked does."""


def _load(con: query.Connection, lake: Lake, job: ToWrite, source: Source, form: Format) -> None:
    """`inputs`, `parsed` and `usage`, as a batch that was just read has them."""
    ids = [one for _, inputs in job.read for one in inputs]
    con.register("inputs_frame", pl.DataFrame({"file_no": range(len(ids)), "input_id": ids},
                                              schema={"file_no": pl.Int32(), "input_id": pl.String()}).to_arrow())
    con.execute("CREATE TEMP TABLE inputs AS SELECT * FROM inputs_frame")
    con.unregister("inputs_frame")
    first, last = job.share.start - timedelta(days=1), job.share.end
    parts, offset = [], 0
    for key, inputs in job.read:
        path = lake.store.fetch(key, lake.scratch / "rows")
        if path is None:
            raise Unreachable(f"{lake.store.uri}/{key}: gone before it was used; run again.")
        parts.append(f"SELECT * REPLACE ((_file + {offset})::INTEGER AS _file) FROM read_parquet('{path}') "
                     f"WHERE used_at >= DATE '{first}' AND used_at < DATE '{last}' + 1")
        offset += len(inputs)
    con.execute(f"CREATE TEMP TABLE parsed AS SELECT *, 'ok' AS _verdict FROM ({' UNION ALL BY NAME '.join(parts)})")
    con.execute("CREATE TEMP VIEW usage AS " + ingest.usage_select(
        form, source.constants(), source=source.name, where="p._verdict = 'ok'"))


def _handed_over(lake: Lake, over: Overlay, source: Source, day: date, done: Ingested,
                 settled: tuple[dict[str, int], Mapping[str, int]], prefix: str) -> DayWritten:
    """A day's file where the run that asked finds it."""
    name = lake.key(CORE_CHARGE, {"source": source.name, "day": str(day)})
    key = None
    if name in over.changed:
        key = f"{prefix}{day}.part"
        over.base.put(key, over.own.path(name))
    base = over.base.version(name) if isinstance(over.base, Bucket) else None
    return DayWritten(day, *settled, day in done.changed, key, base)


def _opened(settings: str, source: str) -> tuple[Settings, Source]:
    made = Settings.model_validate_json(settings)
    secret_variables(made.secret_names())
    return made, next(one for one in made.sources if one.name == source)


def _store(settings: Settings) -> Store:
    """The lake's store; in a bucket what is read is remembered with its version."""
    store = open_store(settings.workspace.lake, base=settings.home)
    if isinstance(store, Bucket):
        store.fence()
    return store
