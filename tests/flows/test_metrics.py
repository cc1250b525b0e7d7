"""What Prometheus reads after a run, and the dashboard that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from costops.flows.nightly import nightly
from costops.flows.runtime.settings import Settings
from costops.flows.tasks.metrics import HELP

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "deploy/grafana/pipeline.json").read_text())


def test_a_run_leaves_a_file_that_prometheus_reads(
        workspace: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    settings = workspace(days=2)
    target = settings.home / "costops.prom"
    monkeypatch.setenv("COSTOPS_METRICS", str(target))
    nightly.fn(config=str(settings.home / "costops.toml"), stages=["ingest", "price", "spend"])
    found = {family.name: {tuple(one.labels.values()): one.value for one in family.samples}
             for family in text_string_to_metric_families(target.read_text())}
    assert set(found) == set(HELP)
    assert found["costops_run_exit_code"] == {(): 0.0}
    assert found["costops_newest_day_timestamp_seconds"] == {(): 1788307200.0}
    assert set(found["costops_source_records"]) == {("openai",), ("anthropic",), ("litellm",)}
    assert {stage for stage, in found["costops_stage_seconds"]} == {"ingest", "price", "spend"}
    assert not list(settings.home.glob(".*.tmp"))


def test_a_place_that_cannot_be_written_fails_no_run(
        workspace: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = workspace(days=1)
    monkeypatch.setenv("COSTOPS_METRICS", str(settings.home / "nowhere" / "costops.prom"))
    assert nightly.fn(config=str(settings.home / "costops.toml"), stages=["ingest", "price", "spend"]).exit_code == 0


def test_the_dashboard_shows_our_metrics_and_no_others() -> None:
    used = {name for panel in DASHBOARD["panels"] for target in panel["targets"]
            for name in re.findall(r"costops_\w+", target["expr"])}
    assert used == set(HELP)


def test_the_dashboard_has_what_grafana_asks_for() -> None:
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= set(DASHBOARD)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    placed = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for one in placed for x in range(one["x"], one["x"] + one["w"])
             for y in range(one["y"], one["y"] + one["h"])]
    assert len(cells) == len(set(cells)), "two panels lie over each other"
    assert max(x for x, _ in cells) < 24
    assert {panel["type"] for panel in DASHBOARD["panels"]} <= {"stat", "timeseries"}
