"""A sorted stream of usage rows, priced piece by piece into whole charge rows.

Nearly every row is plain (text tokens, whole pico-dollars): a look-up of its cell and products of 64 bits, which become
decimals without arithmetic. The few others of a piece take the full route. Both give the same columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from costops.transforms import merge, query
from costops.transforms.arrays import arrow, flags, numbers
from costops.transforms.prices.cells import PLAIN_UNITS

_USD = pa.decimal128(18, 12)
_LARGEST = 10**18
"""The first whole number of pico-dollars that a row's cost cannot hold."""


@dataclass(frozen=True)
class _Whole:
    """Whole pico-dollars, and where they are known."""

    value: NDArray[np.int64]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> _Whole:
        return cls(numbers(column), flags(pc.is_valid(column)))

    @classmethod
    def nothing(cls, count: int) -> _Whole:
        return cls(np.zeros(count, np.int64), np.zeros(count, np.bool_))

    def but(self, place: NDArray[np.int64], usd: pa.ChunkedArray) -> _Whole:
        """The same with the amounts of some rows put in."""
        value, known = self.value.copy(), self.known.copy()
        told = usd.cast(_USD).combine_chunks()      # sixteen bytes each; the lower eight hold all that a row may cost
        value[place] = np.frombuffer(told.buffers()[1], np.int64, 2 * len(told), 16 * told.offset)[::2]
        known[place] = flags(pc.is_valid(usd))
        return _Whole(value, known)

    def usd(self) -> pa.Array:
        """As amounts: the same number, seen with twelve digits behind the point."""
        wide = np.empty((len(self.value), 2), np.int64)
        wide[:, 0], wide[:, 1] = self.value, self.value >> 63
        known = None if self.known.all() else pa.py_buffer(np.packbits(self.known, bitorder="little"))
        return pa.Array.from_buffers(_USD, len(self.value), [known, pa.py_buffer(wide)])


class Pricer:
    """Prices the rows of one batch, whose layout is `shape`.

    Reads `combos`, `cells` and `inputs` of the batch's connection, and `primary` where a source stands over this one.
    """

    def __init__(self, con: query.Connection, shape: merge.Layout, primary: str | None, scratch: Path) -> None:
        self.shape = shape
        con.execute(merge.groups_statement(shape))
        self.groups = con.sql("SELECT * FROM groups ORDER BY _group").to_arrow_table()
        statement, keys = merge.rates_statement(shape, by_group=self.groups.num_rows <= merge.MOST_GROUPS)
        con.execute(statement)
        self.con = query.connect(threads=1, memory="64MB", scratch=scratch)
        for name in ("groups", "rates", *([primary] if primary else [])):
            put(self.con, name, con.sql(f"SELECT * FROM {name}").to_arrow_table())
        rates = con.sql("SELECT cell, price_status, price_id, price_source FROM rates ORDER BY cell").to_arrow_table()
        self.first_cell, self.rates = int(numbers(rates.column("cell"))[0]), rates.drop_columns("cell")
        self.inputs = con.sql("SELECT input_id FROM inputs ORDER BY file_no").to_arrow_table().column(0)
        self.constants = con.sql(merge.constants_select(shape)).to_arrow_table()
        self.planned: dict[str, query.Relation] = {}
        self.plain, self.full = (make(shape, keys, primary) for make in (merge.plain_select, merge.costs_select))

    def close(self) -> None:
        """Let go of the tables."""
        self.con.close()

    def charges(self, rows: pa.Table) -> pa.Table:
        """Charge rows, all columns: what the stream carries, what its groups say, what the prices make of it."""
        rows = rows.append_column("_row", arrow(np.arange(rows.num_rows)))
        group = rows.column("_group")
        found = {name: rows.column(name) for name in self.shape.own}
        found |= {name: self.groups.column(name).take(group) for name in self.shape.grouped}
        found |= self._costs(rows)
        found["input_id"] = self.inputs.take(rows.column("_file"))
        same = self.constants.take(arrow(np.zeros(rows.num_rows, np.int64)))
        return pa.table(found | {name: same.column(name) for name in same.column_names})

    def _costs(self, rows: pa.Table) -> dict[str, pa.Array]:
        """The costs of rows, in their order. A column without any value is left out."""
        plain = self._asked(self.plain, rows)
        whole = {name: _Whole.of(plain.column(f"_pico{name}")) for name in ("", *(f"_{unit}" for unit in PLAIN_UNITS))}
        full = np.flatnonzero(~whole[""].known | (np.abs(whole[""].value) >= _LARGEST))
        told = self.rates
        cell = np.where(whole[""].known, numbers(plain.column("_cell")) - self.first_cell, 0)
        amounts = {"list_cost_usd": whole[""], "effective_cost_usd": whole[""],
                   **{f"{unit}_cost_usd": whole[f"_{unit}"] for unit in PLAIN_UNITS}}
        if len(full):
            rest = self._asked(self.full, rows.take(arrow(full)))
            amounts = {name: amounts.get(name, _Whole.nothing(len(cell))).but(full, rest.column(name))
                       for name in self.shape.costs if name not in told.column_names}
            told = pa.concat_tables([told, rest.select(told.column_names)], promote_options="permissive")
            cell[full] = np.arange(self.rates.num_rows, told.num_rows)
        places = arrow(cell)
        found = {name: one.usd() for name, one in amounts.items() if one.known.any()}
        found |= {name: told.column(name).take(places) for name in told.column_names}
        return {"input_tokens": plain.column("input_tokens"), "counted": plain.column("counted"), **found}

    def _asked(self, select: str, rows: pa.Table) -> pa.Table:
        """The answer about rows, in their order."""
        self.con.register("chunk", rows)
        if select not in self.planned:
            self.planned[select] = self.con.sql(select)     # a relation reads what "chunk" is when it is asked
        found = self.planned[select].to_arrow_table()
        self.con.unregister("chunk")
        return _in_order(found)


def put(con: query.Connection, name: str, rows: pl.DataFrame | pa.Table) -> None:
    """A temporary table of some rows."""
    con.register("rows_to_put", rows.to_arrow() if isinstance(rows, pl.DataFrame) else rows)
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM rows_to_put")
    con.unregister("rows_to_put")


def _in_order(rows: pa.Table) -> pa.Table:
    place = numbers(rows.column("_row"))
    return rows if (place[:-1] < place[1:]).all() else rows.take(arrow(np.argsort(place)))
