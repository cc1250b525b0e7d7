"""Trained models as open text: one line with the hash of the rest, then JSON. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import date
from typing import Any

import lightgbm as lgb

from costops.models.boosted import Boosted
from costops.models.choice import Weights
from costops.models.features import NAMES
from costops.models.intervals import Calibration
from costops.models.publishing import Decision, Fitted

FORMAT = "costops-forecast-model"
VERSION = 3


class ModelTextError(ValueError):
    """A stored model is damaged, of another version, or not the one that was asked for."""


def _boosted(model: Boosted | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {"horizon": model.horizon, "features": list(NAMES), "trees": [m.model_to_string() for m in model.models]}


def to_text(fitted: Fitted) -> str:
    """Return the text of a trained model; its first line carries the sha256 of everything after it."""
    body = json.dumps(
        {
            "horizon": fitted.horizon,
            "trained_to": fitted.trained_to.isoformat() if fitted.trained_to else None,
            "pooled": fitted.pooled,
            "dependence": fitted.dependence,
            "weights": [[s, b, v] for (s, b), v in sorted(fitted.weights.shares.items())],
            "factors": [[*key, v] for key, v in sorted(fitted.calibration.factors.items())],
            "decisions": {name: asdict(d) for name, d in sorted(fitted.decisions.items())},
            "boosted": _boosted(fitted.boosted),
            "past": _boosted(fitted.past),
        },
        sort_keys=True,
        indent=1,
    )
    return f"{FORMAT} {VERSION} sha256={digest(body)}\n{body}\n"


def digest(body: str) -> str:
    """Return the sha256 of a model's body."""
    return hashlib.sha256(body.encode()).hexdigest()


def _load(part: dict[str, Any] | None) -> Boosted | None:
    if part is None:
        return None
    if part["features"] != list(NAMES):
        raise ModelTextError("the model was trained on other features; train it again with refit")
    return Boosted(tuple(lgb.Booster(model_str=text) for text in part["trees"]), int(part["horizon"]))


def from_text(text: str, *, sha256: str | None = None) -> Fitted:
    """Return the model of a text after its hash has been checked, before anything in it is parsed."""
    head, _, rest = text.partition("\n")
    words = head.split()
    if len(words) != 3 or words[0] != FORMAT:
        raise ModelTextError(f"not a {FORMAT} file; expected its name, version and sha256 in the first line")
    if words[1] != str(VERSION):
        raise ModelTextError(f"version {words[1]} of the model text, expected {VERSION}; train it again with refit")
    body = rest.removesuffix("\n")
    got = digest(body)
    for wanted in {words[2].removeprefix("sha256="), sha256 or got}:
        if got != wanted:
            raise ModelTextError(f"sha256 of the model is {got[:12]}…, expected {wanted[:12]}…; restore it or refit")
    data = json.loads(body)
    return Fitted(
        horizon=int(data["horizon"]),
        boosted=_load(data["boosted"]),
        past=_load(data["past"]),
        weights=Weights({(s, int(b)): float(v) for s, b, v in data["weights"]}),
        calibration=Calibration({(s, int(b), int(level), side): float(v) for s, b, level, side, v in data["factors"]}),
        pooled=float(data["pooled"]),
        dependence=float(data["dependence"]),
        decisions={name: Decision(**d) for name, d in data["decisions"].items()},
        trained_to=date.fromisoformat(data["trained_to"]) if data["trained_to"] else None,
    )
