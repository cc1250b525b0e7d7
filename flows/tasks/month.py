"""A month: reconciled whenever usage or bills of it changed, locked when a person signs it, never rewritten after."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from typing import Any

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import Settings
from costops.flows.tasks.completeness import completeness_gate
from costops.flows.tasks.deals import deals_of, drawn_before, months_after
from costops.flows.tasks.pricing import lake_book
from costops.flows.tasks.run import Gate, Run
from costops.flows.tasks.step import step
from costops.reconcile.close import (
    LOCKED,
    Basis,
    closed_periods,
    corrections,
    lock_document,
    reopened,
    stale,
    status_of,
    verified,
)
from costops.reconcile.currency import in_group_currency, reporting
from costops.reconcile.month import Options, Reconciled, reconcile_month
from costops.transforms import query
from costops.transforms.check import conform
from costops.transforms.errors import Refused, Usage
from costops.transforms.finding import findings
from costops.transforms.reports.reconciliation import (
    reconciliation_json,
    reconciliation_report,
    reconciliation_workbook,
)
from costops.transforms.reports.reconciliation_data import ReconciliationData
from costops.transforms.tables import (
    CORE_BILL_SNAPSHOT,
    CORE_BILLING,
    CORE_CHARGE,
    CORE_FINDING,
    CORE_FX_RATE,
    CORE_INVOICE,
    OUT_CONTRACT,
    OUT_RECONCILIATION,
    OUT_RECONCILIATION_CORRECTION,
    OUT_RECONCILIATION_LINE,
)
from costops.transforms.window import month_of, month_window

SOURCE = "reconcile"
"""The name under which findings of a month are kept."""


@step()
def reconcile(run: Run) -> None:
    """Every month whose usage or bills changed in this run, and those asked for."""
    billed = {part["billing_period"] for part in run.lake.partitions(CORE_BILLING)}
    asked = set(run.notes.get("months", ()))
    completeness_gate(run)
    touched = (run.touched_months & billed) | asked
    for month in sorted(touched | months_after(run.settings.contracts, run.touched_months & billed, billed)):
        _month(run, month)


@step()
def close(run: Run) -> None:
    """Lock the month that was asked for, on the snapshots and prices that it rests on now."""
    month, by = run.notes["close"]["month"], run.notes["close"]["by"] or getpass.getuser()
    lock = read_lock(run.lake, month)
    if lock is not None and lock["status"] == LOCKED:
        return
    result: Reconciled = run.notes["reconciled"][month]
    if result.summary.filter("on_bill").is_empty():
        raise Refused(f"{month} has no bill yet: add its bills as sources, then close it.")
    made = lock_document(
        month, result.causes, Basis(_snapshots(run.lake, month), _book_hash(run), _totals(result)), signed_by=by,
        at=run.now, history=lock["history"] if lock else ())
    run.lake.store.put(_lock_key(month), _json(made))
    _seal(run, month)
    run.wrote = True


def _seal(run: Run, month: str) -> None:
    """Mark the rows that a lock rests on as locked; also those of a run that died right after it put the lock."""
    held = run.lake.read(OUT_RECONCILIATION, [{"month": month}])
    for part in run.lake.write(OUT_RECONCILIATION, held.with_columns(status=pl.lit(LOCKED))):
        run.partition("close", OUT_RECONCILIATION, part)


def reopen(run: Run, month: str, *, by: str, reason: str) -> None:
    """Open a locked month again; who, when and why is kept in the lock's history. Its bills are to be read anew:
    what came after the lock was not taken."""
    lock = read_lock(run.lake, month)
    if lock is not None and lock["status"] != LOCKED and lock["history"]:
        return                                  # opened before: a run that died here is done again
    if lock is None or lock["status"] != LOCKED:
        raise Usage(f"{month} is not locked.")
    run.lake.store.put(_lock_key(month), _json(reopened(lock, by=by or getpass.getuser(), reason=reason, at=run.now)))
    for source in lock["snapshots"]:
        run.lake.store.delete(f"_state/hints/{source}.json")
    run.wrote = True


def read_lock(lake: Lake, month: str) -> dict[str, Any] | None:
    """The lock of a month, its hash checked."""
    body = lake.store.read(_lock_key(month))
    if body is None:
        return None
    try:
        return dict(verified(json.loads(body)))
    except ValueError as error:
        raise Refused(f"{lake.store.uri}/{_lock_key(month)}: damaged ({error}); restore it from a backup.") from None


def closed_snapshots(lake: Lake) -> dict[str, dict[str, str]]:
    """Bill source -> billing period -> the snapshot that a lock rests on."""
    found: dict[str, dict[str, str]] = {}
    for item in lake.store.list("locks/"):
        month = item.key.removeprefix("locks/").removesuffix(".json")
        for source, periods in closed_periods(read_lock(lake, month)).items():
            found.setdefault(source, {}).update(periods)
    return found


def _month(run: Run, month: str) -> None:
    lake, lock = run.lake, read_lock(run.lake, month)
    snapshots = _snapshots(lake, month)
    status = status_of(month, _bills(lake, month), run.now.date(), lock=lock)
    result = _reconciled(lake, run.settings, month, status)
    run.notes.setdefault("reconciled", {})[month] = result
    if lock is not None and lock["status"] == LOCKED:
        _seal(run, month)
        _late(run, month, lock, snapshots, result)
    else:
        for table, rows in ((OUT_RECONCILIATION, result.causes), (OUT_RECONCILIATION_LINE, result.lines),
                            (OUT_CONTRACT, result.contracts.with_columns(month=pl.lit(month)))):
            for part in lake.replace(table, conform(rows, table), [{"month": month}]):
                run.partition("reconcile", table, part)
    _findings(run, month, result.findings)
    over = max(result.gate.unexplained_usd - result.gate.allowed_usd, Decimal(0))
    run.gates.append(Gate(f"reconciliation {month}", Decimal(0) if result.gate.passed else max(over, Decimal(1)),
                          Decimal(0), result.gate.reason))
    _publish(run, month, result, lock)


def _reconciled(lake: Lake, settings: Settings, month: str, status: str) -> Reconciled:
    span = month_window(month)
    around = [month_of(span.start - timedelta(days=1)), month, month_of(span.end)]
    billing = lake.read(CORE_BILLING, [part for part in lake.partitions(CORE_BILLING)
                                       if part["billing_period"] in around])
    first, last = str(span.start - timedelta(days=1)), str(span.end)
    charges = [part for part in lake.partitions(CORE_CHARGE) if first <= part["day"] <= last]
    con = query.connect(scratch=lake.scratch, memory="1GB")
    con.execute(f"CREATE VIEW charges AS SELECT * FROM {lake.relation(CORE_CHARGE, charges)} "
                "WHERE counted OR granularity <> 'request'")
    invoices = lake.read(CORE_INVOICE, [part for part in lake.partitions(CORE_INVOICE)
                                        if part["billing_period"] == month])
    rates = lake.read(CORE_FX_RATE)
    pairs = {one.name: one.covers for one in settings.sources if one.covers}
    try:
        return reconcile_month(month, "charges", billing, invoices, connection=con, options=Options(
            pairs=pairs, contracts=deals_of(settings.contracts), drawn_before=drawn_before(lake, month),
            rates=None if rates.is_empty() else rates,
            price_book=lake_book(lake, settings), unexplained_share=settings.gates.unexplained_share, status=status))
    finally:
        con.close()


def _late(run: Run, month: str, lock: Mapping[str, Any], snapshots: Mapping[str, str], result: Reconciled) -> None:
    """What a locked month would be today, as dated corrections beside it; and an alarm."""
    held = run.lake.read(OUT_RECONCILIATION, [{"month": month}])
    told = run.lake.read(OUT_RECONCILIATION_CORRECTION, [{"month": month}])
    delta = corrections(lock, held, result.causes, run.now.date(), told)
    changed = stale(lock, snapshots)
    if not delta.changed and not changed and told.is_empty():
        return
    rows = conform(delta.rows.with_columns(month=pl.lit(month)) if "month" not in delta.rows.columns else delta.rows,
                   OUT_RECONCILIATION_CORRECTION)
    for part in run.lake.replace(OUT_RECONCILIATION_CORRECTION, rows, [{"month": month}]):
        run.partition("reconcile", OUT_RECONCILIATION_CORRECTION, part)
    amount = rows["cause_usd"].sum() if rows.height else Decimal(0)
    if not changed and not amount and rows.group_by("cause").agg(pl.col("cause_usd").sum()).filter(
            pl.col("cause_usd") != 0).is_empty():
        return                                  # what came was taken back: the rows of both days stand
    what = f"usage, prices or bills ({', '.join(changed) or 'usage'}) changed after {month} was locked: {amount:f} USD"
    run.refusals.append(f"{what}; `cost-ops close --month {month} --reopen` opens it again.")
    run.notes.setdefault("late", []).append({
        "reason": "closed_month_changed", "source": SOURCE, "day": month_window(month).start, "dataset":
        "out_reconciliation", "field": month, "actual": what, "amount_usd": amount, "severity": "error"})


def _findings(run: Run, month: str, made: pl.DataFrame) -> None:
    late = findings(run.notes.pop("late", []))
    start = month_window(month).start
    rows = pl.concat([made, late]).with_columns(source=pl.lit(SOURCE), day=pl.lit(start, pl.Date())).unique(
        "finding_id", keep="first", maintain_order=True)
    scope = [{"day": str(start), "source": SOURCE}]
    for part in run.lake.replace(CORE_FINDING, conform(rows, CORE_FINDING), scope):
        run.partition("reconcile", CORE_FINDING, part)


def _publish(run: Run, month: str, result: Reconciled, lock: Mapping[str, Any] | None) -> None:
    """The month's report, workbook and JSON, put out by the publish stage or by the month's own flow."""
    locked = lock if lock is not None and lock["status"] == LOCKED else None
    run.notes.setdefault("documents", {})[month] = documents(run, month, result, locked)


def documents(run: Run, month: str, result: Reconciled, lock: Mapping[str, Any] | None) -> dict[str, bytes]:
    """`report.html`, `report.xlsx` and `report.json` of a month; of a locked one its locked figures, and what changed."""
    causes, lines, late = result.causes, result.lines, None
    if lock:
        part = [{"month": month}]
        causes, lines = run.lake.read(OUT_RECONCILIATION, part), run.lake.read(OUT_RECONCILIATION_LINE, part)
        late = run.lake.read(OUT_RECONCILIATION_CORRECTION, part)
    group, notes = _in_group_currency(run, month, lines)
    data = ReconciliationData(
        month=month, generated_at=run.now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None),
        group=group, notes=notes, causes=causes,
        status=LOCKED if lock else str(causes["status"][0]) if causes.height else "provisional",
        coverage=result.coverage,
        lines=lines, learnings=result.learnings, contracts=result.contracts, corrections=late,
        invoices=result.invoices, evidence=result.evidence if late is None or late.is_empty() else None,
        gates=(("unexplained", result.gate.passed, result.gate.reason),),
        lock_hash=str(lock["sha256"]) if lock else "", prepared_by=str(lock["signed_by"]) if lock else "",
        locked_at=datetime.fromisoformat(lock["signed_at"]).replace(tzinfo=None) if lock else None,
        snapshots=tuple(f"{source} {snapshot}" for source, snapshot in sorted(_snapshots(run.lake, month).items())),
        program_version=version("llm-costops"),
    )
    return {"report.html": reconciliation_report(data).encode(), "report.json": reconciliation_json(data),
            "report.xlsx": reconciliation_workbook(data)}


def _in_group_currency(run: Run, month: str, lines: pl.DataFrame) -> tuple[pl.DataFrame | None, tuple[str, ...]]:
    """The month's sums in the group's currency, at the rate of its last day, unless that is the dollar; and what a
    reader of the report has to know about it."""
    currency = run.settings.workspace.reporting_currency
    if currency == "USD":
        return None, ()
    group = reporting(run.lake.read(CORE_FX_RATE), currency, month_window(month).end - timedelta(days=1))
    if group is None:
        return None, (f"Amounts are in US dollars only: no source of kind fx_rates has a rate of USD to {currency}, the "
                      "reporting currency. Add one and reconcile again.",)
    return in_group_currency(lines, group), ()


def _snapshots(lake: Lake, month: str) -> dict[str, str]:
    """Bill source -> the snapshot that counts for the month."""
    rows = lake.read(CORE_BILL_SNAPSHOT).filter(pl.col("billing_period") == month, pl.col("status") == "current")
    return dict(rows.select("source", "snapshot_id").unique().sort("source").iter_rows())


def _bills(lake: Lake, month: str) -> pl.DataFrame:
    """Each bill source's newest telling of a month."""
    rows = lake.read(CORE_BILL_SNAPSHOT)
    newest = rows.filter(pl.col("billing_period") == month, pl.col("status") == "current").group_by("source").agg(
        pl.col("as_of").max())
    return rows.select("source").unique().join(newest, on="source", how="left").with_columns(
        missing=~pl.col("source").is_in(newest["source"].to_list())).sort("source")


def _totals(result: Reconciled) -> dict[str, Any]:
    summary = result.summary
    return {name: summary[name].sum() for name in ("computed_usd", "billed_usd", "gap_usd")}


def _book_hash(run: Run) -> str:
    rows = lake_book(run.lake, run.settings).select("price_id", "unit", "price_usd", "recorded_at").sort(
        "price_id", "unit", "recorded_at")
    return hashlib.sha256(rows.write_csv().encode()).hexdigest()[:16]


def _lock_key(month: str) -> str:
    return f"locks/{month}.json"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True, default=str).encode()
