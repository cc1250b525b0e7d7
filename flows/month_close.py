"""The monthly flow: a month's computed cost beside its bills; on request the month is locked."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from costops.flows.runtime import clock
from costops.flows.runtime.settings import load
from costops.flows.tasks import show
from costops.flows.tasks import stages as do
from costops.flows.tasks.notify import announce
from costops.flows.tasks.outcome import finish
from costops.flows.tasks.run import open_run
from costops.transforms.window import month_of

MONTHLY = ("ingest", "price", "spend", "reconcile", "publish")


def name_of_run() -> str:
    """The month, as the run's name."""
    from prefect.runtime import flow_run

    return f"reconciliation of {flow_run.parameters.get('month') or 'last month'}"


@flow(name="monthly-reconciliation", flow_run_name=name_of_run, validate_parameters=True)
def monthly_close(
    month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] | None = None,
    lock: bool = False,
    signed_by: str = "",
    config: str = "",
) -> Any:
    """Compare a month with its bills line by line, and publish the reconciliation.

    New usage and new bills are read first. Without `lock` the figures stay provisional and this may be run as often
    as bills come in.

    Args:
        month: The month, written YYYY-MM. Empty: the month before this one.
        lock: Lock the month afterwards. A locked month refuses later changes.
        signed_by: Who signs the lock; it is recorded.
        config: Path of costops.toml on the worker. Empty: ./costops.toml, else what COSTOPS_CONFIG names.
    """
    wanted = month or month_of(clock.today().replace(day=1) - timedelta(days=1))
    with open_run(load(config), stages=MONTHLY) as run:
        for name in ("ingest", "price", "spend"):
            with run.stage(name):
                do.STEPS[name](run)
        run.notes["months"] = (wanted,)
        if lock:
            run.notes["close"] = {"month": wanted, "by": signed_by}
        for name in ("reconcile", *(("close",) if lock else ()), "publish"):
            with run.stage(name):
                do.STEPS[name](run)
        announce(run)
        outcome = finish(run)
    return show.ended(outcome)
