"""Files of the lake that are damaged or gone: named, and made again."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.scene import STAGES, Nursery, Scene

pytestmark = [pytest.mark.slow]
KEY = "core_charge/source=openai/day=2026-09-02/part-0.parquet"


def do(nursery: Nursery, scene: Scene, *words: str, env: dict[str, str] | None = None) -> int:
    nursery.start("command", {**scene.env, **(env or {})}, words=[*words, "--config", scene.config, "-q"])
    return nursery.wait()


def run(nursery: Nursery, scene: Scene, **env: str) -> int:
    return do(nursery, scene, "run", *(word for name in STAGES for word in ("--stage", name)), env=env)


def hurt(path: Path, how: str) -> None:
    body = bytearray(path.read_bytes())
    if how == "delete":
        path.unlink()
        return
    if how == "flip":
        body[random.Random(5).randrange(8, len(body) - 8)] ^= 0x10
    with path.open("r+b") as handle:            # in place, as a disk does it
        handle.write(body)
        handle.truncate({"truncate": len(body) // 2, "empty": 0}.get(how, len(body)))


def test_what_a_disk_does_to_a_partition_is_named_and_a_run_makes_it_again(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    path = scene.folder / "lake" / KEY
    assert run(nursery, scene) == 0
    whole = scene.tree()
    for how in ("truncate", "flip", "empty", "delete") if os.environ.get("COSTOPS_LONG") else ("truncate", "empty"):
        hurt(path, how)
        assert do(nursery, scene, "lake", "verify", "--format", "csv") == 4, how
        if how == "truncate":
            code, said = scene.call("backfill", "--from", "2026-09-02", "--to", "2026-09-02", "--stage", "ingest")
            assert (code, "Traceback" in said) == (4, False)
            assert f"{KEY}: damaged; run `cost-ops lake verify`, delete the file" in said
        if how in ("truncate", "flip"):         # what may still be of use is not thrown away by a program
            path.unlink()
        assert run(nursery, scene) == 0
        assert scene.tree() == whole, how
    assert do(nursery, scene, "lake", "verify") == 0


def test_lost_days_whose_inputs_are_gone_stay_named_and_stop_nothing(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    (scene.folder / "lake" / KEY).unlink()
    (scene.folder / "logs/openai/2026-09-02.jsonl").unlink()
    code, said = scene.run("-v")
    assert code == 0
    assert "restore them from a backup" in said
    assert do(nursery, scene, "lake", "verify") == 4
