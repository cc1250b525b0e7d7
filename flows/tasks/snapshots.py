"""Snapshots of bills into the lake: the one that counts in `core_billing`, every other in `core_billing_history`.

Kinds that tell whole periods are staged: their rows lie in scratch and are sorted there, so that an export of
gigabytes takes the memory of a small one. Kinds that tell days are small and are composed in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.tasks.sorting import encode_sorted
from costops.transforms import query
from costops.transforms.billing.bill import BillFormat, Input, Options, Tally
from costops.transforms.billing.snapshot import Bills, choose, described, finish_id, read_bill
from costops.transforms.billing.stage import Staged, stage_bill
from costops.transforms.tables import (
    CORE_BILL_SNAPSHOT,
    CORE_BILLING,
    CORE_BILLING_HISTORY,
    CORE_FINDING,
    Table,
)

_STATS = ("billing_currency", "row_count", "billed_cost", "effective_cost", "unmapped_rows", "unmapped_cost",
          "first_day", "last_day")
_TAKE_IT = "if it is right, `cost-ops backfill` takes it: the file in place counts then"


@dataclass
class Written:
    """Partitions that changed, what was wrong, what became of the records."""

    partitions: list[tuple[Table, dict[str, str]]] = field(default_factory=list)
    findings: pl.DataFrame = field(default_factory=pl.DataFrame)
    tallies: Sequence[Tally] = ()


def take_snapshots(lake: Lake, form: BillFormat, inputs: Sequence[Input], options: Options, *,
                   closed: Mapping[str, str], again: bool = False) -> Written:
    """Everything that a source's files tell of its bills, decided and written; history first, so that a crash loses
    no row. `again` takes a file that was overwritten by a smaller bill.
    """
    if form.covers == "day":
        return _composed(lake, options.source, read_bill(form, inputs, options, closed=closed))
    folder = lake.scratch / "staged"
    try:
        staged = stage_bill(form, inputs, options, folder, closed=closed)
        before = lake.read(CORE_BILL_SNAPSHOT, [{"source": options.source}])
        kept = {} if again else {item.uri for item in inputs}
        decided, alarms = _against_former(staged.decided, before, options, closed, kept)
        written = Written(findings=pl.concat([staged.findings, alarms]).unique("finding_id", maintain_order=True),
                          tallies=staged.tallies)
        _commit(lake, options.source, decided, before, written)
        return written
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- periods: rows in files ---------------------------------------------------------------------------------------

def _against_former(decided: Sequence[Staged], before: pl.DataFrame, options: Options, closed: Mapping[str, str],
                    kept: Collection[str]) -> tuple[list[Staged], pl.DataFrame]:
    """The tellings judged against the one in force whose file was overwritten in place, or that a lock rests on.

    A file that is gone is its owner's decision: what takes its place is not compared with it. One that is there and
    tells nothing any more is an empty telling.
    """
    told = {one.snapshot_id for one in decided}
    former = [one for one in _in_force(before) if one.snapshot_id not in told and (
        closed.get(one.period) == one.snapshot_id or (one.uris and set(one.uris) <= set(kept)))]
    result = [one for one in decided if one.period not in {f.period for f in former}]
    alarms = [pl.DataFrame(schema=CORE_FINDING.schema)]
    for one in former:
        rivals = [replace(rival, status="superseded", reason=None) for rival in decided if rival.period == one.period]
        if not rivals and not any(set(one.uris) & set(other.uris) for other in decided):
            rivals = [replace(one, snapshot_id=finish_id(0, 0), stats=one.stats.clear(), status="superseded")]
        if not rivals:
            continue
        chosen, found = choose([one, *rivals], options, closed.get(one.period))
        result += chosen
        refused = pl.col("reason") == "snapshot_refused"
        alarms.append(found.with_columns(mend=pl.when(refused).then(pl.lit(_TAKE_IT)).otherwise("mend")))
    return _once(result), pl.concat(alarms)


def _in_force(before: pl.DataFrame) -> list[Staged]:
    """The snapshots that count in the lake; their rows lie there."""
    rows = before.filter(pl.col("status") == "current")
    parts = [(part, part.row(0, named=True)) for part in
             rows.partition_by("billing_period", "snapshot_id", maintain_order=True)]
    return [Staged(first["billing_period"], first["as_of"], complete=True, uris=tuple(first["uris"] or ()),
                   snapshot_id=first["snapshot_id"], stats=part.select(_STATS)) for part, first in parts]


def _once(decided: Sequence[Staged]) -> list[Staged]:
    """A bill that was told, told otherwise and told again as it was is one snapshot: the one that counts stands."""
    found: dict[tuple[str, str], Staged] = {}
    for one in decided:
        key = (one.period, one.snapshot_id)
        if key not in found or found[key].status != "current":
            found[key] = one
    return list(found.values())


def _commit(lake: Lake, source: str, decided: Sequence[Staged], before: pl.DataFrame, written: Written) -> None:
    current = {one.period: one for one in decided if one.status == "current"}
    gone = before.filter(~pl.col("snapshot_id").is_in([one.snapshot_id for one in decided]))
    replaced = {one.period: one.snapshot_id for one in _in_force(before)
                if one.period in current and current[one.period].snapshot_id != one.snapshot_id}
    if replaced:
        with query.connect(memory="200MB", threads=1, scratch=lake.scratch) as con:
            for period, snapshot in sorted(replaced.items()):
                _into_history(lake, con, {"source": source, "billing_period": period}, snapshot, written)
    for table, chosen in ((CORE_BILLING_HISTORY, [one for one in decided if one.status != "current"]),
                          (CORE_BILLING, list(current.values()))):
        for one in sorted(chosen, key=lambda s: (s.period, s.snapshot_id)):
            if one.parts:
                part = {"source": source, "billing_period": one.period, "snapshot_id": one.snapshot_id}
                path = encode_sorted(lake, table, one.parts, one.height, snapshot_id=one.snapshot_id)
                _note(written, table, part, changed=lake.commit(table, part, path))
    _no_history(lake, source, current.values(), written)
    rows = pl.concat([_superseded(gone, replaced.values()), *(described(one, source) for one in decided)])
    written.partitions += [(CORE_BILL_SNAPSHOT, part) for part in lake.replace(CORE_BILL_SNAPSHOT, rows, [])]


def _into_history(lake: Lake, con: query.Connection, part: dict[str, str], snapshot: str, written: Written) -> None:
    """The rows that count so far, where the lake still holds them as such, as a snapshot of its own."""
    rows = lake.relation(CORE_BILLING, [part])
    if not query.scalar(con, f"SELECT count(*) FROM {rows} WHERE snapshot_id = {_quoted(snapshot)}"):
        return
    names = ", ".join(f'"{f.name}"' for f in CORE_BILLING_HISTORY.file_fields)
    path = lake.encode(con, f"SELECT {names} FROM {rows} WHERE snapshot_id = {_quoted(snapshot)}", CORE_BILLING_HISTORY)
    target = {**part, "snapshot_id": snapshot}
    _note(written, CORE_BILLING_HISTORY, target, changed=lake.commit(CORE_BILLING_HISTORY, target, path))


def _no_history(lake: Lake, source: str, current: Iterable[Staged], written: Written) -> None:
    """A snapshot that counts again is no history any more."""
    for one in current:
        part = {"source": source, "billing_period": one.period, "snapshot_id": one.snapshot_id}
        _note(written, CORE_BILLING_HISTORY, part, changed=lake.remove(CORE_BILLING_HISTORY, part))


def _superseded(gone: pl.DataFrame, replaced: Collection[str]) -> pl.DataFrame:
    """Snapshots that no file tells any more; those that another one has replaced are marked so."""
    moved = pl.col("snapshot_id").is_in(list(replaced)) & (pl.col("status") == "current")
    return gone.with_columns(
        status=pl.when(moved).then(pl.lit("superseded")).otherwise("status"),
        reason=pl.when(moved).then(pl.lit("a newer snapshot counts")).otherwise("reason"))


def _note(written: Written, table: Table, part: dict[str, str], *, changed: bool) -> None:
    if changed:
        written.partitions.append((table, {name: part[name] for name in table.partition}))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# -- days: rows in memory -----------------------------------------------------------------------------------------

def _composed(lake: Lake, source: str, made: Bills) -> Written:
    """Snapshots of months that were put together from days."""
    key = list(CORE_BILL_SNAPSHOT.key)
    told = made.snapshots.sort(pl.col("status") == "current", maintain_order=True).unique(
        key, keep="last", maintain_order=True)
    counting = told.filter(pl.col("status") == "current")
    before = lake.read(CORE_BILL_SNAPSHOT, [{"source": source}])
    gone = before.filter(~pl.col("snapshot_id").is_in(told["snapshot_id"].to_list()))
    replaced = gone.filter(pl.col("status") == "current",
                           pl.col("billing_period").is_in(counting["billing_period"].to_list()))
    pairs = replaced.select("billing_period", "snapshot_id").unique(maintain_order=True)
    former = [lake.read(CORE_BILLING, [{"source": source, "billing_period": period}]).filter(
        pl.col("snapshot_id") == snapshot) for period, snapshot in pairs.iter_rows()]
    history = pl.concat([made.history, *former]).filter(
        ~pl.col("snapshot_id").is_in(counting["snapshot_id"].to_list())).unique(
        list(CORE_BILLING_HISTORY.key), keep="first", maintain_order=True)
    written = Written(findings=made.findings, tallies=made.tallies)
    for table, rows in ((CORE_BILLING_HISTORY, history), (CORE_BILLING, made.billing), (CORE_BILL_SNAPSHOT, pl.concat(
            [_superseded(gone, replaced["snapshot_id"].to_list()), told]))):
        written.partitions += [(table, part) for part in lake.replace(table, rows, [])]
    _no_history(lake, source, _in_force(counting), written)
    return written

