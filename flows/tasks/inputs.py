"""What the lake knows of a source's inputs: which it has read, at which bytes, and how many rows each day kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import Source
from costops.flows.sources import files
from costops.flows.sources.files import Found, Prepared
from costops.transforms import ingest
from costops.transforms.tables import CORE_INPUT
from costops.transforms.window import Window


def id_of(source: str, uri: str) -> str:
    """The id of an input of a source."""
    return ingest.input_id(source, uri, files.file_day(uri))


@dataclass
class Counts:
    """The state of one input while it is read."""

    prepared: Prepared
    input_id: str
    lines: int = 0
    findings: int = 0
    skipped: int = 0
    told: set[date] = field(default_factory=set)


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

    def count(self, inputs: Iterable[Counts]) -> None:
        """Add inputs that were read."""
        for one in inputs:
            self.inputs_read += 1
            self.lines_read += one.lines
            self.findings += one.findings
            self.non_billable += one.skipped


class Inputs:
    """What the lake knows of a source's inputs: `core_input` and the hints that save hashing."""

    def __init__(self, lake: Lake, source: Source) -> None:
        self.lake, self.source = lake, source
        self.partition = {"source": source.name}
        self.rows: dict[str, dict[str, Any]] = {
            row["input_id"]: row | {"_late": _late_in_day(row)}
            for row in lake.read(CORE_INPUT, [self.partition]).iter_rows(named=True)}
        self.hint_key = f"_state/hints/{source.name}.json"
        self.hints: dict[str, str] = _json(lake.store.read(self.hint_key))
        self.fresh_hints: dict[str, str] = {}
        self._telling: dict[date, set[str]] | None = None

    def sort(self, found: Sequence[Found], work: Path, *, again: bool, window: Window | None
             ) -> tuple[list[Prepared], list[Prepared]]:
        """The inputs that are new or changed, prepared for reading; and of these the changed ones."""
        fresh, modified = [], []
        for one in found:
            row = self.rows.get(id_of(self.source.name, one.uri))
            touches = again and (window is None or row is None or any(day in window for day in row["days"] or []))
            due = row is not None and _due(row, window)
            if row and not (touches or due) and self.hints.get(one.uri) == one.listed.version:
                continue
            prepared = self._prepare(one, work)
            same = row is not None and row["content_sha256"] == prepared.sha256
            if same and not (touches or due):
                self.fresh_hints[one.uri] = one.listed.version
                _drop(prepared, work)
                continue
            fresh.append(prepared)
            if row and (touches or due or not same):
                modified.append(prepared)
        return fresh, modified

    def neighbours(self, modified: Sequence[Prepared], found: Sequence[Found], fresh: Sequence[Prepared],
                   work: Path, window: Window | None) -> list[Prepared]:
        """Every other input that shares a day with the former state of a changed one, of the days to be written."""
        days = {day for one in modified
                for day in self.rows[id_of(self.source.name, one.found.uri)]["days"] or []
                if window is None or day in window}
        if not days:
            return []
        taken = {one.found.uri for one in fresh}
        return [self._prepare(one, work) for one in found if one.uri not in taken
                and (row := self.rows.get(id_of(self.source.name, one.uri)))
                and days & set(row["days"] or [])]

    def _prepare(self, one: Found, work: Path) -> Prepared:
        return files.prepare(one, work)

    def days_of(self, ids: Iterable[str]) -> set[date]:
        """The days that these inputs touched when last read."""
        return {day for one in ids if one in self.rows for day in self.rows[one]["days"] or []}

    def put(self, counts: Counts) -> None:
        """Remember an input as read now; its days are filled in by `settle`."""
        self._telling = None
        uri = counts.prepared.found.uri
        old = self.rows.get(counts.input_id)
        kept = dict(zip(old["days"] or [], old["kept_by_day"] or [], strict=True)) if old else {}
        self.rows[counts.input_id] = {
            "source": self.source.name, "input_id": counts.input_id, "uri": uri, "kind": self.source.kind,
            "content_sha256": counts.prepared.sha256, "lines_read": counts.lines, "findings": counts.findings,
            "non_billable": counts.skipped, "_kept": {**dict.fromkeys(counts.told, 0), **kept}, "_told": counts.told,
            "_late": old["_late"] if old else 0,
            "_new": old is None or old["content_sha256"] != counts.prepared.sha256,
        }
        self.fresh_hints[uri] = counts.prepared.found.listed.version

    def defer(self, told: Iterable[tuple[str, date]], window: Window) -> None:
        """Remember the days of inputs read now that the window leaves out: they are written when they are asked for.

        Without this an input read for one day would pass as known, and its other days would never be written.
        """
        self._telling = None
        days: dict[str, set[date]] = {one: set(row["_kept"]) for one, row in self.rows.items() if row.get("_new")}
        for one, day in told:
            if one in days:
                days[one].add(day)
        for one, named in days.items():
            self.rows[one]["_kept"].update(dict.fromkeys(day for day in named if day not in window))

    def hours(self, day: date) -> dict[str, datetime]:
        """The inputs of that day whose name tells an hour, with its beginning."""
        return {one: hour for one, row in self.rows.items()
                if (hour := files.file_hour(row["uri"])) and hour.date() == day}

    def settle(self, day: date, kept: dict[str, int], late: Mapping[str, int], *, held: int | None) -> None:
        """After a partition was written: how many of its rows came from which input, and how many after their hour.

        Where it `held` fewer rows before than its inputs told, and has fewer now, some of it was lost: what inputs told
        that were not read now is not to be forgotten then. None: it held them all.
        """
        whole = held is None or max(held, sum(kept.values())) >= sum(self._known(one, day) for one in self._inputs_of(day))
        for one in (kept.keys() | self._inputs_of(day)) & self.rows.keys():
            row = self.rows[one]
            by_day = row.setdefault("_kept", dict(zip(row.get("days") or [], row.get("kept_by_day") or [],
                                                      strict=True)))
            if day == files.file_day(row["uri"]):
                row["_late"] = late.get(one, 0)
            if one in kept:
                by_day[day] = kept[one]
            elif day in by_day and (whole or "_told" in row):
                # a day that it tells stays known although all its records there are duplicates of others: when those
                # change, this input must be read again
                if day in row.get("_told", {day}):
                    by_day[day] = 0
                else:
                    del by_day[day]

    def _known(self, one: str, day: date) -> int:
        """How many rows of a day came from an input, as far as is known."""
        row = self.rows[one]
        by_day = row["_kept"] if "_kept" in row else dict(zip(row["days"] or [], row["kept_by_day"] or [], strict=True))
        return by_day.get(day) or 0

    def _inputs_of(self, day: date) -> set[str]:
        """The inputs that tell a day or told it."""
        if self._telling is None:
            self._telling = {}
            for one, row in self.rows.items():
                for named in row["_kept"] if "_kept" in row else row["days"] or []:
                    self._telling.setdefault(named, set()).add(one)
        return self._telling.get(day, set())

    def save(self) -> None:
        """Write `core_input` and the hints."""
        rows = []
        for row in self.rows.values():
            kept = row.get("_kept")
            if kept is not None:
                days = sorted(kept)
                total = sum(count or 0 for count in kept.values())
                whole = None not in kept.values()
                named = files.file_day(row["uri"])
                row |= {
                    "days": days, "kept_by_day": [kept[day] for day in days], "rows_kept": total,
                    "duplicates": row["lines_read"] - total - row["findings"] - row["non_billable"] if whole else None,
                    "late_records": _before(kept, named) + row["_late"],
                }
            rows.append({name: row[name] for name in CORE_INPUT.columns})
        if rows:
            self.lake.write(CORE_INPUT, pl.DataFrame(rows, schema=CORE_INPUT.schema))
        if self.fresh_hints:
            self.hints |= self.fresh_hints
            self.lake.store.put(self.hint_key, json.dumps(self.hints, sort_keys=True, indent=0).encode())
            self.fresh_hints = {}


def _due(row: dict[str, Any], window: Window | None) -> bool:
    """True where the input told of days that were not written yet."""
    return any(count is None and (window is None or day in window)
               for day, count in zip(row["days"] or [], row["kept_by_day"] or [], strict=True))


def _before(kept: Mapping[date, int | None], named: date | None) -> int:
    """Rows kept whose day lies before the day in the input's name."""
    return sum(count or 0 for day, count in kept.items() if named and day < named)


def _late_in_day(row: Mapping[str, Any]) -> int:
    """Of the late rows that the lake knows of an input, those of the input's own day."""
    kept = dict(zip(row["days"] or [], row["kept_by_day"] or [], strict=True))
    return (row["late_records"] or 0) - _before(kept, files.file_day(row["uri"]))


def _drop(prepared: Prepared, work: Path) -> None:
    if prepared.path.is_relative_to(work):
        prepared.path.unlink(missing_ok=True)


def _json(body: bytes | None) -> dict[str, str]:
    try:
        found = json.loads(body) if body else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
