"""A Prefect server, a worker and the deployments, for tests: real processes on loopback, gone with the test."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import httpx

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dies_with_parent() -> None:
    """In the child: end when the test does, and take signals as an ordinary process does."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Prefect:
    """Server, pool, deployments and workers under one folder."""

    def __init__(self, home: Path, *, config: Path | None = None, database: str | None = None,
                 auth: str | None = None) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.children: list[subprocess.Popen[bytes]] = []
        self.logs: list[IO[bytes]] = []
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")},
            "PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "costops", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json", "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",      # 30 by default: for tests too long
        }
        if config:
            self.env["COSTOPS_CONFIG"] = str(config)
        if database:
            self.env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        if auth:
            self.env |= {"PREFECT_SERVER_API_AUTH_STRING": auth, "PREFECT_API_AUTH_STRING": auth}
        home.mkdir(parents=True, exist_ok=True)

    @property
    def client(self) -> dict[str, str]:
        """What a command needs in its environment to be a run of this server."""
        return {key: value for key, value in self.env.items() if key.startswith("PREFECT_")}

    def start(self) -> Prefect:
        self.server = self.spawn("server", "server", "start")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if self.server.poll() is not None:
                raise RuntimeError((self.home / "server.log").read_text()[-2000:])
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/api/health", timeout=2).is_success:
                    return self
            time.sleep(0.3)
        raise TimeoutError("the Prefect server did not start")

    def deploy(self) -> None:
        self.call("work-pool", "create", "costops", "--type", "process", "--overwrite")
        self.call("--no-prompt", "deploy", "--all")

    def worker(self, name: str = "w1") -> subprocess.Popen[bytes]:
        return self.spawn(name, "worker", "start", "--pool", "costops", "--limit", "2", "--name", name)

    def call(self, *args: str, timeout: float = 120) -> str:
        done = subprocess.run([BIN / "prefect", *args], env=self.env, cwd=REPO, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if done.returncode:
            raise RuntimeError(f"prefect {' '.join(args)}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout

    def spawn(self, name: str, *args: str) -> subprocess.Popen[bytes]:
        log = (self.home / f"{name}.log").open("ab")
        self.logs.append(log)
        child = subprocess.Popen([BIN / "prefect", *args], env=self.env, cwd=REPO, stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=dies_with_parent)  # noqa: PLW1509
        self.children.append(child)
        return child

    def stop(self) -> None:
        for child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait(5)
        for log in self.logs:
            log.close()

    # -- the API -----------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        auth = self.env.get("PREFECT_API_AUTH_STRING")
        for pause in (0.5, 1, 2, 4, 0):                  # 503: SQLite was locked, and nothing was done
            answer = httpx.request(method, f"{self.url}/api{path}", json=body, timeout=30,
                                   auth=tuple(auth.split(":", 1)) if auth else None)  # type: ignore[arg-type]
            if answer.status_code != 503:
                break
            time.sleep(pause)
        if answer.status_code >= 400:
            raise RuntimeError(f"{answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"/deployments/name/{name}/{name}")
        return found

    def run(self, name: str, **parameters: Any) -> str:
        made = self.api("POST", f"/deployments/{self.deployment(name)['id']}/create_flow_run",
                        {"parameters": {**self.deployment(name)["parameters"], **parameters}})
        return str(made["id"])

    def state(self, run_id: str) -> dict[str, Any]:
        found = self.api("GET", f"/flow_runs/{run_id}")
        return {**(found["state"] or {}), "run_name": found["name"]}

    def wait(self, run_id: str, *, timeout: float = 90, until: tuple[str, ...] = (
            "COMPLETED", "FAILED", "CRASHED", "CANCELLED")) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            state = self.state(run_id)
            if state.get("type") in until:
                return state
            time.sleep(0.5)
        raise TimeoutError(f"run {run_id} is {state.get('type')} after {timeout} s: {self.log(run_id)[-1500:]}")

    def log(self, run_id: str) -> str:
        found = self.api("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200})
        return "\n".join(item["message"] for item in found)

    def artifacts(self, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("POST", "/artifacts/filter", {
            "artifacts": {"flow_run_id": {"any_": [run_id]}}})
        return found
