"""The rows of a batch in the order of their partitions: sorted in memory, or dealt to files that fit and sorted there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from costops.flows.runtime import parquet
from costops.transforms import merge, query
from costops.transforms.arrays import arrow, numbers
from costops.transforms.order import Stretches, in_order, stretches

_MEMORY = "32MB"
"""What the reading of a batch may hold that does not fit; beyond, it spills to scratch."""
_MOST_HASHES = 4_000_000
"""Hashes sorted at once: 32 MB of them."""
_MOST_FILES = 256
"""Files dealt to at once."""


def repeated(con: query.Connection) -> NDArray[np.uint64]:
    """The hashes of record ids that stand more than once in `usage`, and of few others: a sort is cheaper than groups."""
    parts = 1 + query.scalar(con, "SELECT count(*) FROM usage") // _MOST_HASHES
    found = []
    for part in range(parts):
        hashes = np.sort(numbers(con.sql(merge.hashes_select(part, parts)).to_arrow_table().column("h")))
        found.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
    return np.concatenate(found)


def sorted_rows(con: query.Connection, shape: merge.Layout, where: str, scratch: Path) -> Iterator[pa.Table]:
    """The rows of `usage` where a condition holds, in order, in pieces of at most a row group.

    Reads `groups`. At most `merge.MOST_SORTED` rows are in memory: nothing of the batch is asked for behind its rows,
    so the connection is closed as soon as they are out of it, and what it held goes back to the system.
    """
    picked = merge.picked_select(shape, where)
    if shape.rows <= merge.MOST_SORTED:
        rows = con.sql(picked).to_arrow_table(merge.MOST_SORTED)
        _close(con)
        yield from _ordered(rows)
        return
    con.execute(f"SET memory_limit = '{_MEMORY}'")
    places = con.sql(merge.places_select(shape, where)).fetchall()
    cut = stretches(places, max(merge.MOST_SORTED // 4, shape.rows // _MOST_FILES))
    folder = scratch / "stretches"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        files = _deal(con.sql(picked).to_arrow_reader(parquet.ROW_GROUP), cut, folder)
        _close(con)
        for path, count in zip(files, cut.sizes, strict=True):
            yield from _stretch(path, count)
            path.unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _close(con: query.Connection) -> None:
    con.close()
    pa.default_memory_pool().release_unused()


def _ordered(rows: pa.Table) -> Iterator[pa.Table]:
    place = in_order(rows)
    for start in range(0, rows.num_rows, parquet.ROW_GROUP):
        yield rows.take(arrow(place[start:start + parquet.ROW_GROUP]))


def _stretch(path: Path, count: int) -> Iterator[pa.Table]:
    """The rows of a file in order. One hour of a rank may have more of them than fit: DuckDB sorts those and spills."""
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        if count <= merge.MOST_SORTED:
            yield from _ordered(stream.read_all().combine_chunks())
            return
        con = query.connect(threads=1, memory=_MEMORY, scratch=path.parent)
        con.register("stretch", stream)
        for batch in con.sql(merge.sorted_select("stretch")).to_arrow_reader(parquet.ROW_GROUP):
            yield pa.Table.from_batches([batch])
        con.close()


def _deal(batches: Iterable[pa.RecordBatch], cut: Stretches, folder: Path) -> Sequence[Path]:
    """Each row to the file of its stretch."""
    files = [folder / f"{number:03}.arrow" for number in range(len(cut.sizes))]
    with ExitStack() as stack:
        outs: list[pa.RecordBatchStreamWriter] = []
        for batch in batches:
            rows = pa.Table.from_batches([batch])
            outs = outs or [stack.enter_context(pa.ipc.new_stream(path, rows.schema)) for path in files]
            for number, place in cut.split(rows):
                outs[number].write_table(rows.take(arrow(place)))
    return files
