"""What a bill reader is: inputs, deliveries, batches of rows, and the declaration of a kind.

A provider writes a bill again and again. A `Delivery` is what it wrote at one time; a `Batch` is some of its rows;
`costops.transforms.billing.snapshot` decides which delivery counts for a billing period.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

NEVER = datetime(1970, 1, 1)  # noqa: DTZ001  instants of the lake carry no zone: all are UTC
_AS_OF = re.compile(r"(?:^|/)as_of=([0-9T:.\-]+Z?)(?:/|$)")


@dataclass(frozen=True)
class Input:
    """One file or page: its uri relative to the configuration, where its bytes lie, when it was pulled."""

    uri: str
    path: Path
    as_of: datetime | None = None

    @property
    def input_id(self) -> str:
        """First 12 hex digits of SHA-256 over the uri."""
        return sha256(self.uri.encode()).hexdigest()[:12]

    @property
    def seen_at(self) -> datetime | None:
        """The `as_of=` of the uri, else the hint."""
        found = _AS_OF.search(self.uri)
        if not found:
            return self.as_of
        try:
            at = datetime.fromisoformat(found[1])
        except ValueError:
            return self.as_of
        return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


_SHARDS = 64
Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]


class Seen:
    """Row ids of the batches of a delivery that were read so far, eight bytes each, in shards by their first bits: only
    one shard is copied at a time.
    """

    def __init__(self) -> None:
        self._known: list[Hashes] = [np.empty(0, dtype=np.uint64) for _ in range(_SHARDS)]

    def again(self, ids: pl.Series) -> pl.Series:
        """Which of these ids an earlier batch had; from now on they are known. NULL is no id."""
        values = ids.hash(seed=4711).to_numpy()
        told, shards = ids.is_not_null().to_numpy(), values >> np.uint64(58)
        there = np.zeros(len(values), dtype=bool)
        for number in range(_SHARDS):
            chosen = np.flatnonzero(told & (shards == number))
            fresh, known = values[chosen], self._known[number]
            there[chosen] = old = _among(fresh, known)
            self._known[number] = np.union1d(known, fresh[~old])
        return pl.Series(there)


class Times:
    """How often each record was told, by a hash of eight bytes: twelve bytes a record, whatever its length."""

    def __init__(self) -> None:
        self._hashes: Hashes = np.empty(0, dtype=np.uint64)
        self._times = np.empty(0, dtype=np.uint32)

    def of(self, hashes: Hashes) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """How often each of these was told so far."""
        found = np.zeros(len(hashes), dtype=np.uint32)
        there = _among(hashes, self._hashes)
        found[there] = self._times[np.searchsorted(self._hashes, hashes[there])]
        return found

    def add(self, hashes: Hashes) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """These were told now, in this order; how often each was told by then, itself counted."""
        order = np.argsort(hashes, kind="stable")
        first = np.searchsorted(hashes[order], hashes)
        place = np.empty(len(hashes), dtype=np.int64)
        place[order] = np.arange(len(hashes))
        by_then = self.of(hashes) + (place - first + 1).astype(np.uint32)
        distinct, counts = np.unique(hashes, return_counts=True)
        self._put(distinct, self.of(distinct) + counts.astype(np.uint32))
        return by_then

    def at_least(self, other: Times) -> None:
        """Count each record as often as `other` does, where that is more."""
        self._put(other._hashes, np.maximum(self.of(other._hashes), other._times))

    def _put(self, hashes: Hashes, times: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> None:
        """Set the counts of distinct hashes in order."""
        there = _among(hashes, self._hashes)
        self._times[np.searchsorted(self._hashes, hashes[there])] = times[there]
        at = np.searchsorted(self._hashes, hashes[~there])
        self._times = np.insert(self._times, at, times[~there])
        self._hashes = np.insert(self._hashes, at, hashes[~there])


def _among(values: Hashes, known: Hashes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the values stand in a sorted array."""
    if not len(known):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.equal(known[at], values)


@dataclass(frozen=True)
class Options:
    """A source's own constants. `columns` renames a generic bill's columns: our name -> the file's.

    `seen` is set while a delivery is read.
    """

    source: str
    provider: str | None = None
    issuer: str | None = None
    account: str | None = None
    currency: str | None = None
    dataset: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    batch_bytes: int = 1 << 20
    seen: Seen | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Delivery:
    """What was written at one time. `periods` are those it says it holds, `()` where only its rows tell.

    `missing` names files that its manifest lists and that are not there: then it is incomplete.
    """

    as_of: datetime | None
    inputs: tuple[Input, ...]
    periods: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class Tally:
    """What became of the records of one input; `read = kept + duplicates + findings + non_billable`."""

    uri: str
    read: int = 0
    kept: int = 0
    duplicates: int = 0
    findings: int = 0
    non_billable: int = 0
    damaged: bool = False

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.uri, self.read + other.read, self.kept + other.kept,
                     self.duplicates + other.duplicates, self.findings + other.findings,
                     self.non_billable + other.non_billable, self.damaged or other.damaged)


@dataclass(frozen=True)
class Batch:
    """Rows of a table, findings, and what became of the records read; `days` are those covered, empty or not."""

    rows: pl.DataFrame
    findings: pl.DataFrame
    tally: Tally
    days: tuple[date, ...] = ()


Planner = Callable[[Sequence[Input], Options], tuple[list[Delivery], pl.DataFrame]]
Reader = Callable[[Delivery, Options], Iterator[Batch]]


@dataclass(frozen=True)
class BillFormat:
    """One kind of bill.

    `feeds`   dataset of the rows: `core_billing`, `core_invoice`, or a reference table.
    `covers`  `period`: a delivery holds whole billing periods and replaces them; `day`: it holds days, and replaces
              those days only (a pull of the last weeks).
    """

    kind: str
    feeds: str
    covers: str
    plan: Planner
    read: Reader


def by_time(inputs: Sequence[Input]) -> list[Delivery]:
    """One delivery for each time that the inputs were seen at, oldest first; files in uri order."""
    at: dict[datetime | None, list[Input]] = {}
    for item in sorted(inputs, key=lambda i: i.uri):
        at.setdefault(item.seen_at, []).append(item)
    return [Delivery(when, tuple(at[when])) for when in sorted(at, key=lambda w: w or NEVER)]
