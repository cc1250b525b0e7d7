"""The days of a batch, priced and put into their partitions.

A day that holds nothing else is written as a stream: rows sorted in the partitions' order, priced and encoded a row
group at a time, so that memory does not grow with the day. A day that keeps rows of other inputs is put together
from both. The bytes are the same either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import Settings, Source
from costops.flows.tasks.inputs import Ingested, Inputs
from costops.flows.tasks.pricer import Pricer, put
from costops.flows.tasks.pricing import contracts_frame
from costops.flows.tasks.stretches import repeated, sorted_rows
from costops.transforms import merge, query
from costops.transforms.arrays import arrow
from costops.transforms.charge import keys_sql, price_cells
from costops.transforms.finding import excerpt
from costops.transforms.tables import CORE_CHARGE
from costops.transforms.window import Window

Note = Callable[[Iterable[dict[str, Any]]], None]


class Days:
    """Writes the partitions that a source's batches touch.

    With a `share` of the days only those are written: rows of the days beside them are there to be compared with.
    """

    def __init__(self, lake: Lake, settings: Settings, source: Source, book: pl.DataFrame, state: Inputs, note: Note,  # noqa: PLR0913
                 *, window: Window | None, share: Window | None = None) -> None:
        self.lake, self.source, self.book, self.state, self.note = lake, source, book, state, note
        self.contracts = contracts_frame(settings.contracts)
        self.window, self.share = window, share
        self.primaries = [one.name for one in settings.sources if source.name in one.primary_over]

    def write(self, con: query.Connection, before: set[date], pending: set[str], done: Ingested) -> None:
        """Replace every day that the batch (`usage`, `parsed`) touches, or touched when its inputs were last read.

        The connection is of no use afterwards.
        """
        if self.window is not None:
            self.state.defer(query.frame(con, "SELECT DISTINCT input_id, day FROM usage ORDER BY ALL").iter_rows(),
                             self.window)
        twice = repeated(con)
        if len(twice):
            put(con, "twice", pa.table({"h": arrow(twice)}))
            con.execute(merge.MARK_DUPLICATES)
            con.execute("UPDATE parsed SET _verdict = 'duplicate' FROM losers AS l WHERE parsed.rowid = l._row")
        told = set(query.frame(con, "SELECT DISTINCT day FROM usage ORDER BY day")["day"])
        compared = {day for day in told | before if self.window is None or day in self.window}
        days = self._kept(con, self._mine(compared))
        keep = ", ".join(f"'{one}'" for one in sorted(pending)) or "''"
        known = self.lake.relation(CORE_CHARGE, map(self._part, _around(compared if self.share else days)))
        con.execute(f"""CREATE OR REPLACE TEMP TABLE known AS SELECT record_id, input_id, day, output_tokens,
            input_tokens, used_at FROM {known} WHERE input_id NOT IN ({keep})""")
        con.execute(merge.MARK_OLD)
        con.execute("UPDATE parsed SET _verdict = 'duplicate' FROM met AS m WHERE parsed.rowid = m._row AND NOT m.wins")
        con.execute("""CREATE OR REPLACE TEMP TABLE beaten AS
            SELECT m.record_id, m.old_day AS day FROM met AS m JOIN parsed AS p ON p.rowid = m._row
            WHERE m.wins AND p._verdict = 'ok'""")
        days |= self._mine(query.frame(con, "SELECT DISTINCT day FROM beaten ORDER BY day")["day"])
        kept = set(query.frame(con, "SELECT DISTINCT day FROM known ORDER BY day")["day"]) & days
        self.lake.owe(days)
        con.execute(merge.combos_statement())
        keys = keys_sql("combos", first="first_used_at", last="last_used_at")
        put(con, "cells", price_cells(query.frame(con, keys), self.book, contracts=self.contracts))
        shape = merge.layout(query.frame(con, merge.survey_select()).row(0, named=True))
        primary = self._primary(con, days)
        self._write_kept(con, kept, keep, shape, primary, done)
        self._write_new(con, days - kept, shape, primary, done)
        done.touched |= days

    def _mine(self, days: Iterable[date]) -> set[date]:
        return {day for day in days if self.share is None or day in self.share}

    def _kept(self, con: query.Connection, days: set[date]) -> set[date]:
        """The days that retention still keeps. A late row of another must not pass for the whole day: a finding."""
        first = self.lake.kept_from(CORE_CHARGE.name)
        if first is None or all(day >= first for day in days):
            return days
        late = query.frame(con, "SELECT day, input_id, count(*) AS records FROM usage WHERE day < $first "
                                "GROUP BY ALL ORDER BY ALL", {"first": first})
        self.note({"reason": "past_retention", "severity": "warning", "day": day, "uri": self.state.rows[one]["uri"],
                   "input_id": one, "line": None, "records": records, "actual": f"kept from {first}",
                   "mend": "the day was dropped by age; raise retention.core_days before such records are delivered"}
                  for day, one, records in late.iter_rows())
        return {day for day in days if day >= first}

    # -- days that keep nothing --------------------------------------------------------------------------------

    def _write_new(self, con: query.Connection, days: set[date], shape: merge.Layout, primary: str | None,
                   done: Ingested) -> None:
        left = set(days)
        any_rows = bool(days) and query.scalar(con, "SELECT 1 FROM usage LIMIT 1")
        for day, rows in _by_day(self._stream(con, days, shape, primary)) if any_rows else ():
            counts: Counter[str] = Counter()
            late: Counter[str] = Counter()
            hours = self.state.hours(day)
            with self.lake.writer(CORE_CHARGE) as out:
                for piece in rows:
                    kept = self._possible(day, piece, counts)
                    late += _late(kept, hours)
                    out.add(kept)
                    del piece, kept     # not while the next is made
            if counts:
                left.discard(day)
                held = self._held(day)
                self._settle(day, counts, late, self.lake.commit(CORE_CHARGE, self._part(day), out.path), done, held)
            else:
                out.path.unlink()
        for day in sorted(left):
            held = self._held(day)
            self._settle(day, {}, {}, self.lake.remove(CORE_CHARGE, self._part(day)), done, held)

    def _held(self, day: date) -> int:
        """How many rows the lake has of a day."""
        path = self.lake.file(CORE_CHARGE, self._part(day))
        return 0 if path is None else pq.read_metadata(path).num_rows

    def _stream(self, con: query.Connection, days: set[date], shape: merge.Layout,
                primary: str | None) -> Iterator[pa.Table]:
        """The rows of some days with their costs, in the partitions' order, a row group's worth at a time."""
        pricer = Pricer(con, shape, primary, self.lake.scratch)
        inside = f"u.day IN ({', '.join(map(query.day, sorted(days)))})"
        for rows in sorted_rows(con, shape, inside, self.lake.scratch):
            made = pricer.charges(rows)
            del rows
            yield made
            del made
        pricer.close()

    def _possible(self, day: date, rows: pa.Table, counts: Counter[str]) -> pa.Table:
        """The rows that may be kept; those whose cost cannot be become findings."""
        bad = pc.is_in(rows.column("price_status"), _BAD)
        if pc.any(bad).as_py():
            for row in rows.filter(bad).to_pylist():
                self._impossible(day, **{name: row.get(name) for name in _SHOWN})
            rows = rows.filter(pc.invert(bad))
        for one in pc.value_counts(rows.column("input_id")).to_pylist():
            counts[one["values"]] += one["counts"]
        return rows

    # -- days that keep rows of other inputs -------------------------------------------------------------------

    def _write_kept(self, con: query.Connection, days: set[date], pending: str, shape: merge.Layout,
                    primary: str | None, done: Ingested) -> None:
        if not days:
            return
        con.execute(merge.priced_statement(shape, {str(day) for day in days}))
        bad = f"price_status IN {merge.IMPOSSIBLE}"
        told = ", ".join(name if name in shape.columns else f"NULL AS {name}" for name in _SHOWN)
        shown = query.frame(con, f"SELECT day, {told} FROM priced WHERE {bad} ORDER BY ALL")
        for row in shown.iter_rows(named=True):
            self._impossible(**row)
        con.execute(f"DELETE FROM priced WHERE {bad}")
        for day in sorted(days):
            old = self.lake.relation(CORE_CHARGE, [self._part(day)])
            base = f"(SELECT * FROM {old} WHERE input_id NOT IN ({pending}))"
            held = query.frame(con, merge.held_select(base)).row(0, named=True)
            rows = merge.day_select(str(day), base, primary, shape, {name for name, count in held.items() if count})
            path = self.lake.encode(con, rows, CORE_CHARGE)
            counts = dict(query.frame(con, f"SELECT input_id, count(*) FROM read_parquet('{path}') GROUP BY ALL "
                                           "ORDER BY ALL").iter_rows())
            hours = self.state.hours(day)
            late = _late(pq.read_table(path, columns=["input_id", "used_at"]), hours) if hours else {}
            before = self._held(day)
            if counts:
                changed = self.lake.commit(CORE_CHARGE, self._part(day), path)
            else:
                path.unlink()
                changed = self.lake.remove(CORE_CHARGE, self._part(day))
            self._settle(day, counts, late, changed, done, before)

    # -- both --------------------------------------------------------------------------------------------------

    def _settle(self, day: date, counts: Mapping[str, int], late: Mapping[str, int], changed: bool,
                done: Ingested, held: int) -> None:
        self.state.settle(day, dict(counts), late, held=held)
        done.rows_kept += sum(counts.values())
        if changed:
            done.changed.add(day)

    def _impossible(self, day: date, *, record_id: str, input_id: str, price_status: str, input_tokens: int,
                    output_tokens: int) -> None:
        row = self.state.rows[input_id]
        row["findings"] += 1
        self.note([{"reason": "amount_overflow" if price_status == "overflow" else "impossible_count",
                    "uri": row["uri"], "input_id": input_id, "day": day, "field": "record_id",
                    "actual": excerpt(f"{record_id}: {input_tokens} input and {output_tokens} output tokens")}])

    def _part(self, day: date) -> dict[str, str]:
        return {"source": self.source.name, "day": str(day)}

    def _primary(self, con: query.Connection, days: set[date]) -> str | None:
        """A relation of the ids that primary sources hold around some days; None where none stands over this one."""
        if not self.primaries:
            return None
        parts = [{"source": name, "day": str(day)} for name in self.primaries for day in _around(days)]
        con.execute("CREATE OR REPLACE TEMP TABLE primary_ids AS SELECT DISTINCT coalesce(response_id, record_id) "
                    f"AS match_id, day FROM {self.lake.relation(CORE_CHARGE, parts)}")
        return "primary_ids"

    def recount(self, done: Ingested, primary_days: frozenset[date]) -> None:
        """Where a primary source changed a day, say again which of this source's rows count."""
        if not self.primaries:
            return
        mine = {date.fromisoformat(part["day"]) for part in self.lake.partitions(CORE_CHARGE, source=self.source.name)}
        days = mine & set(_around(primary_days)) - done.touched
        con = query.connect(scratch=self.lake.scratch)
        self._primary(con, days)
        for day in sorted(days):
            base = self.lake.relation(CORE_CHARGE, [self._part(day)])
            path = self.lake.encode(con, merge.recount_select(base, str(day), "primary_ids"), CORE_CHARGE)
            if self.lake.commit(CORE_CHARGE, self._part(day), path):
                done.changed.add(day)
                done.touched.add(day)


