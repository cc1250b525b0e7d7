"""The order of a partition's rows, found without moving them; and stretches of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from costops.transforms.arrays import arrow, numbers, values

T = TypeVar("T", int, NDArray[np.int64])

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR


@dataclass(frozen=True)
class Stretches:
    """Stretches of the order: where each but the first begins, as `_hour` numbers it, and how many rows each has."""

    ranks: int
    starts: NDArray[np.int64]
    sizes: list[int]

    def split(self, rows: pa.Table) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The stretches that some rows lie in, with the places of their rows."""
        day, time = np.divmod(_time(rows), _DAY)
        rank = numbers(rows.column("_rank").cast(pa.int64()))
        number = np.searchsorted(self.starts, _hour(day, rank, time // _HOUR, self.ranks), side="right")
        place = np.argsort(number, kind="stable")
        found, begins = np.unique(number[place], return_index=True)
        yield from zip(found.tolist(), np.split(place, begins[1:]), strict=True)


def stretches(places: Sequence[tuple[int, int, int, int]], most: int) -> Stretches:
    """The order cut into stretches of at most so many rows, or of one hour of a rank.

    `places` are day since 1970, rank, hour and how many rows lie there, in order.
    """
    ranks = 1 + max(rank for _, rank, _, _ in places)
    starts, sizes = [], [0]
    for day, rank, hour, count in places:
        if sizes[-1] and sizes[-1] + count > most:
            starts.append(_hour(day, rank, hour, ranks))
            sizes.append(0)
        sizes[-1] += count
    return Stretches(ranks, np.array(starts, np.int64), sizes)


def _hour(day: T, rank: T, hour: T, ranks: int) -> T:
    """The hours of ranks, numbered in their order."""
    return (day * ranks + rank) * 24 + hour


def _time(rows: pa.Table) -> NDArray[np.int64]:
    """Microseconds since 1970."""
    return numbers(rows.column("used_at").cast(pa.int64()))


def in_order(rows: pa.Table) -> NDArray[np.int64]:
    """The places of rows by day, `_rank`, `used_at`, `record_id`.

    Day, rank and time make one whole number where they fit, and only rows that share it are compared by their ids.
    """
    at = _time(rows)
    rank = numbers(rows.column("_rank"))
    if not len(at):
        return np.empty(0, np.int64)
    day, time = np.divmod(at, _DAY)
    day -= day.min()
    ranks = int(rank.max()) + 1
    if (int(day.max()) + 1) * ranks < np.iinfo(np.int64).max // _DAY:
        key = (day * ranks + rank) * _DAY + time
    else:
        key = np.empty(len(at), np.int64)
        place = np.lexsort((time, rank, day))
        new = np.zeros(len(at), np.bool_)
        for part in (day, rank, time):
            new[1:] |= part[place[1:]] != part[place[:-1]]
        key[place] = np.cumsum(new)
    place = np.argsort(key)
    return _with_ids(place, key[place], rows.column("record_id"))


def _with_ids(place: NDArray[np.int64], key: NDArray[np.int64], ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """The same places with rows of one key in the order of their ids."""
    same = key[1:] == key[:-1]
    if not same.any():
        return place
    tied = np.zeros(len(place), np.bool_)
    tied[1:] = same
    tied[:-1] |= same
    rows = place[tied]
    order = pc.sort_indices(pa.table({"key": arrow(key[tied]), "id": ids.take(arrow(rows))}),
                            sort_keys=[("key", "ascending"), ("id", "ascending")])
    place[tied] = rows[values(order)]
    return place
