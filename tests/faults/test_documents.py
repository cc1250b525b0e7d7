"""JSON bills and usage pages that are no honest JSON: set aside by name, the others read, never a silent figure."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.flows.conftest import Workspace

SOURCES = """[[sources]]
name = "costs"
kind = "openai.costs"
uri = "bills/*.json"
[[sources]]
name = "buckets"
kind = "openai.usage"
uri = "usage/*.json"
[[sources]]
name = "openai"
kind = "openai.requests"
uri = "logs/*.jsonl"
"""
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


def bill(amount: str = "0.5", more: str = "", day: int = 0) -> str:
    """A page of costs: one line of one day of October 2026."""
    start = 1_790_812_800 + day * 86_400
    return (f'{{"object": "page", "data": [{{"object": "bucket", "start_time": {start}, "end_time": {start + 86_400}, '
            '"results": [{"object": "organization.costs.result", "project_id": "p", "quantity": 100, '
            f'"amount": {{"value": {amount}, "currency": "usd"{more}}}, "quantity_unit": "tokens", '
            '"line_item": "gpt-5-mini, input"}]}], "has_more": false, "next_page": null}')


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.sources = SOURCES
    made.configure()
    for name in ("bills", "usage"):
        (tmp_path / name).mkdir()
    return made


@pytest.mark.parametrize(("text", "says"), [
    (DEEP, "nested more deeply"), (bill("0.5", ', "value": 0.7'), "'value' is told twice in one object"),
    (bill()[:-40], "Expecting"), ("\x00" * 500, "Expecting"), ("", ""),
], ids=["deep", "a name twice", "cut", "zeros", "empty"])
def test_a_bill_that_is_no_honest_json_is_a_finding_and_what_stood_stands(
        workspace: Workspace, text: str, says: str) -> None:
    path = workspace.home / "bills" / "2026-10.json"
    path.write_text(bill())
    assert workspace.run() == 0
    path.write_text(text)
    assert workspace.run() in (0, 1)
    found = workspace.read("core_finding").filter(reason="damaged_file")
    assert found["uri"].to_list() == ["bills/2026-10.json"]
    assert says in found["actual"][0]
    assert workspace.read("core_billing")["BilledCost"].to_list() == [Decimal("0.5")]


def test_the_same_value_told_twice_and_numbers_of_any_form_are_read(workspace: Workspace) -> None:
    (workspace.home / "bills" / "2026-10.json").write_text(bill("5e-1", ', "value": 5e-1'))
    assert workspace.run() == 0
    assert workspace.read("core_billing")["BilledCost"].to_list() == [Decimal("0.5")]


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e999", "null", '"free"', "true", "[1]"])
def test_an_amount_that_is_no_number_is_a_finding_and_never_a_zero(workspace: Workspace, amount: str) -> None:
    (workspace.home / "bills" / "2026-10.json").write_text(bill(amount))
    assert workspace.run() == 1, "the gate says that the delivery was refused"
    assert workspace.read("core_billing").is_empty()
    assert {"bad_amount", "missing_amount", "amount_overflow"} & set(workspace.read("core_finding")["reason"])


def test_usage_pages_too_deep_or_cut_are_findings_and_their_neighbour_is_read(workspace: Workspace) -> None:
    (workspace.home / "usage" / "1.json").write_text(DEEP)
    (workspace.home / "usage" / "2.json").write_text('{"object": "page", "data": [')
    (workspace.home / "bills" / "2026-10.json").write_text(bill())
    assert workspace.run() == 0
    assert sorted(workspace.read("core_finding").filter(reason="damaged_file")["uri"]) == ["usage/1.json", "usage/2.json"]
    assert workspace.read("core_billing").height == 1
