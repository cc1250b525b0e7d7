"""The same decision for exports of gigabytes: rows go to files batch by batch, totals decide, memory stays small.

    staged = stage_bill(form, inputs, options, scratch)
    for one in staged.decided:            # each with status, snapshot_id, period and the Parquet parts of its rows
        ...

The parts have the columns of `core_billing`; `snapshot_id` is that of the telling, not of the file. Only kinds that
cover periods are staged: pages of days are small, and `read_bill` composes them in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa

from costops.transforms.billing.bill import BillFormat, Delivery, Input, Options, Tally
from costops.transforms.billing.rows import CORE_BILLING_EMPTY
from costops.transforms.billing.snapshot import (
    MAX_SHRINK,
    Telling,
    add_content,
    choose,
    described,
    finish_id,
    joined_totals,
    totals,
)
from costops.transforms.tables import CORE_BILL_SNAPSHOT


@dataclass(frozen=True)
class Staged(Telling):
    """A telling whose rows lie in files."""

    parts: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What a source's deliveries came to, rows in files: see `Bills` for the same in memory."""

    decided: tuple[Staged, ...]
    snapshots: pl.DataFrame
    findings: pl.DataFrame
    tallies: tuple[Tally, ...]


@dataclass
class _Growing:
    """What is known of one period while its delivery is read."""

    content: int = 0
    rows: int = 0
    stats: pl.DataFrame | None = None
    parts: list[Path] = field(default_factory=list)


def stage_bill(form: BillFormat, inputs: Sequence[Input], options: Options, scratch: Path, *,
               closed: Mapping[str, str] | None = None, max_shrink: Decimal = MAX_SHRINK) -> Stage:
    """Everything a source's inputs tell, decided, with the rows under `scratch` as Parquet."""
    deliveries, told = form.plan(inputs, options)
    found = [told]
    tallies: dict[str, Tally] = {}
    tellings: list[Staged] = []
    for number, delivery in enumerate(deliveries):
        tellings += _staged(form, delivery, options, scratch / f"{number:05d}", found, tallies)
    decided: list[Staged] = []
    for period in sorted({telling.period for telling in tellings}):
        of_period = [telling for telling in tellings if telling.period == period]
        chosen, alarms = choose(of_period, options, (closed or {}).get(period), max_shrink)
        decided += chosen
        found.append(alarms)
    return Stage(
        tuple(decided),
        pl.concat([pl.DataFrame(schema=CORE_BILL_SNAPSHOT.schema), *(described(s, options.source) for s in decided)]),
        pl.concat(found).unique("finding_id", maintain_order=True), tuple(tallies.values()))


def read_tellings(form: BillFormat, delivery: Delivery, options: Options, folder: Path) -> list[Staged]:
    """What one delivery tells of each period, not decided, with the rows under `folder`."""
    return _staged(form, delivery, options, folder, [], {})


def _staged(form: BillFormat, delivery: Delivery, options: Options, folder: Path, found: list[pl.DataFrame],
            tallies: dict[str, Tally]) -> list[Staged]:
    """The tellings of one delivery, one for each period that it has rows of or names."""
    whole = not delivery.missing
    periods: dict[str, _Growing] = {period: _Growing() for period in delivery.periods}
    folder.mkdir(parents=True, exist_ok=True)
    for number, batch in enumerate(form.read(delivery, options)):
        if batch.findings.height:
            found.append(batch.findings)
        at = batch.tally.uri
        tallies[at] = tallies[at] + batch.tally if at in tallies else batch.tally
        whole = whole and not batch.tally.damaged
        for (period,), rows in batch.rows.group_by("billing_period", maintain_order=True):
            grown = periods.setdefault(str(period), _Growing())
            path = folder / f"{period}-{number:06d}.parquet"
            rows.write_parquet(path, compression="zstd", compression_level=1)
            grown.parts.append(path)
            grown.rows += rows.height
            grown.content = add_content(grown.content, rows)
            # one small frame, not one for each batch: thousands of them would pin what large ones leave behind
            grown.stats = joined_totals([*([] if grown.stats is None else [grown.stats]), totals(rows)])
        pa.default_memory_pool().release_unused()       # else what batches took stays with the process until the end
    uris = tuple(item.uri for item in delivery.inputs)
    empty = totals(CORE_BILLING_EMPTY)
    return [Staged(period, delivery.as_of, whole, uris, finish_id(grown.content, grown.rows),
                   empty if grown.stats is None else grown.stats, parts=tuple(grown.parts))
            for period, grown in sorted(periods.items())]
