"""The lake: one Parquet file per partition, read and written here and nowhere else.

    LAKE/<dataset>/<column>=<value>/.../part-0.parquet    the data, plain for any reader
    LAKE/_state/                                          format version, lock, hints (never needed to read)
    LAKE/raw/                                             pulled answers as received, by content hash
    LAKE/catalog.sql                                      one view per dataset
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from costops.flows.runtime import parquet
from costops.flows.runtime.bucket import Bucket
from costops.flows.runtime.lease import Lease
from costops.flows.runtime.lock import locked
from costops.flows.runtime.objects import Folder, Store
from costops.transforms import query
from costops.transforms.check import check
from costops.transforms.errors import Refused
from costops.transforms.fields import Type
from costops.transforms.tables import TABLE, TABLES, Table

VERSION = 1
"""Version of the lake's format; a lake written by a newer one is refused."""

_PART = "part-0.parquet"
_OWED = "_state/owed.json"
ERASED = "erased"
KEPT_KEY = "_state/kept_from.json"
_ERASED_KEY = "_state/erased.json"
_NULL = "__HIVE_DEFAULT_PARTITION__"

Partition = Mapping[str, str]


class Lake:
    """Datasets in a store. `scratch` is a local folder for files in the making."""

    def __init__(self, store: Store, scratch: Path) -> None:
        self.store = store
        self.scratch = scratch
        self.overlooked: set[str] = set()
        """Keys of partitions that cannot be read and are about to be made again: as if they were not there."""
        self._owed: set[str] = set()
        self._erased: dict[str, Any] | None = None
        scratch.mkdir(parents=True, exist_ok=True)

    def open(self, *, create: bool = True) -> None:
        """Check the format version; write it into a new lake."""
        key = "_state/format.json"
        found = self.store.read(key)
        if found is None:
            if create:
                self.store.put(key, json.dumps({"version": VERSION}).encode())
            return
        try:
            version = int(json.loads(found)["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self.store.uri}/{key}: damaged; restore it as {{\"version\": {VERSION}}} after "
                          "`cost-ops lake verify`.") from error
        if version > VERSION:
            raise Refused(f"{self.store.uri}: written by a newer version (format {version}, this program knows "
                          f"{VERSION}); upgrade llm-costops.")

    @contextmanager
    def writing(self, wait: float | None = None) -> Iterator[None]:
        """Hold the lake for one writer; another one waits for `wait` seconds and is then refused (exit code 4).

        On a local lake the lock dies with its holder, however it dies. In a bucket it is a lease with an end, and
        each partition is replaced by compare-and-swap besides. `COSTOPS_LOCK_WAIT` sets the wait.
        """
        patience = float(os.environ.get("COSTOPS_LOCK_WAIT", "0")) if wait is None else wait
        if isinstance(self.store, Folder):
            with locked(self.store, patience):
                yield
        elif isinstance(self.store, Bucket):
            lease = Lease(self.store)
            lease.acquire(patience)
            self.store.fence()
            self.store.before_put = lease.check
            try:
                yield
            finally:
                self.store.before_put = None
                lease.release()
        else:
            yield

    def forget(self) -> None:
        """Look at the lake anew, after another writer replaced something that was read."""
        self._owed.clear()                      # the other may have settled what was noted
        if isinstance(self.store, Bucket):
            self.store.forget()

    # -- partitions --------------------------------------------------------------------------------------------

    def key(self, table: Table, partition: Partition) -> str:
        """The object key of a partition."""
        folders = "".join(f"{name}={partition[name]}/" for name in table.partition)
        return f"{table.name}/{folders}{_PART}"

    def partitions(self, table: Table, **fixed: str) -> list[dict[str, str]]:
        """The partitions that exist, those with the `fixed` values only, in order."""
        prefix = f"{table.name}/"
        for name in table.partition:
            if name not in fixed:
                break
            prefix += f"{name}={fixed[name]}/"
        found = []
        for item in self.store.list(prefix):
            parts = item.key.split("/")
            if parts[-1] != _PART or item.key in self.overlooked:
                continue
            values = dict(part.split("=", 1) for part in parts[1:-1])
            if all(values.get(name) == value for name, value in fixed.items()):
                found.append(values)
        return found

    def file(self, table: Table, partition: Partition) -> Path | None:
        """A local file of the partition, in folders that name it; None where there is none."""
        key = self.key(table, partition)
        return None if key in self.overlooked else self.store.fetch(key, self.scratch / "read")

    def files(self, table: Table, partitions: Iterable[Partition]) -> list[Path]:
        """Local files of those partitions that exist."""
        return [path for part in partitions if (path := self.file(table, part)) is not None]

    def read(self, table: Table, partitions: Iterable[Partition] | None = None) -> pl.DataFrame:
        """Partitions as a frame with the table's columns and types; empty where there are none."""
        if partitions is None:
            partitions = self.partitions(table)
        frames = []
        for partition in partitions:
            path = self.file(table, partition)
            if path is None:
                continue
            try:
                frame = pl.read_parquet(path, hive_partitioning=False)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise self.damaged(table, partition) from error
            frames.append(frame.with_columns(
                _literal(value, table.type_of(name)).alias(name) for name, value in partition.items()).select(
                    pl.col(name) if name in (*frame.columns, *partition) else pl.lit(None, dtype).alias(name)
                    for name, dtype in table.schema.items()))
        return pl.concat(frames) if frames else pl.DataFrame(schema=table.schema)

    def damaged(self, table: Table, partition: Partition) -> Refused:
        """What to say of a partition that cannot be read."""
        return Refused(f"{self.store.uri}/{self.key(table, partition)}: damaged; run `cost-ops lake verify --mend`, "
                       "which makes days again whose inputs are there and tells what to do with the rest.")

    def commit(self, table: Table, partition: Partition, path: Path) -> bool:
        """Replace a partition by a finished file. False where it held the same bytes already."""
        self._changing(table, partition)
        key = self.key(table, partition)
        changed = self.store.put(key, path)
        self.overlooked.discard(key)
        path.unlink(missing_ok=True)
        return changed

    def write(self, table: Table, frame: pl.DataFrame) -> list[dict[str, str]]:
        """Check a frame and replace every partition that it has rows for; the partitions that changed.

        The rows of a partition are written whole: what it held before is gone.
        """
        frame = check(frame, table).sort(table.sort or table.key, nulls_last=True, maintain_order=True)
        changed = []
        for values, rows in frame.group_by(table.partition, maintain_order=True) if table.partition else [((), frame)]:
            partition = {name: str(value) for name, value in zip(table.partition, values, strict=True)}
            with self.writer(table) as out:
                out.add(rows.select(f.name for f in table.file_fields).to_arrow())
            if self.commit(table, partition, out.path):
                changed.append(partition)
        return changed

    def replace(self, table: Table, frame: pl.DataFrame, scope: Iterable[Partition]) -> list[dict[str, str]]:
        """Write a frame, and remove the partitions of `scope` that it has no rows for."""
        changed = self.write(table, frame)
        kept = {tuple(str(value) for value in values) for values in
                frame.select(table.partition).unique().rows()} if table.partition else set()
        for partition in scope:
            if tuple(partition[name] for name in table.partition) not in kept:
                changed.extend([dict(partition)] if self.remove(table, partition) else [])
        return changed

    def remove(self, table: Table, partition: Partition) -> bool:
        """Delete a partition; False where there was none."""
        key = self.key(table, partition)
        there = self.store.read(key) is not None
        if there:
            self._changing(table, partition)
        self.store.delete(key)
        self.overlooked.discard(key)
        return there

    # -- what is owed ------------------------------------------------------------------------------------------

    def owe(self, days: Iterable[date]) -> None:
        """Note, before charges of these days change, that their sums will have to be made again.

        Without the note a run that dies between the two would leave sums that no later run has a reason to touch.
        """
        if new := {str(day) for day in days} - self._owed:
            self._owed |= new | {str(day) for day in self.owed()}
            self.store.put(_OWED, json.dumps(sorted(self._owed)).encode())

    def owed(self) -> set[date]:
        """Days whose charges may have changed since their sums were made."""
        try:
            return {date.fromisoformat(day) for day in json.loads(self.store.read(_OWED) or b"[]")}
        except (ValueError, TypeError):         # damaged: every day
            return {date.fromisoformat(part["day"]) for part in self.partitions(TABLE["core_charge"])}

    def settled(self, but: Iterable[date] = ()) -> None:
        """The sums of all days stand, those of some that are still owed left out."""
        self._owed = {str(day) for day in but}
        if self._owed:
            self.store.put(_OWED, json.dumps(sorted(self._owed)).encode())
        elif self.store.read(_OWED) is not None:
            self.store.delete(_OWED)

    def _changing(self, table: Table, partition: Partition) -> None:
        if table.name == "core_charge":
            self.owe([date.fromisoformat(partition["day"])])

    def encode(self, connection: query.Connection, select: str, table: Table) -> Path:
        """A finished Parquet file of a query's rows, in scratch. The same rows give the same bytes."""
        with self.writer(table) as out:
            for batch in connection.sql(select).to_arrow_reader(parquet.row_group(table)):
                out.add(pa.Table.from_batches([batch]))
        return out.path

    def writer(self, table: Table) -> parquet.Writer:
        """A file of a table in the making; ids of users that were erased are masked in it."""
        masks = "user_id" in table.columns and bool(self.erased.get("ids"))
        return parquet.Writer(self.draft(table), table, partial(mask, self.erased) if masks else None)

    def draft(self, table: Table) -> Path:
        """A name in scratch for a file in the making."""
        return self.scratch / f"{table.name}-{os.getpid()}-{next(_numbers)}.parquet.part"

    # -- the right to be forgotten -----------------------------------------------------------------------------

    @property
    def erased(self) -> dict[str, Any]:
        """Salt and salted hashes of user ids that must not be written again."""
        if self._erased is None:
            body = self.store.read(_ERASED_KEY)
            self._erased = json.loads(body) if body else {}
        return self._erased

    @erased.setter
    def erased(self, known: dict[str, Any]) -> None:
        self._erased = known

    def remember_erased(self, user_id: str) -> None:
        """From now on write `erased` in place of this id."""
        salt = self.erased.get("salt") or secrets.token_hex(16)
        ids = sorted({*self.erased.get("ids", []), erased_id(salt, user_id)})
        self._erased = {"salt": salt, "ids": ids}
        self.store.put(_ERASED_KEY, json.dumps(self._erased, indent=0).encode())

    # -- what was dropped by age -------------------------------------------------------------------------------

    def kept_from(self, dataset: str) -> date | None:
        """The first day that is kept of a dataset, where earlier ones were dropped by age; else None."""
        return self.kept().get(dataset)

    def kept(self) -> dict[str, date]:
        """That of every dataset."""
        body = self.store.read(KEPT_KEY)
        return {name: date.fromisoformat(day) for name, day in json.loads(body).items()} if body else {}

    # -- queries -----------------------------------------------------------------------------------------------

    def relation(self, table: Table, partitions: Iterable[Partition]) -> str:
        """SQL for the rows of those partitions; an empty relation of the right types where there are none."""
        partitions = list(partitions)
        paths = self.files(table, partitions)
        columns = ", ".join(f"cast(NULL AS {f.type.duckdb}) AS {f.name}" for f in table.fields)
        if not paths:
            return f"(SELECT {columns} WHERE false)"
        names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        types = ", ".join(f"'{name}': {table.type_of(name).duckdb}" for name in table.partition)
        hive = f"hive_partitioning = true, hive_types = {{{types}}}" if types else "hive_partitioning = false"
        told = ", ".join(table.columns)
        if any(self._older(table, partition) for partition in partitions):
            return (f"(SELECT {told} FROM (SELECT {columns} WHERE false UNION ALL BY NAME "
                    f"SELECT * FROM read_parquet([{names}], {hive}, union_by_name = true)))")
        return f"(SELECT {told} FROM read_parquet([{names}], {hive}))"

    def _older(self, table: Table, partition: Partition) -> bool:
        """True where a partition was written before the table had all its columns. Refuses what is no Parquet file."""
        path = self.file(table, partition)
        try:
            return path is not None and parquet.lacks(path, table)
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(table, partition) from error

    def catalog(self) -> None:
        """Write `catalog.sql`: one view per dataset that exists, relative to the lake's folder."""
        lines = ["-- one view per dataset; read it in this folder: duckdb -init catalog.sql"]
        for table in TABLES:
            if any(True for _ in self.store.list(f"{table.name}/")):
                glob = "**/" if table.partition else ""
                lines.append(f"CREATE OR REPLACE VIEW {table.name} AS SELECT * FROM read_parquet("
                             f"'{table.name}/{glob}*.parquet', hive_partitioning = true);")
        if "core_charge" in "".join(lines):
            kept = ", ".join(TABLE["core_usage"].columns)
            lines.append(f"CREATE OR REPLACE VIEW core_usage AS SELECT {kept} FROM core_charge;")
        self.store.put("catalog.sql", ("\n".join(lines) + "\n").encode())


def mask(erased: dict[str, Any], rows: pa.Table) -> pa.Table:
    """The rows with `erased` in place of erased user ids, and without the tags of those rows."""
    users = rows.column("user_id").unique().drop_null().to_pylist()
    gone = [one for one in users if erased_id(erased["salt"], one) in erased["ids"]]
    if not gone:
        return rows
    hit = pc.is_in(rows.column("user_id"), value_set=pa.array(gone, rows.column("user_id").type))
    for name, value in (("user_id", ERASED), ("tags", None)):
        if name in rows.column_names:
            place = rows.schema.get_field_index(name)
            kept = rows.column(name)
            rows = rows.set_column(place, name, pc.if_else(hit, pa.scalar(value, kept.type), kept))
    return rows


def erased_id(salt: str, user_id: str) -> str:
    """What is kept of an erased id."""
    return hashlib.sha256(f"{salt}{user_id}".encode()).hexdigest()


def _literal(value: str, kind: Type) -> pl.Expr:
    """A partition's value, from the folder name, in its column's type."""
    if value == _NULL:
        return pl.lit(None, kind.polars)
    return pl.lit(date.fromisoformat(value) if kind is Type.DAY else value, kind.polars)


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


_numbers = _count()
