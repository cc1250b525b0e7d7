"""The forecast model that the lake keeps between fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.run import Run
from costops.transforms.check import conform
from costops.transforms.finding import findings
from costops.transforms.tables import CORE_FINDING, OUT_FORECAST

if TYPE_CHECKING:
    from costops.models.publishing import Fitted

MODEL_KEY = "models/forecast.txt"
"""Where the lake keeps what the last fit learned, as text with its hash."""

SOURCE = "forecast_model"
"""The name under which a model that was refused is kept as a finding."""


def kept_model(run: Run, horizon: int) -> Fitted | None:
    """The model of an earlier fit, if it reaches as far as is asked for. One that is refused becomes a finding."""
    fitted, refused = _look(run.lake)
    if refused is not None:
        made = findings([{
            "reason": "model_refused", "source": SOURCE, "day": run.now.date(), "severity": "warning",
            "dataset": OUT_FORECAST.name, "uri": MODEL_KEY, "expected": "the model that the last fit wrote",
            "actual": refused}])
        for part in run.lake.write(CORE_FINDING, conform(made, CORE_FINDING)):
            run.partition("forecast", CORE_FINDING, part)
    return fitted if fitted is not None and fitted.horizon >= horizon else None


def read_model(lake: Lake) -> Fitted | None:
    """The model of an earlier fit, if there is one that reads; its hash is checked before its text."""
    return _look(lake)[0]


def _look(lake: Lake) -> tuple[Fitted | None, str | None]:
    """The model, and why it was refused."""
    from costops.models.store import ModelTextError, from_text

    body = lake.store.read(MODEL_KEY)
    if body is None:
        return None, None
    try:
        return from_text(body.decode("utf-8", "replace")), None
    except ModelTextError as error:
        LOGGER.warning("%s: %s; it is fitted anew", MODEL_KEY, error)
        return None, str(error)
