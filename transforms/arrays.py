"""Whole numbers between Arrow and NumPy, without a copy and without pandas.

pyarrow's own conversions (`to_numpy`, `pa.array`, `pa.scalar`) load pandas, which takes longer than a night's small days.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """The whole numbers of a column; anything where it has no value."""
    if not len(column):
        return np.empty(0, str(column.type))
    return values(column.combine_chunks())


def values(array: pa.Array) -> NDArray[Any]:
    """The same of an array."""
    kind = np.dtype(str(array.type))
    if array.buffers()[1] is None:
        return np.zeros(len(array), kind)
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


def flags(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """The truth values of a column, which has one in every row."""
    return numbers(pc.cast(column, pa.uint8())).astype(np.bool_)


def arrow(numbers: NDArray[Any]) -> pa.Array:
    """The same numbers as a column's values."""
    made = np.ascontiguousarray(numbers)
    return pa.Array.from_buffers(_ARROW[made.dtype.name], len(made), [None, pa.py_buffer(made)])


_ARROW = {"int64": pa.int64(), "uint64": pa.uint64()}
