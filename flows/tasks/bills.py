"""Bills, invoices, reference data and usage feeds that come as pages or exports: whole sources, told again and again.

A source whose files are all as they were is not read. A bill's every snapshot is kept: the one that counts in
`core_billing`, the others in `core_billing_history`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import Source
from costops.flows.sources import files
from costops.flows.sources.files import Found
from costops.flows.tasks.pricing import contracts_frame
from costops.flows.tasks.run import Run
from costops.flows.tasks.snapshots import take_snapshots
from costops.transforms import merge, query
from costops.transforms.billing import invoices
from costops.transforms.billing.bill import BillFormat, Input, Options
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.buckets.feed import read_usage
from costops.transforms.buckets.kinds import USAGE_FORMAT
from costops.transforms.charge import keys_sql, price_cells
from costops.transforms.check import conform
from costops.transforms.tables import (
    CORE_BILLING,
    CORE_BUSINESS_METRIC,
    CORE_CHARGE,
    CORE_FINDING,
    CORE_FX_RATE,
    CORE_INVOICE,
    CORE_USAGE,
    Table,
)


@dataclass
class Taken:
    """What became of one source: partitions that changed, months and days touched, records read and set aside."""

    source: str
    read: bool = False
    records: int = 0
    findings: int = 0
    non_billable: int = 0
    late: str = ""
    written: list[tuple[Table, dict[str, str]]] = field(default_factory=list)
    days: set[date] = field(default_factory=set)
    months: set[str] = field(default_factory=set)


def take(run: Run, source: Source, prices: pl.DataFrame, *, pulled: Mapping[str, list[Found] | Exception],
         closed: Mapping[str, str] | None = None) -> Taken:
    """Read a source of bills, invoices, reference data or buckets if any of its files changed.

    `pulled`: what the pulls of this run came to; `closed`: billing period -> snapshot id that a lock rests on.
    """
    taken = Taken(source.name)
    found = pulled[source.name] if source.is_pulled else files.find(str(source.uri), run.settings.home)
    if isinstance(found, Exception):
        raise found
    hints = _Hints(run.lake, source)
    if hints.same(found) and not run.again:
        return taken
    taken.read = True
    inputs = [Input(one.uri, path) for one in found
              if (path := one.store.fetch(one.listed.key, run.lake.scratch / "bills")) is not None]
    options = options_of(source)
    if source.kind in USAGE_FORMAT:
        _usage(run, source, prices, inputs, options, taken)
    else:
        form = BILL_FORMAT[source.kind]
        feeds = {"core_billing": _billing, "core_invoice": _invoices}.get(form.feeds, _reference)
        feeds(run, form, inputs, options, taken, closed or {})
    hints.save(found)
    return taken


def options_of(source: Source) -> Options:
    """A source's constants, as readers of bills and feeds ask for them."""
    return Options(source.name, provider=source.provider, issuer=source.issuer, account=source.account_id,
                   currency=source.currency, columns=source.columns)


class _Hints:
    """The version of each file of a source when it was last read."""

    def __init__(self, lake: Lake, source: Source) -> None:
        self.lake, self.key = lake, f"_state/hints/{source.name}.json"
        body = lake.store.read(self.key)
        self.known: dict[str, str] | None = json.loads(body) if body else None

    def same(self, found: Sequence[Found]) -> bool:
        return self.known == {one.uri: one.listed.version for one in found}

    def save(self, found: Sequence[Found]) -> None:
        told = {one.uri: one.listed.version for one in found}
        self.lake.store.put(self.key, json.dumps(told, sort_keys=True, indent=0).encode())


def _billing(run: Run, form: BillFormat, inputs: Sequence[Input], options: Options, taken: Taken,
             closed: Mapping[str, str]) -> None:
    made = take_snapshots(run.lake, form, inputs, options, closed=closed, again=run.again)
    taken.written += made.partitions
    taken.months |= {part["billing_period"] for table, part in taken.written if table is CORE_BILLING}
    taken.late = ", ".join(made.findings.filter(pl.col("reason") == "closed_period_changed")["field"].drop_nulls())
    _tally(taken, made.tallies)
    _findings(run.lake, options.source, made.findings, taken)


def _invoices(run: Run, form: BillFormat, inputs: Sequence[Input], options: Options, taken: Taken,
              _closed: Mapping[str, str]) -> None:
    deliveries, told = form.plan(inputs, options)
    batches = [batch for delivery in deliveries for batch in form.read(delivery, options)]
    rows, lake = invoices.newest(batches), run.lake
    scope = lake.partitions(CORE_INVOICE)
    others = lake.read(CORE_INVOICE, scope).filter(pl.col("source") != options.source)
    _written(taken, CORE_INVOICE, lake.replace(CORE_INVOICE, pl.concat([others, rows]), scope))
    taken.months |= set(rows["billing_period"]) if taken.written else set()
    _tally(taken, [batch.tally for batch in batches])
    _findings(lake, options.source, pl.concat([told, *(batch.findings for batch in batches)]), taken)