_BAD = pl.Series(merge.IMPOSSIBLE).to_arrow()
_SHOWN = ["record_id", "input_id", "price_status", "input_tokens", "output_tokens"]


def _late(rows: pa.Table, hours: Mapping[str, datetime]) -> Counter[str]:
    """Rows by input that lie before the hour in their input's name."""
    if not hours:
        return Counter()
    begins = pa.array(list(hours.values()), pa.timestamp("us"))
    began = begins.take(pc.index_in(rows.column("input_id").cast(pa.string()), pa.array(list(hours))))
    late = rows.column("input_id").filter(pc.less(rows.column("used_at"), began))
    return Counter({one["values"]: one["counts"] for one in pc.value_counts(late).to_pylist()})


def _by_day(tables: Iterable[pa.Table]) -> Iterator[tuple[date, Iterator[pa.Table]]]:
    """A sorted stream cut into its days; the rows of one must be taken before the next is asked for."""
    pieces = _pieces(tables)
    ahead = next(pieces, None)

    def rows(day: date) -> Iterator[pa.Table]:
        nonlocal ahead
        while ahead is not None and ahead[0] == day:
            piece, ahead = ahead[1], None
            yield piece
            del piece
            ahead = next(pieces, None)

    while ahead is not None:
        yield ahead[0], rows(ahead[0])


def _pieces(tables: Iterable[pa.Table]) -> Iterator[tuple[date, pa.Table]]:
    for table in tables:
        start = 0
        runs = pc.run_end_encode(table.column("used_at").combine_chunks().cast(pa.date32(), safe=False))
        for end, day in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
            yield day, table.slice(start, end - start)
            start = end
        del table


def _around(days: Iterable[date]) -> list[date]:
    return sorted({day + timedelta(days=step) for day in days for step in (-1, 0, 1)})
