"""The model flow: forecast models fitted anew, judged on held-out days, and used from then on."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from costops.flows.runtime.settings import load
from costops.flows.tasks import show
from costops.flows.tasks import stages as do
from costops.flows.tasks.changes import sentence
from costops.flows.tasks.notify import announce
from costops.flows.tasks.outcome import finish
from costops.flows.tasks.run import open_run
from costops.flows.tasks.whatif import publish_what_if


@flow(name="refit-models", validate_parameters=True)
def refit_models(
    horizon_days: Annotated[int, Field(ge=1, le=400)] | None = None,
    config: str = "",
    what_if: list[str] | None = None,
) -> Any:
    """Fit the forecast models anew on all history, and forecast with them.

    The nightly run fits as well; this one forgets what was kept from earlier fits first.

    Args:
        horizon_days: How far ahead. Empty: as in costops.toml.
        config: Path of costops.toml on the worker. Empty: ./costops.toml, else what COSTOPS_CONFIG names.
        what_if: Changes, as `cost-ops forecast --what-if` takes them; the difference in money is published.
    """
    changes = [sentence(one) for one in what_if or ()]          # refused before anything is done
    settings = load(config)
    if horizon_days is not None:
        settings = settings.model_copy(
            update={"forecast": settings.forecast.model_copy(update={"horizon_days": horizon_days})})
    with open_run(settings, stages=("detect", "forecast", "budget", "publish")) as run:
        run.notes["refit"] = True
        for name in run.stages:
            if name in do.STEPS:
                with run.stage(name):
                    do.STEPS[name](run)
        if changes:
            publish_what_if(run, what_if or ())
        announce(run)
        outcome = finish(run)
    return show.ended(outcome)
