"""Ingest: request logs of one source into priced `core_charge` partitions, only what changed.

An input is known by its uri and told apart by the hash of its bytes. New inputs are merged into the days they
touch. A changed input is read again together with every input that shares a day with its former state, so that
a partition is always what its inputs say, whatever the order of delivery. Partitions are replaced one by one;
the source's `core_input` partition, written last, is what makes an input known. So a run may be killed anywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import Attribution, Settings, Source
from costops.flows.sources import files
from costops.flows.sources.files import Found, Prepared, Trouble
from costops.flows.tasks.inputs import Counts, Inputs
from costops.flows.tasks.pricing import contracts_frame
from costops.transforms import ingest, merge, query
from costops.transforms.charge import keys_sql, price_cells
from costops.transforms.finding import excerpt, findings
from costops.transforms.parse import generic  # type: ignore[attr-defined]
from costops.transforms.parse.format import TEXT, Fields, Format
from costops.transforms.providers import FORMAT
from costops.transforms.tables import CORE_CHARGE, CORE_FINDING, CORE_USAGE
from costops.transforms.window import Window

BATCH_BYTES = 192 << 20
BATCH_FILES = 2_000
MOST_EXCERPTS = 1_000
"""Findings of one input that get a row each; what is beyond is counted in one more row."""

UNKNOWN_DAY = date(1970, 1, 1)


@dataclass
class Ingested:
    """What one source's ingest did."""

    source: str
    inputs_read: int = 0
    inputs_known: int = 0
    lines_read: int = 0
    rows_kept: int = 0
    duplicates: int = 0
    findings: int = 0
    non_billable: int = 0
    touched: set[date] = field(default_factory=set)
    changed: set[date] = field(default_factory=set)
    read_ids: set[str] = field(default_factory=set)


def format_of(source: Source) -> Format:
    """The format of a source: its kind's, with the configured columns and attribution put in."""
    if source.kind == "generic.usage":
        form = generic.build({"columns": source.columns, "only": source.only, **source.options})
    else:
        form = FORMAT[source.kind]
    return _attributed(form, source.attribution)


