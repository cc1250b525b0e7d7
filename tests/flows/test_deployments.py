"""prefect.yaml: what stands in it loads, and makes a form that a person can fill in."""

from __future__ import annotations

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


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=NAMES)
def test_the_entrypoint_loads_without_a_placeholder_and_every_parameter_has_a_help_text(
        deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    monkeypatch.chdir(REPO)
    path = list(sys.path)
    try:
        flow: Any = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    finally:
        sys.path[:] = path
    schema = parameter_schema(flow.fn).model_dump()
    assert all(one.get("description") for one in schema["properties"].values())
    assert set(deployment["parameters"]) <= set(schema["properties"])
    assert deployment["description"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=NAMES)
def test_a_second_run_waits_and_parameters_are_checked(deployment: dict[str, Any]) -> None:
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert deployment["enforce_parameter_schema"] is True


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
