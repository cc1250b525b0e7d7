"""The deployments on a real Prefect server with a real worker."""

from __future__ import annotations

import os
import shutil
import signal
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.scene import SAMPLES
from tests.flows.conftest import PLACES
from tests.flows.server import Prefect

pytestmark = [pytest.mark.server]
STAGES = ["ingest", "price", "spend", "publish"]


def lake(prefect: Prefect) -> Path:
    return Path(prefect.env["COSTOPS_CONFIG"]).parent / "lake"


def test_nightly_completes_and_tells_what_it_did(prefect: Prefect) -> None:
    run = prefect.run("nightly", stages=STAGES)
    state = prefect.wait(run)
    assert state["type"] == "COMPLETED", prefect.log(run)
    assert state["run_name"] == "nightly, what is new"
    assert len(list(lake(prefect).glob("core_charge/source=openai/*/part-0.parquet"))) == 3
    text = next(one["data"] for one in prefect.artifacts(run) if one["key"] == "costops-run")
    assert "| ingest | openai |" in text
    assert "ingest: started" in prefect.log(run)


def test_a_backfill_shows_its_plan_then_its_progress(prefect: Prefect) -> None:
    run = prefect.run("backfill", days={"start": "2026-09-01", "end": "2026-09-02"}, stages=STAGES)
    state = prefect.wait(run)
    assert (state["type"], state["run_name"]) == ("COMPLETED", "backfill 2026-09-01 to 2026-09-02")
    made = {one["key"]: one["data"] for one in prefect.artifacts(run)}
    assert made["costops-progress"] == 100
    assert '"source": "openai"' in str(made["costops-plan"])


@pytest.mark.parametrize(("given", "says"), [
    ({"days": {"start": "2026-09-02", "end": "2026-09-01"}}, "swap them"),
    ({"days": {"start": "2016-09-02", "end": "2026-09-01"}}, "year by year"),
    ({"days": {"start": "2026-09-01", "end": "2026-09-01"}, "sources": ["opnai"]}, "did you mean 'openai'"),
])
def test_a_wrong_backfill_fails_with_a_message_and_writes_nothing(
        prefect: Prefect, given: dict[str, object], says: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in lake(prefect).rglob("*.parquet")}
    run = prefect.run("backfill", **given)
    state = prefect.wait(run)
    assert state["type"] == "FAILED"
    assert says in state["message"]
    assert {path: path.stat().st_mtime_ns for path in lake(prefect).rglob("*.parquet")} == before


def test_an_unknown_stage_never_becomes_a_run(prefect: Prefect) -> None:
    with pytest.raises(RuntimeError, match="409"):
        prefect.run("backfill", days={"start": "2026-09-01", "end": "2026-09-01"}, stages=["bogus"])


def test_a_killed_flow_process_ends_crashed_and_the_next_run_completes(prefect: Prefect) -> None:
    prefect.env["COSTOPS_TESTING"] = "1"
    run = prefect.run("backfill", days={"start": "2026-09-01", "end": "2026-09-03"}, stages=STAGES)
    prefect.wait(run, until=("RUNNING",))
    deadline = time.monotonic() + 20
    victims: list[int] = []
    while not victims and time.monotonic() < deadline:
        victims = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()
                   and f"PREFECT__FLOW_RUN_ID={run}".encode() in _environment(entry)]
        time.sleep(0.1)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert prefect.wait(run)["type"] == "CRASHED"
    again = prefect.run("backfill", days={"start": "2026-09-01", "end": "2026-09-03"}, stages=STAGES)
    assert prefect.wait(again)["type"] == "COMPLETED"


def test_runs_of_missed_nights_follow_one_another_and_all_but_the_first_write_nothing(prefect: Prefect) -> None:
    """Nights whose time is over when a worker is there again; five with COSTOPS_LONG, in short form two."""
    nights, home = 5 if os.environ.get("COSTOPS_LONG") else 2, Path(prefect.env["COSTOPS_CONFIG"]).parent
    for name, place in PLACES.items():
        for number in range(4, 4 + nights):
            if (source := SAMPLES / place / f"2026-09-{number:02d}.jsonl").exists():
                shutil.copyfile(source, home / "logs" / name / source.name)
    deployment = prefect.deployment("nightly")
    late = [str(prefect.api("POST", f"/deployments/{deployment['id']}/create_flow_run", {
        "parameters": {**deployment["parameters"], "stages": STAGES},
        "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": f"2026-09-{number + 1:02d}T02:30:00Z"}},
    })["id"]) for number in range(4, 4 + nights)]
    assert {prefect.wait(run, timeout=90 + 60 * nights)["type"] for run in late} == {"COMPLETED"}
    told = [prefect.api("GET", f"/flow_runs/{run}") for run in late]
    times = sorted((one["start_time"], one["end_time"]) for one in told)
    assert all(end <= start for (_, end), (start, _) in pairwise(times)), "never two at once"
    assert {path.parent.name for path in lake(prefect).glob("core_charge/source=openai/*/part-0.parquet")} == {
        f"day=2026-09-{number:02d}" for number in range(1, 4 + nights)}
    over = datetime.fromisoformat(times[0][1]).timestamp()
    assert [path for path in lake(prefect).rglob("*.parquet") if path.stat().st_mtime > over] == []


def _environment(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes()
    except OSError:
        return b""
