"""prefect.yaml: what stands in it loads, and makes a form that a person can fill in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((REPO / "prefect.yaml").read_text())["deployments"]
NAMES = [one["name"] for one in DEPLOYMENTS]


def test_the_five_of_the_contract_are_there() -> None:
    assert NAMES == ["nightly", "backfill", "monthly-reconciliation", "refresh-prices", "refit-models"]


def schema_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """The schema of the form, from the flow that the deployment names."""
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    path = list(sys.path)
    try:
        flow: Any = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    finally:
        sys.path[:] = path
    return parameter_schema(flow.fn).model_dump()


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=NAMES)
def test_the_entrypoint_loads_without_a_placeholder_and_every_parameter_has_a_help_text(
        deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    schema = schema_of(deployment)
    assert all(one.get("description") for one in schema["properties"].values())
    assert set(deployment["parameters"]) <= set(schema["properties"])
    assert deployment["description"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=NAMES)
def test_a_second_run_waits_and_parameters_are_checked(deployment: dict[str, Any]) -> None:
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert deployment["enforce_parameter_schema"] is True


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=NAMES)
def test_no_parameter_is_a_credential(deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The server shows parameters to all who may see a run: names of variables and places, never a secret."""
    monkeypatch.chdir(REPO)
    shown = json.dumps(schema_of(deployment)).lower()
    assert not re.search(r'"[^"]*(secret|passw|token|credential|api_key|auth)[^"]*": ', shown)
    assert '"password"' not in shown, "the format of a hidden field"


def test_the_shipped_settings_bind_to_loopback_and_ask_for_a_password() -> None:
    told = dict(line.split("=", 1) for line in (REPO / "deploy/systemd/server.env.example").read_text().splitlines()
                if line and not line.startswith("#"))
    assert told["PREFECT_SERVER_API_HOST"] == "127.0.0.1"
    assert told["PREFECT_SERVER_API_AUTH_STRING"] == "admin:CHANGE-ME"


CALLS = ("deployments/filter", "flow_runs/filter", "logs/filter", "artifacts/filter", "block_documents/filter",
         "variables/filter", "work_pools/filter", "events/filter", "flow_runs/")


def test_with_a_password_no_call_but_that_of_health_is_answered_without_it() -> None:
    """In a process of its own: the settings are those that the server would start with."""
    code = (
        "import asyncio, httpx, json, sys\n"
        "from prefect.server.api.server import create_app\n"
        "async def ask():\n"
        "    way = httpx.ASGITransport(app=create_app(ephemeral=False))\n"
        "    async with httpx.AsyncClient(transport=way, base_url='http://test/api') as client:\n"
        "        calls = [client.get('health')] + [client.post(name, json={}, auth=who)\n"
        "                 for name in sys.argv[1:] for who in (None, ('admin', 'wrong'))]\n"
        "        print(json.dumps([(await call).status_code for call in calls]))\n"
        "asyncio.run(ask())\n")
    env = {**os.environ, "PREFECT_SERVER_API_AUTH_STRING": "admin:right", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    done = subprocess.run([sys.executable, "-c", code, *CALLS], env=env, capture_output=True, text=True, check=True)
    health, *others = json.loads(done.stdout.splitlines()[-1])
    assert health == 200
    assert others == [401] * 2 * len(CALLS)


def test_all_but_the_backfill_have_a_schedule() -> None:
    assert [bool(one["schedules"]) for one in DEPLOYMENTS] == [True, False, True, True, True]


def test_the_backfill_form_has_calendars_and_drop_downs() -> None:
    from prefect.utilities.callables import parameter_schema

    from costops.flows.backfill import backfill

    schema = parameter_schema(backfill.fn).model_dump()
    days = schema["definitions"]["DateRange"]["properties"]
    assert {one["format"] for one in days.values()} == {"date"}
    assert all(one["description"] for one in days.values())
    assert "publish" in str(schema["properties"]["stages"])


def test_no_name_in_flows_hides_a_module_of_the_standard_library() -> None:
    names = {path.stem for path in (REPO / "flows").glob("*.py")} | {
        path.name for path in (REPO / "flows").iterdir() if path.is_dir()}
    assert not names & (sys.stdlib_module_names | {"prefect", "boto3", "azure", "google", "polars", "duckdb"})
