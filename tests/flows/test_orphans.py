"""What dies round a Prefect run: the server in its middle; worker and flow together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.scene import STAGES, Scene
from tests.faults.test_crashes import until_stopped
from tests.flows.server import REPO, Prefect

pytestmark = [pytest.mark.server]
WORDS = [word for name in STAGES for word in ("--stage", name)]


def test_a_server_that_is_killed_in_mid_run_costs_no_figure(prefect: Prefect, tmp_path: Path) -> None:
    """SIGKILL of the server while a run stands before a commit. The run goes on without it and has written everything
    when the server is started again; repeated under that one it has the same bytes, and the server knows of it."""
    hit, whole = Scene(tmp_path / "hit", days=1), Scene(tmp_path / "whole", days=1)
    child = under(prefect, hit, COSTOPS_FAULT="before_commit:3:stop")
    until_stopped(child.pid)
    prefect.server.kill()
    prefect.server.wait(10)
    os.kill(child.pid, signal.SIGCONT)
    deadline = time.monotonic() + 90
    while not (hit.folder / "reports/latest/manifest.json").exists():
        assert child.poll() is None, child.communicate()[1][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    prefect.start()
    said = child.communicate(timeout=180)[1]
    assert child.returncode == 0 or (
        child.returncode == 3 and f"cost-ops: {prefect.url}/api: the server does not answer" in said), said[-2000:]
    assert hit.broken() == []
    again = under(prefect, hit)
    said = again.communicate(timeout=180)[1]
    assert again.returncode == 0, said[-2000:]
    last = prefect.api("POST", "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    assert [one["state_type"] for one in last] == ["COMPLETED"]
    code, said = whole.run()
    assert code == 0, said
    assert hit.tree() == whole.tree()


def test_a_server_that_nobody_answers_for_is_3_in_one_sentence(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=1)
    code, said = scene.run(env={"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "1"})
    assert code == 3
    assert said.splitlines()[-1].startswith("cost-ops: http://127.0.0.1:9/api: the server does not answer; ")
    assert "Traceback" not in said
    assert not (scene.folder / "lake").exists()


def under(prefect: Prefect, scene: Scene, **env: str) -> subprocess.Popen[str]:
    """`cost-ops run` as a run of the server, which it does not wait long for."""
    return scene.start("run", *WORDS, env={**prefect.client, "PREFECT_HOME": scene.env["PREFECT_HOME"],
                                           "PREFECT_CLIENT_MAX_RETRIES": "1", **env})


@pytest.mark.skipif(not os.environ.get("COSTOPS_LONG"), reason="COSTOPS_LONG=1: it waits minutes for a heartbeat")
def test_a_worker_and_its_flow_killed_together_end_crashed_by_the_automation(prefect: Prefect) -> None:
    done = subprocess.run([sys.executable, "deploy/automations.py"], env=prefect.env, cwd=REPO, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    deployment = prefect.deployment("nightly")
    env = {"COSTOPS_TESTING": "1", "COSTOPS_FAULT": "before_ledger:1:sleep"}
    run = str(prefect.api("POST", f"/deployments/{deployment['id']}/create_flow_run", {
        "parameters": {**deployment["parameters"], "stages": STAGES}, "job_variables": {"env": env}})["id"])
    prefect.wait(run, until=("RUNNING",))
    time.sleep(40)                              # a heartbeat was sent
    workers = [child for child in prefect.children if child is not prefect.server and child.poll() is None]
    flows = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _runs(entry, run)]
    for child in workers:
        child.kill()
    for pid in flows:
        os.kill(pid, signal.SIGKILL)
    prefect.worker("w2")
    began = time.monotonic()
    assert prefect.wait(run, timeout=200)["type"] == "CRASHED"
    assert time.monotonic() - began < 180
    again = prefect.run("nightly", stages=STAGES)
    assert prefect.wait(again, timeout=180)["type"] == "COMPLETED"


def _runs(entry: Path, run: str) -> bool:
    try:
        return f"PREFECT__FLOW_RUN_ID={run}".encode() in (entry / "environ").read_bytes()
    except OSError:
        return False
