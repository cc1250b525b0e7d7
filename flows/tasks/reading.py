"""Inputs read into the table `parsed`: all at once where it goes, one by one where a file stops the reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import Source
from costops.flows.sources import files
from costops.flows.sources.files import Found
from costops.flows.tasks.inputs import Counts
from costops.transforms import ingest, query
from costops.transforms.finding import MOST_EXCERPTS, excerpt
from costops.transforms.parse.format import Format

Report = Callable[..., None]
_LARGE = 16 << 20
"""Bytes from which on it pays to find out what is usual in a group of files."""


class Records:
    """Reads the records of a source's inputs. `report` takes a reason and an input, and what more there is to say.

    `told` is the format whose columns `parsed` has.
    """

    def __init__(self, lake: Lake, source: Source, form: Format, report: Report) -> None:
        self.lake, self.source, self.form, self.report = lake, source, form, report
        self.told = form

    def parse(self, con: query.Connection, counts: list[Counts], work: Path) -> None:
        """The table `parsed`, and `inputs` beside it."""
        self._list_inputs(con, counts)
        readable = [one for one in counts if one.prepared.path.stat().st_size]
        for one in counts:
            if one not in readable and not one.prepared.troubles:
                self.report("empty_file", one, severity="warning")
        self._parse_files(con, readable, work)

    def _parse_files(self, con: query.Connection, counts: list[Counts], work: Path) -> None:
        """All at once; where the reader gives up, one by one; and a file that it cannot read, with long lines cut."""
        csv = [one for one in counts if files.is_csv(one.prepared.found.uri)]
        plain = [one for one in counts if one not in csv]
        first = True
        for group in (plain, *self._by_header(csv)):
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
                self.report("unreadable_file", one, actual=str(error).split("\n", 1)[0][:300], records=lost)
                if not append:
                    self._parse_group(con, [], append=False)

    def _by_header(self, counts: Sequence[Counts]) -> list[list[Counts]]:
        """CSV inputs that have the same header, together; one whose header names a column twice is not read."""
        groups: dict[tuple[str, ...], list[Counts]] = {}
        for one in counts:
            header = files.csv_header(one.prepared.path)
            twice = [name for name, times in Counter(name.lower() for name in header).items() if times > 1]
            if twice:
                lost = max(files.count_lines(one.prepared.path) - 1, 0)
                one.lines += lost
                one.findings += lost
                self.report("unreadable_file", one, line=1, field=twice[0], records=lost,
                            actual=f"the header names {twice[0]!r} more than once")
            else:
                groups.setdefault(header, []).append(one)
        return list(groups.values())

    def _parse_group(self, con: query.Connection, group: Sequence[Counts], *, append: bool) -> None:
        names = [str(one.prepared.path) for one in group]
        if not names:
            empty = self.lake.scratch / "empty.jsonl"
            empty.touch()
            names = [str(empty)]
        if group and files.is_csv(group[0].prepared.found.uri):
            header = files.csv_header(group[0].prepared.path)
            records = ingest.read_rows(names, header, largest=files.LARGEST_LINE, fields=self.form.fields)
        else:
            records = ingest.read_records(self.form, names, largest=files.LARGEST_LINE)
        con.execute("DROP TABLE IF EXISTS reject_errors")
        con.execute("DROP TABLE IF EXISTS reject_scans")
        if append:
            self.widen(con)
            insert(con, self.form, records, self.source.constants())
        else:
            self.told = create(con, self.form, self._lean(con, group), records, self.source.constants())
        if "store_rejects" in records:
            self._note_rejected(con, {str(one.prepared.path): one for one in group})

    def widen(self, con: query.Connection) -> None:
        """Give `parsed` every column that the format tells."""
        self.told = widen(con, self.form, self.told, self.source.constants())

    def _lean(self, con: query.Connection, group: Sequence[Counts]) -> Format:
        """The format that reads what is usual in a group of JSON files, where it is large enough to be worth a look."""
        sizes = {str(one.prepared.path): one.prepared.path.stat().st_size for one in group
                 if not files.is_csv(one.prepared.found.uri)}
        if not self.form.raw or sum(sizes.values()) < _LARGE:
            return self.form
        largest = max(sizes, key=lambda name: sizes[name])
        select, made = ingest.lean_format(self.form, ingest.read_records(
            self.form, [largest], largest=files.LARGEST_LINE))
        return made(con.sql(select).fetchall()[0])

    def _note_rejected(self, con: query.Connection, by_name: Mapping[str, Counts]) -> None:
        """Rows of CSV files that are none: counted, and each a finding with its line."""
        rejected = query.frame(con, ingest.rejected_select())
        for (name,), rows in rejected.group_by("filename", maintain_order=True):
            one = by_name[str(name)]
            one.lines += rows.height
            one.findings += rows.height
            shown = rows.head(MOST_EXCERPTS)
            lines = files.lines_at(one.prepared.path, shown["place"].to_list())
            for line, row in zip(lines, shown.iter_rows(named=True), strict=True):
                self.report(row["reason"], one, line=line, field=row["field"], actual=row["detail"],
                            excerpt=excerpt(row["text"] or ""))
            if rows.height > MOST_EXCERPTS:
                self.report("bad_row", one, actual="more findings of this input, not listed",
                            records=rows.height - MOST_EXCERPTS, line=-1)

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


def create(con: query.Connection, form: Format, told: Format, records: str, options: Mapping[str, str]) -> Format:
    """The table `parsed` from some records, read by `told`: the format, or a lean one that reads what is usual.

    Records that a lean one does not explain are read again by the whole one. Returns the format whose columns
    `parsed` has.
    """
    lean = told is not form
    con.execute(f"CREATE OR REPLACE TEMP TABLE parsed AS {ingest.parse_select(told, records, options, lean=lean)}")
    if not lean:
        return form
    con.execute(f"CREATE OR REPLACE TEMP TABLE again AS {ingest.again_select(form)}")
    if query.scalar(con, "SELECT count(*) FROM again"):
        con.execute("DELETE FROM parsed WHERE _again IS NOT NULL")
        told = widen(con, form, told, options)
        insert(con, form, "FROM again", options)
    return told


def widen(con: query.Connection, form: Format, told: Format, options: Mapping[str, str]) -> Format:
    """Give a `parsed` with the columns of `told` those of the whole format."""
    missing = ingest.missing_columns(form, told, options)
    if missing:
        values = con.sql("SELECT " + ", ".join(f"({value})::VARCHAR" for value in missing.values())).fetchall()[0]
        for name, value in zip(missing, values, strict=True):
            con.execute(ingest.add_column(name, value))
    return form


def insert(con: query.Connection, form: Format, records: str, options: Mapping[str, str]) -> None:
    """More records into `parsed`, which has every column of the format."""
    con.execute(f"INSERT INTO parsed BY NAME {ingest.parse_select(form, records, options)}")
