"""Rows in many files, written in order as one partition: sorted in pieces that fit in memory.

Beyond `PIECE` rows a sample of the sort keys gives the bounds of pieces; each file's rows go to the file of their
piece (by way of files of many pieces where there are many), and the pieces are sorted one after the other. The result
is that of sorting everything at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from costops.flows.runtime import parquet
from costops.flows.runtime.lake import Lake
from costops.transforms.errors import Refused
from costops.transforms.tables import Table

PIECE = 8_000
_SAMPLED = 200
"""Keys sampled for each piece: pieces then differ in size by a few percent."""
_FILES = 24
"""Files dealt to at once: more of them hold batches of a few rows, which cost more than their rows do."""


def encode_sorted(lake: Lake, table: Table, parts: Sequence[Path], rows: int, **constants: str) -> Path:
    """A finished file of a partition from Parquet parts with `rows` rows; `constants` replace columns.

    Refused where a required column has no value, or a row id stands twice.
    """
    row_id, hashes, known = table.key[-1], np.empty(rows, dtype=np.uint64), 0
    required = [name for name in parquet.schema(table).names if name in table.required]
    held: list[pa.Table] = []
    group = parquet.row_group(table)
    with lake.writer(table) as out:
        for piece in _pieces(lake, table, parts, rows, constants):
            for name in required:
                if piece.column(name).null_count:
                    raise Refused(f"{table.name}.{name}: {piece.column(name).null_count} nulls in a required column.")
            keys = pl.DataFrame(piece.select(table.sort))
            hashes[known:known + keys.height] = keys[row_id].hash(seed=4711).to_numpy()
            known += keys.height
            order = keys.with_row_index("_row").sort(table.sort, nulls_last=True, maintain_order=True)["_row"]
            held.append(piece.take(order.to_arrow()))
            del piece
            while sum(one.num_rows for one in held) >= group:
                out.add(_joined(held, group))
        if held:
            out.add(_joined(held, group))
        hashes[:known].sort()
        if (hashes[1:known] == hashes[:max(known - 1, 0)]).any():
            raise Refused(f"{table.name}: rows repeat the key {table.key}.")
    return out.path


def _joined(held: list[pa.Table], most: int) -> pa.Table:
    """The first rows of `held`, which keeps the rest, in one piece: column by column, to hold no second copy."""
    names, schema = held[0].column_names, held[0].schema
    over = max(sum(one.num_rows for one in held) - most, 0)
    last = held[-1]
    tables = [*held[:-1], last.slice(0, last.num_rows - over)]
    rest = pa.concat_tables([last.slice(last.num_rows - over)]) if over else None
    held[:] = [rest] if rest is not None else []
    columns = [[one.column(name) for one in tables] for name in names]
    del tables, last
    made = []
    for at, chunks in enumerate(columns):
        made.append(pa.chunked_array([chunk for one in chunks for chunk in one.chunks], schema.field(at).type)
                    .combine_chunks())
        columns[at] = []
    return pa.Table.from_arrays(made, schema=schema)


def _pieces(lake: Lake, table: Table, parts: Sequence[Path], rows: int, constants: Mapping[str, str]
            ) -> Iterator[pa.Table]:
    """All rows in pieces: each row of a piece sorts before each row of the next."""
    count = -(-rows // PIECE)
    tables = (_read(path, table, constants) for path in parts)
    if count <= 1:
        yield pa.concat_tables(list(tables))
        return
    folder = lake.scratch / "pieces"
    try:
        yield from _split(table, tables, _bounds(table, parts, rows, count), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _split(table: Table, tables: Iterable[pa.Table], bounds: pl.DataFrame, folder: Path) -> Iterator[pa.Table]:
    """The pieces between `bounds`, by way of files of many pieces where there are more than `_FILES`."""
    step = -(-(bounds.height + 1) // _FILES)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:02d}.arrow" for number in range(-(-(bounds.height + 1) // step))]
    _deal(table, tables, bounds[step - 1::step], files)
    for number, path in enumerate(files):
        if not path.exists():
            continue
        inner = bounds[number * step:(number + 1) * step - 1]
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
            if inner.height:
                batches = (pa.Table.from_batches([one]) for one in stream)
                yield from _split(table, batches, inner, path.with_suffix(""))
            else:
                yield stream.read_all()
        path.unlink()
        pa.default_memory_pool().release_unused()


def _read(path: Path, table: Table, constants: Mapping[str, str]) -> pa.Table:
    """The rows of a part: the columns of the table's file, in its types."""
    frame = pl.read_parquet(path, hive_partitioning=False).with_columns(
        pl.lit(value).alias(name) for name, value in constants.items())
    return parquet.conform(frame.select(f.name for f in table.file_fields).to_arrow(), parquet.schema(table))


def _bounds(table: Table, parts: Sequence[Path], rows: int, count: int) -> pl.DataFrame:
    """The sort keys at which pieces begin, but for the first."""
    step = max(rows // (count * _SAMPLED), 1)
    # as Arrow: rows drawn from a frame of Polars hold on to all the text that they were drawn from
    drawn = [pl.read_parquet(path, columns=list(table.sort), hive_partitioning=False).select(table.sort)
             .gather_every(step).to_arrow(compat_level=pl.CompatLevel.oldest()) for path in parts]
    keys = pl.DataFrame(pa.concat_tables(drawn)).sort(table.sort, nulls_last=True)
    at = sorted({keys.height * number // count for number in range(1, count)})
    return keys[at].unique(maintain_order=True)


def _deal(table: Table, tables: Iterable[pa.Table], bounds: pl.DataFrame, files: Sequence[Path]) -> None:
    """The rows to the file of their piece, many at a time: a file of few batches is small."""
    with ExitStack() as stack:
        outs: dict[int, pa.RecordBatchStreamWriter] = {}
        for rows in _gathered(tables):
            pieces = _piece(table, pl.DataFrame(rows.select(table.sort)), bounds)
            dealt, at = rows.take(pieces.arg_sort().to_arrow()), 0
            for number, count in sorted(pieces.value_counts().iter_rows()):
                if number not in outs:
                    outs[number] = stack.enter_context(pa.ipc.new_stream(
                        files[number], rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)))
                outs[number].write_table(dealt.slice(at, count))
                at += count


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in order, joined until they are half of a piece."""
    held: list[pa.Table] = []
    for one in tables:
        held.append(one)
        if sum(each.num_rows for each in held) >= PIECE // 2:
            joined = pa.concat_tables(held).combine_chunks()
            held.clear()
            yield joined
            del joined
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _piece(table: Table, frame: pl.DataFrame, bounds: pl.DataFrame) -> pl.Series:
    """The piece that each row belongs to: how many bounds do not sort after it."""
    keys = pl.concat([
        bounds.with_columns(_row=pl.lit(None, pl.UInt32), _bound=pl.lit(1)),
        frame.select(table.sort).with_row_index("_row").select(*table.sort, "_row", _bound=pl.lit(0)),
    ]).sort(*table.sort, nulls_last=True, maintain_order=True)
    return keys.select("_row", pl.col("_bound").cum_sum().alias("_piece")).drop_nulls("_row").sort("_row")["_piece"]