def ingest_source(lake: Lake, settings: Settings, source: Source, book: pl.DataFrame, *, now: datetime,
                  window: Window | None = None, again: bool = False, primary_days: frozenset[date] = frozenset(),
                  progress: Callable[[int, int], None] | None = None) -> Ingested:
    """Read what is new of a source and replace the partitions that it touches.

    `window` limits the days that are written; `again` reads every input that may touch it anew; `primary_days` are
    the days on which a source that stands over this one has changed. Bad records become findings. Raises `Unreachable` where the source itself cannot be read.
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
        pending = {ingest.input_id(source.name, one.found.uri) for one in reread}
        for number, batch in enumerate(_batches(reread)):
            reader.take(batch, pending, work / f"batch-{number}", done)
            if not modified:
                state.save()
            if progress:
                progress(done.inputs_read, len(reread))
        state.save()
        if not found:
            reader.note([{"reason": "empty_source", "severity": "warning", "uri": source.uri, "line": None,
                          "actual": "no input matches", "day": now.date()}])
        reader.recount(done, primary_days)
        reader.write_findings()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


class _Reader:
    """Reads batches of inputs and writes the partitions that they touch."""

    def __init__(self, lake: Lake, settings: Settings, source: Source, book: pl.DataFrame, state: Inputs, *,
                 now: datetime, window: Window | None) -> None:
        self.lake, self.settings, self.source, self.book, self.state = lake, settings, source, book, state
        self.form = format_of(source)
        self.now, self.window = now, window
        self.done_ids: set[str] = set()
        self.read_ids: set[str] = set()
        self.noted: list[dict[str, Any]] = []
        self.small = True
        self.primaries = [one.name for one in settings.sources if source.name in one.primary_over]

    # -- reading -----------------------------------------------------------------------------------------------

    def take(self, batch: Sequence[Prepared], pending: set[str], work: Path, done: Ingested) -> None:
        """Parse a batch, set the bad aside, price the good and replace their days."""
        work.mkdir(parents=True, exist_ok=True)
        con = query.connect(scratch=work)
        counts = [Counts(one, ingest.input_id(self.source.name, one.found.uri)) for one in batch]
        self._parse(con, counts, work)
        self._set_aside(con, counts)
        con.execute("CREATE OR REPLACE TEMP VIEW usage AS " + ingest.usage_select(
            self.form, self.source.constants(), source=self.source.name, where="p._verdict = 'ok'"))
        for number, day in query.frame(con, "SELECT DISTINCT _file, day FROM usage ORDER BY ALL").iter_rows():
            counts[number].told.add(day)
        before = self.state.days_of(one.input_id for one in counts)
        for one in counts:
            self.state.put(one)
        self._write_days(con, before, pending - self.done_ids, done)
        self.done_ids |= {one.input_id for one in counts}
        self.read_ids |= self.done_ids
        done.read_ids |= self.done_ids
        for one in counts:
            done.inputs_read += 1
            done.lines_read += one.lines
            done.findings += one.findings
            done.non_billable += one.skipped
        con.close()

    def _parse(self, con: query.Connection, counts: list[Counts], work: Path) -> None:
        self._list_inputs(con, counts)
        readable = [one for one in counts if one.prepared.path.stat().st_size]
        self._parse_files(con, readable, work)

    def _parse_files(self, con: query.Connection, counts: list[Counts], work: Path) -> None:
        """All at once; where the reader gives up, one by one; and a file that it cannot read, with long lines cut."""
        csv = [one for one in counts if _is_csv(one.prepared.found.uri)]
        plain = [one for one in counts if one not in csv]
        first = True
        for group in (plain, csv):
            if not group:
                continue
            try:
                self._parse_group(con, group, append=not first)
            except query.Error as error:
                LOGGER.info("%s: reading one by one (%s)", self.source.name, str(error).split("\n", 1)[0])
                for one in group:
                    self._parse_alone(con, one, work, append=not first)
                    first = False
            first = False
        if first:
            self._parse_group(con, [], append=False)

    def _parse_alone(self, con: query.Connection, one: Counts, work: Path, *, append: bool) -> None:
        try:
            self._parse_group(con, [one], append=append)
        except query.Error:
            one.prepared = files.short_lines(one.prepared, work)
            self._list_inputs(con, [one], keep=True)
            try:
                self._parse_group(con, [one], append=append)
            except query.Error as error:
                lost = files.count_lines(one.prepared.path)
                one.lines += lost
                one.findings += lost
                self.note([self._row("unreadable_file", one, actual=str(error).split("\n", 1)[0][:300],
                                     records=lost)])
                if not append:
                    self._parse_group(con, [], append=False)

    def _parse_group(self, con: query.Connection, group: Sequence[Counts], *, append: bool) -> None:
        names = [str(one.prepared.path) for one in group]
        if not names:
            empty = self.lake.scratch / "empty.jsonl"
            empty.touch()
            names = [str(empty)]
        if group and _is_csv(group[0].prepared.found.uri):
            records = ingest.read_rows(names, largest=files.LARGEST_LINE, fields=self.form.fields)
        else:
            records = ingest.read_records(self.form, names, largest=files.LARGEST_LINE)
        statement = ingest.parse_statement(self.form, records, self.source.constants())
        if append:
            statement = statement.replace("CREATE OR REPLACE TEMP TABLE parsed AS", "INSERT INTO parsed", 1)
        con.execute(statement)

    def _list_inputs(self, con: query.Connection, counts: Sequence[Counts], *, keep: bool = False) -> None:
        frame = pl.DataFrame(
            [{"file_no": number, "filename": str(one.prepared.path), "input_id": one.input_id,
              "uri": one.prepared.found.uri, "file_at": self._file_at(one.prepared.found)}
             for number, one in enumerate(counts)],
            schema={"file_no": pl.Int32(), "filename": pl.String(), "input_id": pl.String(), "uri": pl.String(),
                    "file_at": pl.Datetime("us")})
        if keep:
            for one in counts:
                con.execute("UPDATE inputs SET filename = $name WHERE input_id = $id",
                            {"name": str(one.prepared.path), "id": one.input_id})
            return
        con.register("inputs_frame", frame.to_arrow())
        con.execute("CREATE OR REPLACE TEMP TABLE inputs AS SELECT * FROM inputs_frame")
        con.unregister("inputs_frame")

    def _file_at(self, found: Found) -> datetime | None:
        """The time of an input: its sidecar's, else noon-free midnight of the day in its name."""
        if self.form.sidecar and self.form.sidecar_at:
            for uri in self.form.sidecar(found.listed.key):
                body = found.store.read(uri)
                moment = self.form.sidecar_at(body) if body else None
                if moment is not None:
                    return moment.replace(tzinfo=None)
        named = files.file_day(found.uri)
        return datetime(named.year, named.month, named.day) if named else None  # noqa: DTZ001  UTC by convention

    # -- what is wrong -----------------------------------------------------------------------------------------

    def _set_aside(self, con: query.Connection, counts: list[Counts]) -> None:
        """Count verdicts per input and turn bad ones into findings with their place and an excerpt."""
        for view, raw in self.form.raw.items():
            del view
            odd = query.frame(con, ingest.odd_statement(raw))
            bad = odd.filter(pl.col("reason") == "impossible_count").unique(["_file", "_n"], keep="first")
            if bad.height:
                con.register("bad_frame", bad.to_arrow())
                con.execute("UPDATE parsed SET _verdict = concat('impossible_count:', b.path, '=', b.value) "
                            "FROM bad_frame AS b WHERE parsed._file = b._file AND parsed._n = b._n")
                con.unregister("bad_frame")
            self._warn_unknown(odd.filter(pl.col("reason") == "unknown_unit"), counts)
        con.execute("UPDATE parsed SET _verdict = 'future_record' WHERE _verdict = 'ok' AND used_at > $limit",
                    {"limit": (self.now + timedelta(days=2)).replace(tzinfo=None)})
        verdicts = query.frame(con, """SELECT _file, CASE WHEN _verdict = 'ok' THEN 'ok'
            WHEN starts_with(_verdict, 'skip:') THEN 'skip' ELSE 'bad' END AS kind, count(*) AS rows
            FROM parsed GROUP BY ALL ORDER BY ALL""")
        for number, kind, rows in verdicts.iter_rows():
            one = counts[number]
            one.lines += rows
            one.skipped += rows if kind == "skip" else 0
            one.findings += rows if kind == "bad" else 0
        self._note_bad(con, counts)
        for one in counts:
            for trouble in one.prepared.troubles:
                one.lines += trouble.records
                one.findings += trouble.records
                self.note([self._trouble(trouble, one)])

    def _note_bad(self, con: query.Connection, counts: list[Counts]) -> None:
        bad = query.frame(con, """SELECT p._file, p._n - f.first + 1 AS record, p._verdict
            FROM parsed AS p JOIN (SELECT _file, min(_n) AS first FROM parsed GROUP BY _file) AS f USING (_file)
            WHERE p._verdict <> 'ok' AND NOT starts_with(p._verdict, 'skip:') ORDER BY ALL""")
        for (number,), rows in bad.group_by("_file", maintain_order=True):
            one = counts[int(str(number))]
            if rows.height == one.lines > 0 and set(rows["_verdict"]) == {"malformed_record"}:
                self.note([self._row("wrong_kind", one, actual=f"none of {one.lines} records is {self.source.kind}",
                                     records=rows.height)])
                continue
            shown = rows.head(MOST_EXCERPTS)
            texts = {} if _is_csv(one.prepared.found.uri) else (
                files.lines(one.prepared.path, set(shown["record"])))
            for record, verdict in shown.select("record", "_verdict").iter_rows():
                reason, _, detail = verdict.partition(":")
                name, _, value = detail.partition("=")
                line, text = texts.get(record, (record + 1 if _is_csv(one.prepared.found.uri) else record, ""))
                self.note([self._row(reason, one, line=line, field=name or None,
                                     actual=(value or None) and excerpt(value), excerpt=excerpt(text))])
            if rows.height > MOST_EXCERPTS:
                self.note([self._row("malformed_record", one, actual="more findings of this input, not listed",
                                     records=rows.height - MOST_EXCERPTS, line=-1)])

    def _warn_unknown(self, unknown: pl.DataFrame, counts: list[Counts]) -> None:
        summary = unknown.group_by("_file", "path", maintain_order=True).agg(pl.len().alias("records"),
                                                                            pl.col("value").first())
        self.note(self._row("unknown_unit", counts[number], severity="warning", field=path, records=records,
                            actual=excerpt(value))
                  for number, path, records, value in summary.iter_rows())

    def _trouble(self, trouble: Trouble, one: Counts) -> dict[str, Any]:
        return self._row(trouble.reason, one, actual=trouble.detail, records=max(trouble.records, 1),
                         line=trouble.line, severity="error" if trouble.records else "warning")

    def _row(self, reason: str, one: Counts, **more: Any) -> dict[str, Any]:
        uri = one.prepared.found.uri
        return {"reason": reason, "uri": uri, "input_id": one.input_id, "line": None,
                "day": files.file_day(uri) or UNKNOWN_DAY, **more}

    def note(self, rows: Iterable[dict[str, Any]]) -> None:
        """Keep findings for `write_findings`."""
        self.noted += [{"source": self.source.name, **row} for row in rows]

    def write_findings(self) -> None:
        """Replace the findings of the inputs that were read; those of others stay."""
        made = findings(self.noted)
        old_parts = self.lake.partitions(CORE_FINDING)
        mine = [part for part in old_parts if part["source"] == self.source.name]
        if not mine and made.is_empty():
            return
        uris = {self.state.rows[one]["uri"] for one in self.read_ids}
        days = {str(day) for day in made["day"]}
        scope = [part for part in mine if self.read_ids or part["day"] in days]
        old = self.lake.read(CORE_FINDING, scope)
        stays = old.filter(~pl.col("uri").is_in(list(uris)) | pl.col("uri").is_null(),
                           ~pl.col("finding_id").is_in(made["finding_id"].to_list()))
        self.lake.replace(CORE_FINDING, pl.concat([stays, made]), scope)

    # -- writing -----------------------------------------------------------------------------------------------

    def _write_days(self, con: query.Connection, before: set[date], pending: set[str], done: Ingested) -> None:
        """Replace every day that the batch touches, or touched when its inputs were last read."""
        if self.window is not None:
            self.state.defer(query.frame(con, "SELECT DISTINCT input_id, day FROM usage ORDER BY ALL").iter_rows(),
                             self.window)
        con.execute(merge.MARK_DUPLICATES)
        con.execute("UPDATE parsed SET _verdict = 'duplicate' FROM losers AS l WHERE parsed.rowid = l._row")
        told = set(query.frame(con, "SELECT DISTINCT day FROM usage ORDER BY day")["day"])
        days = {day for day in told | before if self.window is None or day in self.window}
        around = sorted({day + timedelta(days=step) for day in days for step in (-1, 0, 1)})
        keep = ", ".join(f"'{one}'" for one in sorted(pending)) or "''"
        known = self.lake.relation(CORE_CHARGE, [self._part(day) for day in around])
        con.execute(f"""CREATE OR REPLACE TEMP TABLE known AS SELECT record_id, input_id, day, output_tokens,
            input_tokens, used_at FROM {known} WHERE input_id NOT IN ({keep})""")
        con.execute(merge.MARK_OLD)
        con.execute("UPDATE parsed SET _verdict = 'duplicate' FROM met AS m WHERE parsed.rowid = m._row AND NOT m.wins")
        con.execute("""CREATE OR REPLACE TEMP TABLE beaten AS
            SELECT m.record_id, m.old_day AS day FROM met AS m JOIN parsed AS p ON p.rowid = m._row
            WHERE m.wins AND p._verdict = 'ok'""")
        days |= set(query.frame(con, "SELECT DISTINCT day FROM beaten ORDER BY day")["day"])
        self._price(con)
        for day in sorted(days):
            self._write_day(con, day, keep, done)
        done.touched |= days

    def _price(self, con: query.Connection) -> None:
        cells = price_cells(query.frame(con, keys_sql("usage")), self.book,
                            contracts=contracts_frame(self.settings.contracts))
        con.register("cells_frame", cells.to_arrow())
        con.execute("CREATE OR REPLACE TEMP TABLE cells AS SELECT * FROM cells_frame")
        con.unregister("cells_frame")
        self.small = int(query.scalar(con, "SELECT count(*) FROM parsed")) <= merge.SMALL_BATCH
        if self.small:
            con.execute(merge.priced_statement())

    def _priced(self, con: query.Connection, day: date) -> str:
        """A SELECT of the batch's rows of one day with their costs."""
        if self.small:
            return f"SELECT * FROM priced WHERE day = DATE '{day}'"
        names = ", ".join(CORE_USAGE.columns)
        con.execute(f"CREATE OR REPLACE TEMP VIEW usage_of_day AS SELECT {names} FROM usage "
                    f"WHERE used_at >= TIMESTAMP '{day}' AND used_at < TIMESTAMP '{day + timedelta(days=1)}'")
        return merge.priced_of_day()

    def _write_day(self, con: query.Connection, day: date, pending: str, done: Ingested) -> None:
        part = self._part(day)
        base = (f"(SELECT * FROM {self.lake.relation(CORE_CHARGE, [part])} WHERE input_id NOT IN ({pending}))"
                if self.lake.file(CORE_CHARGE, part) is not None else None)
        rows = merge.day_select(self._priced(con, day), told=ingest.told_columns(self.form), base=base,
                                primary=self._primary(con, day))
        path = self._without_impossible(con, day, rows, self.lake.encode(con, rows, CORE_CHARGE))
        kept = query.frame(con, f"SELECT input_id, count(*) AS rows FROM read_parquet('{path}') GROUP BY ALL ORDER BY ALL")
        if kept.is_empty():
            path.unlink()
            changed = self.lake.remove(CORE_CHARGE, self._part(day))
        else:
            changed = self.lake.commit(CORE_CHARGE, self._part(day), path)
        self.state.settle(day, dict(kept.iter_rows()))
        done.rows_kept += kept["rows"].sum()
        if changed:
            done.changed.add(day)

    def _without_impossible(self, con: query.Connection, day: date, rows: str, path: Path) -> Path:
        """The partition without rows whose cost cannot be: they become findings, the rest is encoded again."""
        bad = query.frame(con, f"""SELECT record_id, input_id, price_status, input_tokens, output_tokens
            FROM read_parquet('{path}') WHERE price_status IN ('overflow', 'impossible') ORDER BY ALL""")
        if bad.is_empty():
            return path
        path.unlink()
        con.register("bad_frame", bad.to_arrow())
        con.execute("UPDATE parsed SET _verdict = 'amount_overflow' FROM bad_frame AS b "
                    "WHERE parsed.record_id = b.record_id AND parsed._verdict = 'ok'")
        if self.small:
            con.execute("DELETE FROM priced WHERE price_status IN ('overflow', 'impossible')")
        con.unregister("bad_frame")
        for record_id, input_id, status, taken, made in bad.iter_rows():
            row = self.state.rows[input_id]
            row["findings"] += 1
            self.note([{"reason": "amount_overflow" if status == "overflow" else "impossible_count",
                        "uri": row["uri"], "input_id": input_id, "day": day, "field": "record_id",
                        "actual": excerpt(f"{record_id}: {taken} input and {made} output tokens")}])
        return self.lake.encode(con, rows, CORE_CHARGE)

    def _part(self, day: date) -> dict[str, str]:
        return {"source": self.source.name, "day": str(day)}

    def _primary(self, con: query.Connection, day: date) -> str | None:
        """A relation of the ids that primary sources hold around a day; None where no source stands over this one."""
        if not self.primaries:
            return None
        parts = [{"source": name, "day": str(day + timedelta(days=step))}
                 for name in self.primaries for step in (-1, 0, 1)]
        con.execute("CREATE OR REPLACE TEMP TABLE primary_ids AS SELECT DISTINCT coalesce(response_id, record_id) "
                    f"AS match_id FROM {self.lake.relation(CORE_CHARGE, parts)}")
        return "primary_ids"

    def recount(self, done: Ingested, primary_days: frozenset[date]) -> None:
        """Where a primary source changed a day, say again which of this source's rows count."""
        if not self.primaries:
            return
        mine = {date.fromisoformat(part["day"]) for part in self.lake.partitions(CORE_CHARGE, source=self.source.name)}
        changed = {day + timedelta(days=step) for day in primary_days for step in (-1, 0, 1)}
        con = query.connect(scratch=self.lake.scratch)
        for day in sorted(mine & changed - done.touched):
            base = self.lake.relation(CORE_CHARGE, [self._part(day)])
            self._primary(con, day)
            path = self.lake.encode(con, merge.recount_select(base, "primary_ids"), CORE_CHARGE)
            if self.lake.commit(CORE_CHARGE, self._part(day), path):
                done.changed.add(day)
                done.touched.add(day)


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


def _is_csv(uri: str) -> bool:
    return uri.removesuffix(".gz").removesuffix(".zst").endswith(".csv")
