"""The one Parquet encoder: the same rows give the same bytes, however they come in and whatever else is at hand.

Row groups have `row_group(table)` rows, the last one fewer. Ids share their beginnings (DELTA_BYTE_ARRAY), times lie close
together (DELTA_BINARY_PACKED), everything else repeats (dictionary): all of it as old as the format's version 2, so
that any reader opens it. Only the rows of one row group are held in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from costops.transforms.fields import Type
from costops.transforms.tables import Table

ROW_GROUP = 122_880
_WIDE_ROW_GROUP = 12_288
"""Of bills: a row is a thousand bytes and more, ten times one of a charge."""

pa.set_memory_pool(pa.system_memory_pool())     # what a row group took goes back to the system behind it

_ARROW = {
    Type.TEXT: pa.string(), Type.FLAG: pa.bool_(), Type.COUNT: pa.int64(), Type.NUMBER: pa.float64(),
    Type.DAY: pa.date32(), Type.INSTANT: pa.timestamp("us"), Type.USD_ROW: pa.decimal128(18, 12),
    Type.USD_SUM: pa.decimal128(38, 12), Type.USD_BILL: pa.decimal128(38, 18), Type.TEXTS: pa.list_(pa.string()),
    Type.DAYS: pa.list_(pa.date32()), Type.COUNTS: pa.list_(pa.int64()),
}
_ENCODING = {"record_id": "DELTA_BYTE_ARRAY", "response_id": "DELTA_BYTE_ARRAY", "used_at": "DELTA_BINARY_PACKED"}


@lru_cache(maxsize=64)
def schema(table: Table) -> pa.Schema:
    """The columns of a table's files."""
    return pa.schema([pa.field(one.name, _ARROW[one.type]) for one in table.file_fields])


def row_group(table: Table) -> int:
    """Rows in a row group of a table's files: what is held in memory at once."""
    return _WIDE_ROW_GROUP if table.name.startswith("core_billing") else ROW_GROUP


def lacks(path: Path, table: Table) -> bool:
    """True where a file of the table was written without some of its columns."""
    return not {one.name for one in table.file_fields} <= set(pq.read_schema(path).names)


def is_cut(path: Path) -> bool:
    """True where a file does not end as a Parquet file does: with the length of a footer that it can hold, and `PAR1`."""
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        handle.seek(max(size - 8, 0))
        end = handle.read()
    return end[4:] != b"PAR1" or int.from_bytes(end[:4], "little") + 12 > size


class Writer:
    """A file in the making. What is added may lack columns: they are NULL."""

    def __init__(self, path: Path, table: Table, change: Callable[[pa.Table], pa.Table] | None = None) -> None:
        self.path, self.schema, self.change, self.group = path, schema(table), change, row_group(table)
        encoded = {name: kind for name, kind in _ENCODING.items() if name in self.schema.names}
        self._out = pq.ParquetWriter(
            path, self.schema, compression="zstd", store_schema=False, store_decimal_as_integer=True,
            write_page_checksum=True,
            use_dictionary=[name for name in self.schema.names if name not in encoded], column_encoding=encoded)
        self._held: list[pa.Table] = []
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        """More rows, in order."""
        if self.change is not None:
            rows = self.change(conform(rows, self.schema))
        while rows.num_rows:
            piece = rows.slice(0, self.group - self._rows)
            rows = rows.slice(piece.num_rows)
            self._held.append(piece)
            self._rows += piece.num_rows
            if self._rows == self.group:
                self._flush()

    def _flush(self) -> None:
        made = self._held[0] if len(self._held) == 1 else pa.concat_tables(self._held, promote_options="default")
        self._held, self._rows = [], 0
        made = made.combine_chunks()    # the pieces are free from here on: a row group is held once
        self._out.write_table(conform(made, self.schema), row_group_size=self.group)

    def close(self) -> Path:
        """The finished file."""
        if self._rows:
            self._flush()
        self._out.close()
        return self.path

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._out.close()
            self.path.unlink(missing_ok=True)


def conform(rows: pa.Table, target: pa.Schema) -> pa.Table:
    """Columns in the target's order and types, those that are not there NULL."""
    if rows.schema.equals(target):
        return rows
    there = set(rows.column_names)
    return pa.Table.from_arrays(
        [rows.column(one.name).cast(one.type) if one.name in there else _nulls(one.type, rows.num_rows)
         for one in target], schema=target)


_ZEROS = pa.py_buffer(bytes(16 * (ROW_GROUP + 1)))


def _nulls(kind: pa.DataType, count: int) -> pa.Array:
    """NULLs that share one buffer: half of a charge's columns hold nothing else."""
    if count > ROW_GROUP or pa.types.is_nested(kind):
        return pa.nulls(count, kind)
    return pa.Array.from_buffers(kind, count, [_ZEROS] * (3 if pa.types.is_string(kind) else 2), null_count=count)
