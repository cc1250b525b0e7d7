"""The nightly flow: what is new in every source, priced, aggregated, compared, forecast and published."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from costops.flows.tasks.work import night


def name_of_run() -> str:
    """The window, as the run's name."""
    from prefect.runtime import flow_run

    given = flow_run.parameters
    start, end = given.get("start"), given.get("end")
    return f"nightly {start} to {end}" if start else "nightly, what is new"


@flow(name="nightly", flow_run_name=name_of_run, validate_parameters=True)
def nightly(
    config: str = "",
    start: date | None = None,
    end: date | None = None,
    sources: list[str] | None = None,
    stages: list[str] | None = None,
) -> Any:
    """Bring the lake and the reports up to date.

    Args:
        config: Path of costops.toml. Empty: ./costops.toml, else what COSTOPS_CONFIG names.
        start: First day to write. Empty: whatever is new, plus each source's restatement window.
        end: Last day to write.
        sources: Names of the sources to read. Empty: all.
        stages: Stages to run, in their own order. Empty: all.
    """
    return night(config=config, start=start, end=end, sources=sources, stages=stages)
