"""Memory that does not grow with a day, and bytes that do not depend on how a day was cut or merged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from costops.flows.runtime import parquet
from costops.flows.tasks import reading
from costops.transforms import merge
from costops.transforms.tables import CORE_CHARGE
from tests.unit.flows.conftest import NOON, Workspace, body

Make = Callable[[str], Workspace]

RECORDS: list[dict[str, Any]] = [
    body(number, at=NOON + number * 97 % 7_200, taken=1_000 + number * 37 % 900, made=number % 211 + 1,
         team=f"team-{number % 7}", model=("gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18")[number % 2])
    for number in range(900)]


def charges(workspace: Workspace) -> dict[str, str]:
    """Hash of each charge partition."""
    return {key: value for key, value in workspace.digest().items() if key.startswith("core_charge/")}


def tables(workspace: Workspace) -> dict[str, str]:
    """Hash of each partition."""
    return {key: value for key, value in workspace.digest().items() if not key.startswith("_state/")}


@pytest.mark.parametrize(("limit", "least"), [("MOST_SORTED", 400), ("MOST_SORTED", 3), ("MOST_GROUPS", 1)],
                         ids=["a_day_sorted_in_stretches", "an_hour_sorted_on_disk", "row_groups_priced_apart"])
def test_how_a_day_is_cut_changes_no_byte(make_workspace: Make, monkeypatch: pytest.MonkeyPatch, limit: str,
                                          least: int) -> None:
    whole, cut = make_workspace("whole"), make_workspace("cut")
    for one in (whole, cut):
        one.log("a.jsonl", RECORDS)
    assert whole.run() == 0
    monkeypatch.setattr(merge, limit, least)
    assert cut.run() == 0
    assert charges(cut) == charges(whole)


def test_how_many_records_are_as_usual_changes_no_byte(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rare = [json.loads(json.dumps(one)) for one in RECORDS]
    for number in range(0, len(rare), 90):
        rare[number]["usage"]["completion_tokens_details"] = {"audio_tokens": number % 7}
        rare[number + 1]["usage"]["tokens_of_tomorrow"] = number
        rare[number + 2]["usage"]["prompt_tokens"] = -1
    whole, lean = make_workspace("whole"), make_workspace("lean")
    for one in (whole, lean):
        one.log("a.jsonl", rare)
    assert whole.run() == 0
    monkeypatch.setattr(reading, "_LARGE", 1)
    assert lean.run() == 0
    assert tables(lean) == tables(whole)
    assert whole.read("core_charge")["audio_output_tokens"].drop_nulls().len() > 0
    assert {"unknown_unit", "impossible_count"} <= set(whole.read("core_finding")["reason"])


def test_reading_and_pricing_loads_no_pandas(workspace: Workspace) -> None:
    workspace.log("a.jsonl", RECORDS)
    code = ("import sys; from costops.flows.command import main; "
            f"code = main(['run', '-q', '--stage', 'ingest', '--config', {str(workspace.home / 'costops.toml')!r}]); "
            "sys.exit(code or 'pandas' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert workspace.read("core_charge").height == len(RECORDS)


def test_rows_put_together_with_kept_ones_have_the_bytes_of_one_delivery(make_workspace: Make) -> None:
    one, two = make_workspace("one"), make_workspace("two")
    for workspace in (one, two):
        workspace.log("a.jsonl", RECORDS[::2])
    two.run()
    for workspace in (one, two):
        workspace.log("b.jsonl", RECORDS[1::2])
        assert workspace.run() == 0
    assert charges(two) == charges(one)


def test_the_encoder_gives_the_same_bytes_however_rows_come_in(tmp_path: Any) -> None:
    rows = pa.table({"record_id": [f"r-{number:06}" for number in range(3_000)],
                     "output_tokens": [number % 91 for number in range(3_000)],
                     "team": [None if number % 5 == 0 else f"t{number % 3}" for number in range(3_000)]})

    def made(step: int) -> bytes:
        with parquet.Writer(tmp_path / f"{step}.parquet", CORE_CHARGE) as out:
            for start in range(0, rows.num_rows, step):
                out.add(rows.slice(start, step))
        return out.path.read_bytes()

    assert made(3_000) == made(1_000) == made(777)