def _reference(run: Run, form: BillFormat, inputs: Sequence[Input], options: Options, taken: Taken,
               _closed: Mapping[str, str]) -> None:
    deliveries, told = form.plan(inputs, options)
    batches = [batch for delivery in deliveries for batch in form.read(delivery, options)]
    rows, lake = pl.concat([batch.rows for batch in batches]) if batches else pl.DataFrame(), run.lake
    if not rows.is_empty() and form.kind == "fx_rates":
        unique = rows.unique(["rate_date", "base", "quote", "source", "kind"], keep="last", maintain_order=True)
        _written(taken, CORE_FX_RATE, lake.write(CORE_FX_RATE, conform(unique, CORE_FX_RATE)))
    elif not rows.is_empty():
        named = rows.with_columns(source=pl.lit(options.source)).unique(
            ["source", "day", "keys", "metric"], keep="last", maintain_order=True)
        _written(taken, CORE_BUSINESS_METRIC, lake.write(CORE_BUSINESS_METRIC, conform(named, CORE_BUSINESS_METRIC)))
    _tally(taken, [batch.tally for batch in batches])
    _findings(lake, options.source, pl.concat([told, *(batch.findings for batch in batches)]), taken)


def _usage(run: Run, source: Source, prices: pl.DataFrame, inputs: Sequence[Input], options: Options,
           taken: Taken) -> None:
    """Buckets, and requests told by a tracer, priced like any usage; a bucket counts where no request log covers it."""
    made = read_usage(USAGE_FORMAT[source.kind], inputs, options)
    lake, scope = run.lake, {"source": source.name}
    con = query.connect(scratch=lake.scratch)
    con.register("usage_frame", conform(made.rows, CORE_USAGE).to_arrow())
    con.execute("CREATE TEMP TABLE usage AS SELECT * FROM usage_frame")
    cells = price_cells(query.frame(con, keys_sql("usage")), prices, contracts=contracts_frame(run.settings.contracts))
    con.register("cells_frame", cells.to_arrow())
    con.execute("CREATE TEMP TABLE cells AS SELECT * FROM cells_frame")
    con.execute(merge.priced_statement())
    days = set(made.rows["day"])
    old = {date.fromisoformat(part["day"]) for part in lake.partitions(CORE_CHARGE, source=source.name)}
    logs = [one for one in run.settings.sources if one.feeds_requests and one.name != source.name]
    primary = [one.name for one in run.settings.sources if source.name in one.primary_over]
    for day in sorted(days):
        part = {**scope, "day": str(day)}
        _covering(con, lake, [one.name for one in logs], primary, day)
        path = lake.encode(con, merge.keep_select(f"({_COUNTED.format(day=day)})"), CORE_CHARGE)
        if lake.commit(CORE_CHARGE, part, path):
            taken.written.append((CORE_CHARGE, part))
            taken.days.add(day)
    first = lake.kept_from(f"raw/{source.name}") or date.min      # pages of days before were dropped by age
    for day in sorted(day for day in old - days if day >= first) if run.again else []:
        if lake.remove(CORE_CHARGE, {**scope, "day": str(day)}):
            taken.days.add(day)
    con.close()
    _tally(taken, made.tallies)
    _findings(lake, source.name, made.findings, taken)


_COUNTED = """SELECT p.*, CASE WHEN granularity = 'request'
        THEN NOT EXISTS (SELECT 1 FROM primary_ids AS i WHERE i.match_id = coalesce(p.response_id, p.record_id))
        ELSE p.provider NOT IN (SELECT provider FROM covered) END AS counted
    FROM priced AS p WHERE day = DATE '{day}'"""


def _covering(con: query.Connection, lake: Lake, logs: Iterable[str], primary: Iterable[str], day: date) -> None:
    """The providers that request logs tell of on a day, and the ids that primary sources hold around it."""
    rows = lake.relation(CORE_CHARGE, [{"source": name, "day": str(day)} for name in logs])
    con.execute(f"CREATE OR REPLACE TEMP TABLE covered AS SELECT DISTINCT provider FROM {rows} "
                "WHERE granularity = 'request'")
    around = lake.relation(CORE_CHARGE, [{"source": name, "day": str(day + timedelta(days=step))}
                                         for name in primary for step in (-1, 0, 1)])
    con.execute("CREATE OR REPLACE TEMP TABLE primary_ids AS "
                f"SELECT DISTINCT coalesce(response_id, record_id) AS match_id FROM {around}")


def _written(taken: Taken, table: Table, parts: Iterable[dict[str, str]]) -> None:
    taken.written += [(table, part) for part in parts]


def _tally(taken: Taken, tallies: Iterable[object]) -> None:
    for tally in tallies:
        taken.records += getattr(tally, "read", 0)
        taken.findings += getattr(tally, "findings", 0)
        taken.non_billable += getattr(tally, "non_billable", 0)


def _findings(lake: Lake, source: str, made: pl.DataFrame, taken: Taken) -> None:
    """Replace the findings of a source that was read whole."""
    scope = [part for part in lake.partitions(CORE_FINDING) if part["source"] == source]
    if scope or not made.is_empty():
        unique = conform(made, CORE_FINDING).unique("finding_id", keep="first", maintain_order=True)
        filled = unique.with_columns(pl.col("day").fill_null(date(1970, 1, 1)), pl.lit(source).alias("source"))
        _written(taken, CORE_FINDING, lake.replace(CORE_FINDING, filled, scope))
