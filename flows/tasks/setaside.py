"""What is wrong with records: counted per input, and kept as findings with their place and an excerpt."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import Source
from costops.flows.sources import files
from costops.flows.sources.files import Trouble
from costops.flows.tasks.inputs import Counts, Inputs
from costops.transforms import ingest, query
from costops.transforms.finding import MOST_EXCERPTS, excerpt, findings
from costops.transforms.parse.format import Format
from costops.transforms.tables import CORE_FINDING

UNKNOWN_DAY = date(1970, 1, 1)


class SetAside:
    """The findings of one source's run."""

    def __init__(self, lake: Lake, source: Source, form: Format, *, now: datetime) -> None:
        self.lake, self.source, self.form, self.now = lake, source, form, now
        self.noted: list[dict[str, Any]] = []

    def report(self, reason: str, one: Counts, **more: Any) -> None:
        """A finding about an input as a whole."""
        self.note([self._row(reason, one, **more)])

    def judge(self, con: query.Connection, counts: list[Counts]) -> None:
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
            texts = {} if files.is_csv(one.prepared.found.uri) else (
                files.lines(one.prepared.path, set(shown["record"])))
            for record, verdict in shown.select("record", "_verdict").iter_rows():
                reason, _, detail = verdict.partition(":")
                name, _, value = detail.partition("=")
                line, text = texts.get(record, (record + 1 if files.is_csv(one.prepared.found.uri) else record, ""))
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

    def empty(self) -> None:
        """No input was found."""
        self.note([{"reason": "empty_source", "severity": "warning", "uri": self.source.uri, "line": None,
                    "actual": "no input matches", "day": self.now.date()}])

    def note(self, rows: Iterable[dict[str, Any]]) -> None:
        """Keep findings for `write`."""
        self.noted += [{"source": self.source.name, **row} for row in rows]

    def write(self, state: Inputs, read_ids: set[str]) -> None:
        """Replace the findings of the inputs that were read; those of others stay."""
        made = findings(self.noted)
        old_parts = self.lake.partitions(CORE_FINDING)
        mine = [part for part in old_parts if part["source"] == self.source.name]
        if not mine and made.is_empty():
            return
        uris = {state.rows[one]["uri"] for one in read_ids}
        days = {str(day) for day in made["day"]}
        scope = [part for part in mine if read_ids or part["day"] in days]
        old = self.lake.read(CORE_FINDING, scope)
        stays = old.filter(~pl.col("uri").is_in(list(uris)) | pl.col("uri").is_null(),
                           ~pl.col("finding_id").is_in(made["finding_id"].to_list()))
        self.lake.replace(CORE_FINDING, pl.concat([stays, made]), scope)
