"""The backfill flow: a range of days again, day by day, to be stopped and started at will."""

from __future__ import annotations

from typing import Any

from prefect import flow

from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import load
from costops.flows.tasks import plan, show
from costops.flows.tasks import stages as do
from costops.flows.tasks.notify import announce
from costops.flows.tasks.outcome import finish
from costops.flows.tasks.parameters import DateRange, Stage, date_range, known_sources
from costops.flows.tasks.run import STAGES, Run, open_lake, open_run
from costops.transforms.window import month_of


def name_of_run() -> str:
    """The days, as the run's name."""
    from prefect.runtime import flow_run

    given = flow_run.parameters
    days = given.get("days")
    start, end = (days.start, days.end) if isinstance(days, DateRange) else (
        (days or {}).get("start"), (days or {}).get("end"))
    return f"{'plan' if given.get('dry_run') else 'backfill'} {start} to {end}"


@flow(name="backfill", flow_run_name=name_of_run, validate_parameters=True)
def backfill(
    days: DateRange,
    sources: list[str] | None = None,
    stages: list[Stage] | None = None,
    dry_run: bool = False,
    config: str = "",
) -> Any:
    """Read a range of days again from their sources and replace what differs.

    Figures come out the same as if every night had gone well. A backfill that was cancelled or killed goes on where
    it stopped when it is started again with the same values. It is safe beside the nightly run.

    Args:
        days: The days to write, both included.
        sources: Names of the sources to read, as in costops.toml. Empty: all.
        stages: Stages to run. Empty: all. Ingest, price and spend run day by day, the others once at the end.
        dry_run: Only show which partitions would change, and by how much. Nothing is written.
        config: Path of costops.toml on the worker. Empty: ./costops.toml, else what COSTOPS_CONFIG names.
    """
    asked = date_range(days)
    settings = load(config)
    only = known_sources(settings, sources)
    wanted = tuple(stages or STAGES)
    with open_lake(settings, write=False) as lake:
        show.table(plan.outline(lake, settings, asked.window, only), key="costops-plan",
                   description=f"Backfill of {asked.window}: what is there, and what was not read yet")
    if dry_run:
        changes = plan.dry_run(settings, asked.window, sources=only, stages=wanted)
        show.table(changes, key="costops-dry-run", description="What a backfill would change; nothing was written")
        return changes
    journal = plan.open_journal(settings, asked.window, [only, wanted])
    progress = show.Progress(f"Backfill of {asked.window}", key="costops-progress")
    total = Run(settings, None, None)  # type: ignore[arg-type] # it only gathers
    if journal.done:
        LOGGER.info("%d days were done before", len(journal.done))
    for block in plan.blocks(asked.window, journal.done, settings.run):
        with open_run(settings, window=block, only=only, stages=wanted, again=True) as run:
            for name in plan.DAILY:
                if name in wanted and name in do.STEPS:
                    with run.stage(name):
                        do.STEPS[name](run)
            _gather(total, run)
        if not run.unreachable:
            journal.settle(block)
        progress.at((block.end - asked.window.start).days, len(asked.window.days()))
    with open_run(settings, window=asked.window, only=only, stages=wanted) as run:
        _gather(run, total)
        run.touched_months |= {month_of(day) for day in journal.done}       # also of days that an earlier start did
        run.gates = do.standing_gates(run, wanted)
        for name in STAGES:
            if name in wanted and name in do.STEPS and name not in plan.DAILY:
                with run.stage(name):
                    do.STEPS[name](run)
        announce(run)
        outcome = finish(run)
    if not outcome.unreachable:
        journal.close()
    return show.ended(outcome)


def _gather(total: Run, run: Run) -> None:
    """Add what one run did to another."""
    total.earlier += [*run.earlier, *(one for one in run.entries if one["entry"] in ("stage", "source"))]
    total.touched |= run.touched
    total.touched_months |= run.touched_months
    for name, days in run.touched_by.items():
        total.touched_by.setdefault(name, set()).update(days)
    total.unreachable += [text for text in run.unreachable if text not in total.unreachable]
