"""Spend that looks like theft or a loop, from the log to the alert: each planted pattern in a whole run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from costops.flows.runtime.settings import load
from costops.flows.tasks.notify import alerts_of
from costops.flows.tasks.run import open_run
from tests.unit.flows.conftest import Workspace

LAST = datetime(2026, 10, 28)
A_DOLLAR = 400_000       # input tokens of gpt-4o
SOURCE = """[[sources]]
name = "gateway"
kind = "generic.usage"
uri = "logs/*.jsonl"
options = { input = "inclusive" }
[sources.columns]
record_id = "id"
used_at = "at"
provider = "=openai"
model_id = "=gpt-4o-2024-08-06"
api_key_id = "key"
team = "key"
input_tokens = "taken"
output_tokens = "made"
"""


def request(at: datetime, key: str | None, usd: float, number: int = 0) -> dict[str, Any]:
    return {"id": f"{key}-{at:%Y%m%d%H}-{number}", "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "key": key, "made": 0,
            "taken": round(usd * A_DOLLAR)}


def calm(keys: tuple[str | None, ...]) -> list[dict[str, Any]]:
    """Thirty days of six requests a day and key, none at night."""
    days = [LAST - timedelta(days=step) for step in range(30)]
    return [request(day.replace(hour=hour), key, 0.5 + 0.02 * (hour + day.day) % 5 * 0.1)
            for day in days for key in keys for hour in (9, 11, 13, 15, 17, 19)]


PLANTED = {
    "night_burst": [request(LAST.replace(hour=2 + number % 3), "batch", 2.0, number) for number in range(60)],
    "absurd_request": [request(LAST.replace(hour=12), "search", 60.0, 1)],
    "new_key": [request(LAST.replace(hour=10 + number % 8), "stolen", 1.5, number) for number in range(40)],
}
WHO = {"night_burst": "api_key_id=batch", "absurd_request": "api_key_id=search", "new_key": "api_key_id=stolen"}


def seen(workspace: Workspace, patch: pytest.MonkeyPatch, records: list[dict[str, Any]]) -> tuple[pl.DataFrame, list[str]]:
    """What a night tells of threats, and the causes of its alerts."""
    patch.setenv("COSTOPS_NOW", f"{LAST + timedelta(days=1):%Y-%m-%d}T06:00:00+00:00")
    workspace.sources = SOURCE
    workspace.configure()
    workspace.log("all.jsonl", records)
    assert workspace.run(stages=("ingest", "price", "spend", "detect")) == 0
    with open_run(load(str(workspace.home / "costops.toml"))) as run:
        causes = [alert.cause for alert in alerts_of(run)]
    return workspace.read("out_anomaly").filter(pl.col("kind").is_in(list(PLANTED))), causes


def test_a_calm_month_has_no_threat(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, causes = seen(workspace, monkeypatch, calm(("search", "batch", "ads")))
    assert rows.is_empty()
    assert causes == []


def test_each_planted_threat_is_told_and_alerts_beside_the_spike_that_they_make(
        workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = [one for records in PLANTED.values() for one in records]
    rows, causes = seen(workspace, monkeypatch, calm(("search", "batch", "ads")) + planted)
    assert {(kind, who, LAST.date(), True) for kind, who in WHO.items()} == set(
        rows.select("kind", "unique_id", "ds", "is_sent").rows())
    assert {cause for cause in causes if "api_key_id" in cause} == {f"anomaly:{name}" for name in WHO.values()}
    assert len(causes) == 4


def test_an_absurd_request_without_a_key_is_told_of_its_source(
        workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, causes = seen(workspace, monkeypatch, [*calm((None,)), request(LAST.replace(hour=12), None, 60.0, 1)])
    assert rows.select("unique_id", "dimension", "value", "kind").rows() == [
        ("source=gateway", "source", "gateway", "absurd_request")]
    assert "anomaly:source=gateway" in causes
