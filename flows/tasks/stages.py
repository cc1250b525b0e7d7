"""The stages of a run in their order, each a step: load by dataset, call pure functions, write by dataset."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import polars as pl

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.bills import take
from costops.flows.tasks.cover import recount_buckets
from costops.flows.tasks.deliveries import delivery_gate
from costops.flows.tasks.derive import derive
from costops.flows.tasks.inputs import Ingested
from costops.flows.tasks.lost import make_again
from costops.flows.tasks.month import close, closed_snapshots, reconcile
from costops.flows.tasks.outlook import budget, detect, forecast
from costops.flows.tasks.pricing import working_book
from costops.flows.tasks.publish import publish
from costops.flows.tasks.pull import pull_all
from costops.flows.tasks.run import Gate, Run
from costops.flows.tasks.spend import aggregate
from costops.flows.tasks.spread import ingesting
from costops.flows.tasks.step import step
from costops.flows.tasks.unpriced import note_unpriced
from costops.transforms.errors import Unreachable
from costops.transforms.tables import CORE_CHARGE, CORE_INPUT, OUT_SPEND_DAILY, OUT_SPEND_HOURLY


def _spreads(run: Run) -> bool:
    return run.settings.run.engine != "local"


@step(plain=_spreads)
def ingest(run: Run) -> None:
    """Request logs of every source, a primary one before those that it stands over."""
    prices = working_book(run)
    for made in make_again(run, prices):
        _noted(run, made)
    sources = [one for one in run.settings.by_primacy()
               if one.feeds_requests and run.selected(one.name) and one.uri is not None]
    with ingesting(run, sources, prices) as ingested:
        for source in sources:
            above = [one.name for one in run.settings.sources if source.name in one.primary_over]
            days = {day for name in above for day in run.touched_by.get(name, set())}
            days |= run.lake.owed() if above else set()     # a run may have died between a primary and this one
            progress = partial(run.progress, source.name) if run.progress else None
            try:
                done = ingested(source, frozenset(days), progress)
            except Unreachable as error:
                run.missed(source.name, error)
                continue
            _noted(run, done)
    _take_bills(run, prices)
    recount_buckets(run)
    run.gates += standing_gates(run, ("ingest",))


def _take_bills(run: Run, prices: pl.DataFrame) -> None:
    """Bills, invoices, reference data and usage feeds."""
    closed = closed_snapshots(run.lake)
    sources = [one for one in run.settings.sources if not one.feeds_requests and run.selected(one.name)]
    pulled = pull_all(run, [one for one in sources if one.is_pulled])
    for source in sources:
        try:
            done = take(run, source, prices, pulled=pulled, closed=closed.get(source.name))
        except Unreachable as error:
            run.missed(source.name, error)
            continue
        run.touched |= done.days
        run.touched_months |= done.months
        if done.late:
            run.refusals.append(f"{source.name}: a bill of a closed month has changed ({done.late}); the closed figures "
                                "stand. `cost-ops close --month ... --reopen` opens the month again.")
        for table, part in done.written:
            run.partition("ingest", table, part)
        if done.read:
            run.note("source", "ingest", source=source.name, lines_read=done.records, findings=done.findings,
                     non_billable=done.non_billable, outcome="written" if done.written else "unchanged")
            LOGGER.info("%s: %d records, %d partitions changed", source.name, done.records, len(done.written))


@step()
def price(run: Run) -> None:
    """The price book, brought up to date."""
    working_book(run)


@step()
def spend(run: Run) -> None:
    """Hourly and daily spend of what changed, and what follows from it."""
    changed, held = aggregate(run.lake, run.touched | run.lake.owed())
    for day in changed:
        run.partition("spend", OUT_SPEND_HOURLY, {"day": str(day)})
        run.touched_months.add(f"{day:%Y-%m}")
        run.spend_changed = True
    for month in sorted(run.touched_months):
        run.partition("spend", OUT_SPEND_DAILY, {"month": month})
    derive(run)
    note_unpriced(run)
    run.lake.settled(held)
    run.gates += standing_gates(run, ("spend",))
    run.lake.catalog()


def _noted(run: Run, done: Ingested) -> None:
    """Into the ledger: the source, its inputs read now, and its partitions."""
    run.touched |= done.changed
    run.touched_by.setdefault(done.source, set()).update(done.changed)
    run.note("source", "ingest", source=done.source, outcome="written" if done.changed else "unchanged",
             lines_read=done.lines_read, findings=done.findings, non_billable=done.non_billable,
             detail=f"{done.inputs_read} inputs read, {done.inputs_known} known")
    for day in sorted(done.changed):
        run.partition("ingest", CORE_CHARGE, {"source": done.source, "day": str(day)})
    if done.inputs_read:
        run.wrote = True
        rows = run.lake.read(CORE_INPUT, [{"source": done.source}]).filter(pl.col("input_id").is_in(done.read_ids))
        for row in rows.iter_rows(named=True):
            run.note("input", "ingest", source=done.source, uri=row["uri"], content_sha256=row["content_sha256"],
                     outcome="written", **{name: row[name] for name in (
                         "lines_read", "rows_kept", "duplicates", "findings", "non_billable")})
    LOGGER.info("%s: %d inputs read, %d known, %d records, days changed: %d", done.source, done.inputs_read,
                done.inputs_known, done.lines_read, len(done.changed))


def standing_gates(run: Run, stages: Sequence[str]) -> list[Gate]:
    """The gates of these stages that look at the whole lake: what they say does not hang on which run did what."""
    delivered = [delivery_gate(run)] if any(source.feeds_bills for source in run.settings.sources) else []
    return [*([*delivered, _quarantine_gate(run)] if "ingest" in stages else ()),
            *([_unpriced_gate(run)] if "spend" in stages else ())]


def _quarantine_gate(run: Run) -> Gate:
    """Records set aside, as a share of all records in the lake's inputs."""
    counts = run.lake.read(CORE_INPUT).select(pl.col("findings").sum(), pl.col("lines_read").sum()).row(0)
    share = Decimal(counts[0] or 0) / Decimal(counts[1]) if counts[1] else Decimal(0)
    return Gate("quarantine_share", share, run.settings.gates.quarantine_share,
                f"{counts[0] or 0} of {counts[1] or 0} records")


def _unpriced_gate(run: Run) -> Gate:
    """Requests without a price, as a share of all."""
    counts = run.lake.read(OUT_SPEND_DAILY).select(pl.col("unpriced_requests").sum(), pl.col("requests").sum()).row(0)
    share = Decimal(counts[0] or 0) / Decimal(counts[1]) if counts[1] else Decimal(0)
    return Gate("unpriced_share", share, run.settings.gates.unpriced_share,
                f"{counts[0] or 0} of {counts[1] or 0} requests")


STEPS = {
    "ingest": ingest, "price": price, "spend": spend, "reconcile": reconcile, "close": close, "detect": detect,
    "forecast": forecast, "budget": budget, "publish": publish,
}
