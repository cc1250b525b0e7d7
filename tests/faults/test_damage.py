"""Files of the lake that are damaged, gone or of an older program: named, made again, brought up to date."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import polars as pl
import pytest

from tests.faults.scene import OLD, STAGES, Nursery, Scene

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
    for how in ("truncate", "flip", "empty", "delete"):
        hurt(path, how)
        assert do(nursery, scene, "lake", "verify", "--format", "csv") == 4, how
        if how == "flip":                       # who does not read every byte does not see it
            code, said = scene.call("lake", "verify", "--mend")
            assert (code, path.exists()) == (4, False)
            assert "set aside; the next run makes it again" in " ".join(said.split())
        assert run(nursery, scene) == 0
        assert scene.tree() == whole, how
    assert do(nursery, scene, "lake", "verify") == 0


def test_a_backfill_makes_a_cut_day_again_too(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    whole = scene.tree()
    hurt(scene.folder / "lake" / KEY, "truncate")
    assert scene.call("backfill", "--from", "2026-09-02", "--to", "2026-09-02", "--stage", "ingest", "--stage", "spend"
                      )[0] == 0
    assert scene.tree() == whole


@pytest.mark.parametrize("number", range(1, 6))
def test_a_kill_while_a_cut_day_is_made_again_ends_in_the_same_bytes(nursery: Nursery, tmp_path: Path,
                                                                     number: int) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    whole = scene.tree()
    hurt(scene.folder / "lake" / KEY, "truncate")
    point = "before_delete" if number > 3 else "after_commit"
    run(nursery, scene, COSTOPS_FAULT=f"{point}:{number - 3 if number > 3 else number}:kill")
    assert run(nursery, scene) == 0
    assert scene.tree() == whole


def test_lost_days_whose_inputs_are_gone_stay_named_and_stop_nothing(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    path = scene.folder / "lake" / KEY
    hurt(path, "truncate")
    (scene.folder / "logs/openai/2026-09-02.jsonl").unlink()
    cut = scene.tree()
    code, said = scene.run("-v")
    assert code == 4, "a report without the day would be wrong in silence"
    assert "restore them from a backup" in said
    assert f"{KEY}: damaged; run `cost-ops lake verify --mend`" in said
    left = scene.tree()
    assert left.pop("lake/_state/.writing") == b"", "the mark of a run that did not end well"
    assert left == cut, "a reader fails at it too"
    assert do(nursery, scene, "lake", "verify", "--mend") == 4
    assert not path.exists()
    code, said = scene.run("-v")
    assert code == 0
    assert "restore them from a backup" in said
    assert do(nursery, scene, "lake", "verify") == 4


def test_what_a_program_cannot_make_again_it_does_not_throw_away(nursery: Nursery, tmp_path: Path) -> None:
    """A day set aside whose inputs are gone: neither a run nor late rows of another file lose its bytes."""
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    path = scene.folder / "lake" / KEY
    hurt(path, "flip")
    body = path.read_bytes()
    log = scene.folder / "logs/openai/2026-09-02.jsonl"
    late = log.read_bytes().splitlines(keepends=True)[0].replace(b"chatcmpl-", b"chatcmpl-late")
    log.unlink()
    assert do(nursery, scene, "lake", "verify", "--mend") == 4
    (log.parent / "late.jsonl").write_bytes(late)
    os.utime(log.parent / "late.jsonl", OLD)
    assert run(nursery, scene) == 0
    kept = list((scene.folder / "lake/_state/damaged").rglob("*.damaged"))
    assert [one.read_bytes() for one in kept] == [body]
    code, said = scene.call("lake", "verify", "--format", "csv")
    assert code == 4
    assert "core_charge/source=openai/day=2026-09-02" in said
    assert do(nursery, scene, "lake", "erase", "--user", "u-1", "--by", "DPO") == 0
    assert not kept[0].exists(), "it may hold the user's id, and nobody can tell"


def age(scene: Scene) -> None:
    """Make a lake's files those of a program that did not know the columns which are empty in them."""
    for path in (scene.folder / "lake").glob("*/**/*.parquet"):
        if path.relative_to(scene.folder / "lake").parts[0] == "run_ledger":
            continue
        rows = pl.read_parquet(path, hive_partitioning=False)
        path.unlink()
        rows.drop(name for name in rows.columns if rows.height and rows[name].null_count() == rows.height
                  ).write_parquet(path)
        os.utime(path, OLD)


@pytest.mark.parametrize("point", ["after_temp_write:1", "after_commit:1", "after_commit:3", "after_commit:6",
                                   "before_ledger:1"])
def test_a_kill_while_a_lake_of_an_older_program_is_written_ends_in_the_same_bytes(
        nursery: Nursery, tmp_path: Path, point: str) -> None:
    """Format 1 is the first, and a file is brought up to date when its rows change: no step of its own can be killed."""
    whole, hit = Scene(tmp_path / "whole", days=3), Scene(tmp_path / "hit", days=3)
    for scene in (whole, hit):
        assert run(nursery, scene) == 0
        age(scene)
        log = scene.folder / "logs/openai/2026-09-02.jsonl"
        more = log.parent / "more.jsonl"
        more.write_bytes(log.read_bytes().replace(b"chatcmpl-", b"chatcmpl-n"))
        os.utime(more, OLD)
    assert run(nursery, hit, COSTOPS_FAULT=f"{point}:kill") == -signal.SIGKILL
    assert hit.broken() == []
    assert run(nursery, hit) == run(nursery, whole) == 0
    assert hit.tree() == whole.tree()
    assert do(nursery, hit, "lake", "verify") == 0
