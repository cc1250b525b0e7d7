"""What dies round a Prefect run: the server in its middle; worker and flow together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.proxy import Proxy
from tests.faults.scene import STAGES, Scene
from tests.flows.server import REPO, Prefect

pytestmark = [pytest.mark.server]
WORDS = [word for name in STAGES for word in ("--stage", name)]


def test_a_server_that_dies_in_mid_run_costs_no_figure(prefect: Prefect, tmp_path: Path) -> None:
    """The run speaks with its server through a proxy, which goes away when the first partitions are written."""
    hit, whole = Scene(tmp_path / "hit", days=1), Scene(tmp_path / "whole", days=1)
    proxy = Proxy(prefect.url, lambda *_: None)
    child = subprocess.Popen(
        [sys.executable, "-m", "costops.flows.command", "run", *WORDS, "--config", hit.config], cwd=REPO, text=True,
        env={**prefect.env, **hit.env, "PREFECT_API_URL": f"{proxy.url}/api", "PREFECT_CLIENT_MAX_RETRIES": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 90
    while not list((hit.folder / "lake").glob("core_charge/**/*.parquet")):
        assert child.poll() is None, child.communicate()[1][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    proxy.close()
    said = child.communicate(timeout=180)[1]
    assert child.returncode in (0, 3, 70), said[-2000:]
    assert hit.broken() == []
    for scene in (hit, whole):
        code, told = scene.run()
        assert code == 0, told
    assert hit.tree() == whole.tree()


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
