"""Files of the lake that are damaged, gone or of an older program: named, made again, brought up to date."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.faults.scene import OLD, STAGES, Nursery, Scene
from tests.faults.test_readers import Readers

pytestmark = [pytest.mark.slow]
KEY = "core_charge/source=openai/day=2026-09-02/part-0.parquet"
LONG = bool(os.environ.get("COSTOPS_LONG"))


def some(few: list[Any], more: list[Any]) -> list[Any]:
    """The short form in CI, all with COSTOPS_LONG."""
    return few + more if LONG else few


def do(nursery: Nursery, scene: Scene, *words: str, env: dict[str, str] | None = None) -> int:
    nursery.start("command", {**scene.env, **(env or {})}, words=[*words, "--config", scene.config, "-q"])
    return nursery.wait()


def run(nursery: Nursery, scene: Scene, **env: str) -> int:
    """A night without its report, which is half of the time."""
    return do(nursery, scene, "run", *(word for name in STAGES[:-1] for word in ("--stage", name)), env=env)


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


def spent(scene: Scene) -> dict[tuple[object, ...], Any]:
    """Requests and cost of each day and source, by the sums."""
    rows = pl.read_parquet(f"{scene.folder}/lake/out_spend_daily/**/*.parquet", hive_partitioning=False)
    return {row[:2]: row[2:] for row in rows.group_by("day", "provider").agg(
        pl.col("requests").sum(), pl.col("list_cost_usd").sum()).sort("day", "provider").iter_rows()}


def deliver(scene: Scene, name: str, body: bytes, source: str = "openai") -> None:
    path = scene.folder / "logs" / source / name
    path.write_bytes(body)
    os.utime(path, OLD)


def test_what_a_disk_does_to_a_partition_is_named_and_a_run_makes_it_again(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    path = scene.folder / "lake" / KEY
    assert run(nursery, scene) == 0
    whole = scene.tree()
    for how in ("truncate", "flip", "empty", "delete"):
        hurt(path, how)
        assert do(nursery, scene, "lake", "verify", "--format", "csv") == 4, how
        assert do(nursery, scene, "lake", "verify", "--mend", "--dry-run") == 4, how
        if how == "flip":                       # who does not read every byte does not see it
            code, said = scene.call("lake", "verify", "--mend")
            assert (code, "openai: made again: 2026-09-02" in said) == (0, True), said
        assert run(nursery, scene) == 0
        assert scene.tree() == whole, how
    assert do(nursery, scene, "lake", "verify") == 0


@pytest.mark.parametrize(("first", "last"), some([("03", "03")], [("01", "03"), ("02", "02"), ("01", "01")]))
def test_a_backfill_over_or_beside_a_cut_day_makes_it_again_too(nursery: Nursery, tmp_path: Path, first: str,
                                                               last: str) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    whole = scene.tree()
    hurt(scene.folder / "lake" / KEY, "truncate")
    days = ("--from", f"2026-09-{first}", "--to", f"2026-09-{last}", "--stage", "ingest", "--stage", "spend")
    assert do(nursery, scene, "backfill", *days, "--dry-run") == 0
    assert do(nursery, scene, "backfill", *days) == 0
    assert scene.tree() == whole


@pytest.mark.parametrize("point", some(["after_commit:2"], [
    "after_temp_write:1", "before_commit:2", "after_commit:1", "after_commit:3"]))
@pytest.mark.parametrize("inputs", ["there", "gone"])
def test_a_kill_while_cut_days_are_made_again_ends_in_the_same_bytes(nursery: Nursery, tmp_path: Path, point: str,
                                                                     inputs: str) -> None:
    """Two days are cut; of one the input is there, or gone."""
    scenes = [Scene(tmp_path / name, days=4) for name in ("whole", "hit")]
    for scene in scenes:
        assert run(nursery, scene) == 0
        for key in (KEY, KEY.replace("09-02", "09-04")):
            hurt(scene.folder / "lake" / key, "truncate")
        if inputs == "gone":
            (scene.folder / "logs/openai/2026-09-02.jsonl").unlink()
    whole, hit = scenes
    assert run(nursery, hit, COSTOPS_FAULT=f"{point}:kill") == -signal.SIGKILL
    want = 0 if inputs == "there" else 4        # the month's FOCUS rows are not made without the day
    assert run(nursery, hit) == run(nursery, whole) == want
    ours, theirs = hit.tree(), whole.tree()
    for tree in (ours, theirs):
        tree.pop("lake/_state/.writing", None)  # the mark of a run that did not end well
    assert ours == theirs


def test_a_reader_is_refused_at_a_cut_day_until_it_is_whole_and_never_misses_it(nursery: Nursery,
                                                                               tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    with Readers(scene.folder / "lake") as readers:
        for _ in range(2):
            hurt(scene.folder / "lake" / KEY, "truncate")
            time.sleep(0.5)
            assert run(nursery, scene) == 0
            time.sleep(0.3)
    assert readers.failed
    assert len(readers.seen) == 1, readers.seen


@pytest.mark.parametrize("how", ["truncate", "delete"])
def test_a_day_is_made_again_from_all_of_its_inputs_or_not_at_all(nursery: Nursery, tmp_path: Path, how: str) -> None:
    """Of two inputs one is gone: the sums stand, nothing that is left passes for the whole, late rows do not either."""
    scene = Scene(tmp_path / "w", days=3)
    log = scene.folder / "logs/openai/2026-09-02.jsonl"
    body = log.read_bytes()
    last = body.splitlines(keepends=True)[-1]
    deliver(scene, "more.jsonl", last.replace(b"chatcmpl-", b"chatcmpl-m"))
    assert run(nursery, scene) == 0
    before, path = spent(scene), scene.folder / "lake" / KEY
    whole = {key: held for key, held in scene.tree().items() if key.startswith(("lake/core_charge", "lake/out_"))}
    hurt(path, how)
    log.unlink()
    stages = ("--stage", "ingest", "--stage", "spend")
    code, said = scene.call("run", *stages, "-v")
    assert code == 0
    assert "restore these or the lake's file from a backup" in said
    assert "2026-09-02.jsonl" in said
    assert spent(scene) == before
    assert path.exists() == (how == "truncate")
    code, said = scene.call("lake", "verify", "--format", "csv")
    assert (code, KEY in said) == (4, True)
    # rows of the day from elsewhere: the sums of the day stand, and owe
    twin = (scene.folder / "logs/anthropic/2026-09-02.jsonl").read_bytes().splitlines(keepends=True)[-1]
    deliver(scene, "late.jsonl", twin.replace(b"msg_", b"msg_l"), "anthropic")
    code, said = scene.call("run", *stages, "-v")
    if how == "delete":
        assert (code, "the sums of 1 days stand as they are" in said) == (0, True), said
    else:
        assert code == 4, said
    assert spent(scene) == before
    if how == "delete":                         # late rows of the lost day itself
        deliver(scene, "late.jsonl", last.replace(b"chatcmpl-", b"chatcmpl-l"))
        for name in ("late.jsonl", "later.jsonl"):
            deliver(scene, name, last.replace(b"chatcmpl-", f"chatcmpl-{name[:5]}".encode()))
            assert do(nursery, scene, "run", *stages) == 0
            assert spent(scene) == before
        code, said = scene.call("lake", "verify", "--format", "csv")
        assert (code, "short" in said) == (4, True), said
        for command in (("backfill", *stages), ("reprice",)):
            assert do(nursery, scene, *command, "--from", "2026-09-02", "--to", "2026-09-02") == 0
            assert spent(scene) == before, command
    # the input is found again
    log.write_bytes(body)
    os.utime(log, OLD)
    assert do(nursery, scene, "run", *stages) == 0
    if how == "truncate":
        held = scene.tree()
        assert {key: held.get(key) for key in whole if "core_charge/source=openai" in key} == {
            key: rows for key, rows in whole.items() if "core_charge/source=openai" in key}
    late = {"truncate": 0, "delete": 2}[how]
    assert spent(scene)[date(2026, 9, 2), "openai"][0] == before[date(2026, 9, 2), "openai"][0] + late
    assert do(nursery, scene, "lake", "verify") == 0


@pytest.mark.parametrize("point", some(["after_commit:2"], ["after_commit:1", "after_commit:3", "after_commit:4"]))
def test_a_kill_between_the_batches_of_a_day_loses_none_of_it(nursery: Nursery, tmp_path: Path, point: str) -> None:
    """A lost day whose inputs are read in several batches: it is replaced once for each."""
    whole, hit = (Scene(tmp_path / name, days=3) for name in ("whole", "hit"))
    small = {"TEST_BATCH_FILES": "1"}
    for scene in (whole, hit):
        log = scene.folder / "logs/openai/2026-09-02.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.unlink()
        for number in range(3):
            deliver(scene, f"part-{number}.jsonl", b"".join(lines[number::3]))
        assert run(nursery, scene) == 0
        hurt(scene.folder / "lake" / KEY, "delete")
    assert run(nursery, hit, COSTOPS_FAULT=f"{point}:kill", **small) == -signal.SIGKILL
    assert run(nursery, hit, **small) == run(nursery, whole) == 0
    assert hit.tree() == whole.tree()


def test_an_input_that_was_renamed_makes_a_lost_day_again(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    rows = (scene.folder / "lake" / KEY).read_bytes()
    log = scene.folder / "logs/openai/2026-09-02.jsonl"
    log.rename(log.parent / "renamed.jsonl")
    assert run(nursery, scene) == 0
    hurt(scene.folder / "lake" / KEY, "delete")
    assert run(nursery, scene) == 0
    assert pl.read_parquet(scene.folder / "lake" / KEY).drop("input_id").equals(
        pl.read_parquet(BytesIO(rows)).drop("input_id"))
    assert do(nursery, scene, "lake", "verify") == 0


def test_what_no_run_can_make_again_is_said_to_need_a_backup(nursery: Nursery, tmp_path: Path) -> None:
    """A day of a source that left the configuration; mending touches nothing of it."""
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    text = Path(scene.config).read_text()
    kept = [part for part in text.split("[[sources]]") if 'name = "openai"' not in part]
    Path(scene.config).write_text("[[sources]]".join(kept))
    path = scene.folder / "lake" / KEY
    hurt(path, "flip")
    body = path.read_bytes()
    code, said = scene.call("lake", "verify", "--mend")
    assert (code, "restore it from a backup" in " ".join(said.split())) == (4, True), said
    assert path.read_bytes() == body


def test_lost_days_whose_inputs_are_gone_stay_named_and_stop_nothing(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    path = scene.folder / "lake" / KEY
    path.unlink()
    (scene.folder / "logs/openai/2026-09-02.jsonl").unlink()
    code, said = scene.run("-v")
    assert code == 0
    assert "from a backup" in said
    assert do(nursery, scene, "lake", "verify") == 4


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


@pytest.mark.parametrize("point", some(["after_commit:3"], [
    "after_temp_write:1", "after_commit:1", "after_commit:6", "before_ledger:1"]))
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
