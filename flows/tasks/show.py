"""What Prefect keeps of a run beside its log: tables, progress, the state it ends in. Nothing without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import polars as pl

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.within import in_flow
from costops.transforms.errors import Unreachable

if TYPE_CHECKING:
    from costops.flows.tasks.outcome import Outcome

MOST_ROWS = 500


def table(frame: pl.DataFrame, *, key: str, description: str) -> None:
    """A table artifact of the run; values as text, so that no cell can be more than text."""
    if not in_flow():
        return
    from prefect.artifacts import create_table_artifact

    rows = [{name: "" if value is None else str(value) for name, value in row.items()}
            for row in frame.head(MOST_ROWS).iter_rows(named=True)]
    if frame.height > MOST_ROWS:
        description += f" (first {MOST_ROWS} of {frame.height})"
    create_table_artifact(rows or [{"": "nothing"}], key=key, description=description)


class Progress:
    """How far a run is: a progress artifact under Prefect, a line of the log everywhere."""

    def __init__(self, what: str, *, key: str) -> None:
        self.what = what
        self.artifact: UUID | None = None
        if in_flow():
            from prefect.artifacts import create_progress_artifact

            made: Any = create_progress_artifact(0.0, key=key, description=what)
            self.artifact = made

    def at(self, done: int, total: int) -> None:
        """`done` of `total`."""
        LOGGER.info("%s: %d of %d", self.what, done, total)
        if self.artifact is not None:
            from prefect.artifacts import update_progress_artifact

            update_progress_artifact(self.artifact, progress=100.0 * done / max(total, 1))


def ended(outcome: Outcome) -> Any:
    """How a flow ends: the outcome; under Prefect a failed gate shows in the state, and what was not reached fails it.

    Everything that could be done has been done and is written before this is called.
    """
    if not in_flow():
        return outcome
    if outcome.unreachable:
        raise Unreachable("; ".join(outcome.unreachable) + " Everything else was written.")
    if outcome.failed_gates:
        from prefect.states import Completed

        return Completed(name="Gate failed", message="; ".join(outcome.failed_gates), data=outcome)
    return outcome
