"""The nightly job itself, with or without Prefect around it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from costops.flows.runtime.settings import load
from costops.flows.tasks import stages as do
from costops.flows.tasks.notify import announce
from costops.flows.tasks.outcome import Outcome, finish
from costops.flows.tasks.run import STAGES, Run, open_run
from costops.flows.tasks.show import ended
from costops.transforms.window import Window


def night(*, config: str, start: date | None = None, end: date | None = None, sources: Sequence[str] | None = None,
          stages: Sequence[str] | None = None) -> Any:
    """Bring the lake and the reports up to date; how it ended."""
    window = Window.of_days(start, end)
    with open_run(load(config), window=window, only=tuple(sources or ()), stages=tuple(stages or STAGES)) as run:
        outcome = work(run)
    return ended(outcome)


def work(run: Run) -> Outcome:
    """Every stage that was asked for, in order."""
    for name in STAGES:
        if name in run.stages and name in do.STEPS:
            with run.stage(name):
                do.STEPS[name](run)
    announce(run)
    return finish(run)
