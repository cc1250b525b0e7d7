"""The same run over the workers of a cluster: the bytes of a run in one process, in a bucket that all share."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.s3 import S3
from tests.faults.scene import SAMPLES, STAGES, Scene
from tests.flows.server import Prefect, free_port

pytestmark = [pytest.mark.server]
ENGINES = [pytest.param(name, marks=pytest.mark.skipif(
    importlib.util.find_spec(f"prefect_{name}") is None, reason=f"the extra `{name}` is not installed"))
    for name in ("dask", "ray")]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    server = S3().start()
    yield server
    server.stop()


def second_delivery(scene: Scene) -> None:
    """Two more days; a file of the first delivery with one record taken away, late ones and copies in its place."""
    for name, place in (("openai", "openai/requests"), ("anthropic", "anthropic/messages")):
        for day in ("2026-09-05", "2026-09-06"):
            put(scene, name, f"{day}.jsonl", (SAMPLES / place / f"{day}.jsonl").read_text())
    logs = scene.folder / "logs" / "openai"
    first, third = ((logs / f"2026-09-0{day}.jsonl").read_text().splitlines() for day in (1, 3))
    put(scene, "openai", "2026-09-03.jsonl", "\n".join([*third[1:], *first[:3], third[5], "no json"]) + "\n")


def put(scene: Scene, source: str, name: str, text: str) -> None:
    path = scene.folder / "logs" / source / name
    path.write_text(text)
    os.utime(path, (1_790_000_000 + len(text), 1_790_000_000))


def run(scene: Scene, env: dict[str, str] | None = None) -> str:
    """The nightly run; what it said."""
    code, said = scene.call("run", *(word for name in STAGES for word in ("--stage", name)), "-v", env=env, timeout=400)
    assert code == 0, said
    return said


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_over_two_workers_leaves_the_bytes_of_a_run_in_one_process(
        engine: str, prefect: Prefect, s3: S3, tmp_path: Path) -> None:
    alone, spread = (Scene(tmp_path / f"{name}-{engine}", s3=s3, days=4) for name in ("alone", "spread"))
    for scene in (alone, spread):
        run(scene)
        second_delivery(scene)
    run(alone)
    with Path(spread.config).open("a") as out:
        out.write(f'[run]\nengine = "{engine}"\nworkers = 2\n')
    said = run(spread, prefect.client | {"RAY_raylet_start_wait_time_s": "300", "RAY_AUTH_MODE": "disabled"})
    assert spread.tree() == alone.tree()
    assert "Finished in state Completed" in said
    assert tasks(prefect) >= {"read openai, part 1", "write anthropic, 2026-09-05"}


def test_a_cluster_that_is_not_there_is_named_and_nothing_is_written(prefect: Prefect, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "nowhere", days=1, extra=f'[run]\nengine = "dask"\naddress = "tcp://127.0.0.1:{free_port()}"\n')
    code, said = scene.run(env=prefect.client | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"})
    assert code == 3, said
    assert "no dask cluster at tcp://127.0.0.1" in said
    assert not list((scene.folder / "lake").glob("core_charge/**/*.parquet"))


def tasks(prefect: Prefect) -> set[str]:
    """Names of the latest task runs."""
    found = prefect.api("POST", "/task_runs/filter", {"limit": 50, "sort": "EXPECTED_START_TIME_DESC"})
    return {str(one["name"]) for one in found}
