"""Crash and rerun, two at once: on a disk. Numbers are those of `tests.faults.table`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.kills import loop
from tests.faults.scene import DAYS, PATH, STAGES, Nursery, Scene

pytestmark = [pytest.mark.slow]
WORDS = [word for name in STAGES for word in ("--stage", name)]
POINTS = ["after_temp_write:3", "before_commit:1", "before_commit:5", "after_commit:1", "after_commit:4",
          "before_publish:1", "before_publish:2", "after_publish:1", "before_delete:1", "before_ledger:1"]


def run(nursery: Nursery, scene: Scene, call: str = "run", **more: object) -> int:
    env = more.pop("env", {})
    nursery.start(call, {**scene.env, **env}, config=scene.config, stages=STAGES, **more)  # type: ignore[dict-item]
    return nursery.wait()


@pytest.mark.parametrize("store", ["disk", "s3"])
def test_random_kills_end_in_the_same_bytes(store: str) -> None:
    tallies = dict(loop(10, store=store, seed=int(os.environ.get("COSTOPS_SEED", "4")), days=2))
    assert sum(tally.kills for tally in tallies.values()) >= 10
    assert [text for tally in tallies.values() for text in tally.wrong] == []


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_a_named_point_shows_old_or_new_and_the_rerun_is_the_same(
        nursery: Nursery, tmp_path: Path, point: str) -> None:
    whole, hit = Scene(tmp_path / "whole", days=2), Scene(tmp_path / "hit", days=2)
    assert run(nursery, whole) == 0
    code = run(nursery, hit, env={"COSTOPS_FAULT": f"{point}:kill"})
    assert code == -signal.SIGKILL
    assert hit.broken() == []
    assert run(nursery, hit) == 0
    assert hit.tree() == whole.tree()


@pytest.mark.parametrize("point", ["before_commit:30", "before_publish:1"], ids=["in a day", "after all days"])
def test_a_killed_backfill_goes_on_and_finished_days_keep_bytes_and_time(
        nursery: Nursery, tmp_path: Path, point: str) -> None:
    """The report too says what that of a backfill without a kill says. COSTOPS_LONG: sixty days."""
    long = bool(os.environ.get("COSTOPS_LONG"))
    whole, hit = (Scene(tmp_path / name, days=6 if long else 3) for name in ("whole", "hit"))
    days = {"start": "2026-07-09", "end": DAYS[1]} if long else {"start": DAYS[0], "end": "2026-09-03"}
    assert run(nursery, whole, "backfill", **days) == 0
    assert run(nursery, hit, "backfill", **days, env={"COSTOPS_FAULT": f"{point}:kill"}) == -signal.SIGKILL
    stamps = {path: path.stat().st_mtime_ns for path in (hit.folder / "lake/core_charge").rglob("*.parquet")}
    assert stamps
    assert run(nursery, hit, "backfill", **days) == 0
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert hit.tree() == whole.tree()


def test_latest_is_wholly_old_or_wholly_new(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=2)
    latest = scene.folder / "reports/latest"
    assert run(nursery, scene) == 0
    old = {path.name: path.read_bytes() for path in latest.iterdir()}
    text = (scene.folder / "logs/openai/2026-09-01.jsonl").read_text().replace("chatcmpl-", "chatcmpl-n")
    (scene.folder / "logs/openai/more.jsonl").write_text(text)
    assert run(nursery, scene, env={"COSTOPS_FAULT": "before_publish:2:kill"}) == -signal.SIGKILL
    assert {path.name: path.read_bytes() for path in latest.iterdir()} == old
    assert run(nursery, scene) == 0
    new = {path.name: path.read_bytes() for path in latest.iterdir()}
    assert new["report.json"] != old["report.json"]
    for folder in (latest, scene.folder / "reports/nightly/2026-09-07"):
        listed = json.loads((folder / "manifest.json").read_text())["files"]
        assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
                          if path.name != "manifest.json"}
    page = re.sub(r"<script.*?</script>", "", (latest / "report.html").read_text(), flags=re.DOTALL)
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert [link for link in re.findall(r'(?:href|src)="([^"]+)"', page)
            if not link.startswith("data:") and link.removeprefix("#") not in anchors] == [], "every link resolves"
    assert not list((scene.folder / "reports").rglob(".*"))


@pytest.mark.parametrize("signalled", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_130_within_ten_seconds_and_leaves_no_process(
        nursery: Nursery, tmp_path: Path, signalled: signal.Signals) -> None:
    whole, hit = Scene(tmp_path / "whole", days=2), Scene(tmp_path / "hit", days=2)
    child = subprocess.Popen([sys.executable, "-m", "costops.flows.command", "run", *WORDS, "--config", hit.config],
                             env={**hit.env, "COSTOPS_FAULT": "before_commit:4:sleep"}, start_new_session=True,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    assert any("planted pause" in line for line in child.stderr)
    began = time.monotonic()
    child.send_signal(signalled)
    said = child.stderr.read()
    assert child.wait(20) == 130, said
    assert time.monotonic() - began < 10
    assert not [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _session(entry) == child.pid]
    assert run(nursery, hit) == run(nursery, whole) == 0
    assert hit.tree() == whole.tree()


def _session(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
    except (OSError, IndexError):
        return None


@contextmanager
def small_disk(folder: Path, size: str, options: str = "") -> Iterator[Path]:
    """A file system of its own; needs the right to mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", folder],
                                      check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_named_and_after_freeing_space_the_rerun_is_the_same(nursery: Nursery, tmp_path: Path) -> None:
    whole = Scene(tmp_path / "whole", days=3)
    hit = Scene(tmp_path / "hit", days=3)
    assert run(nursery, whole) == 0
    with small_disk(hit.folder / "lake", "4m"):
        ballast = hit.folder / "lake/ballast"
        room = os.statvfs(ballast.parent)
        ballast.write_bytes(b"x" * (room.f_bavail * room.f_frsize - 80_000))
        child = hit.start("run", *WORDS)
        said = child.communicate(timeout=120)[1]
        assert child.returncode in (3, 4)
        assert "No space left" in said
        assert str(hit.folder / "lake") in said
        assert "Traceback" not in said
        assert hit.broken() == []
        ballast.unlink()
        assert run(nursery, hit) == 0
        assert hit.tree() == whole.tree()


def test_a_read_only_lake_is_4_in_one_line(nursery: Nursery, tmp_path: Path) -> None:
    hit = Scene(tmp_path / "hit", days=1)
    with small_disk(hit.folder / "lake", "5m"):
        assert run(nursery, hit) == 0
        before = hit.tree()
        subprocess.run(["mount", "-o", "remount,ro", hit.folder / "lake"], check=True)
        (hit.folder / "logs/openai/new.jsonl").write_text(
            (hit.folder / "logs/openai/2026-09-01.jsonl").read_text().replace("chatcmpl-", "chatcmpl-q"))
        code, said = hit.run()
        assert code == 4
        assert "Read-only" in said
        assert "Traceback" not in said
        assert hit.tree() == before


def test_two_runs_at_once_end_as_one(nursery: Nursery, tmp_path: Path) -> None:
    whole, hit = Scene(tmp_path / "whole", days=2), Scene(tmp_path / "hit", days=2)
    first = nursery.start("run", {**hit.env, "COSTOPS_FAULT": "before_commit:3:stop"}, config=hit.config, stages=STAGES)
    until_stopped(first)
    code, said = hit.run()
    assert code == 4
    assert "another run is writing" in said
    waiting = hit.start("run", *WORDS, env={"COSTOPS_LOCK_WAIT": "60"})
    time.sleep(1)
    os.kill(first, signal.SIGCONT)
    assert nursery.wait() == 0
    assert waiting.wait(60) == 0
    assert run(nursery, whole) == 0
    assert hit.tree() == whole.tree()


def until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_hash_seeds_and_threads_change_no_byte(tmp_path: Path) -> None:
    made = []
    for number, env in enumerate(({"PYTHONHASHSEED": "1", "POLARS_MAX_THREADS": "1"},
                                  {"PYTHONHASHSEED": "77", "POLARS_MAX_THREADS": "8"})):
        scene = Scene(tmp_path / f"w{number}", days=2)
        code, said = scene.run(env=env)
        assert code == 0, said
        made.append(scene.tree())
    assert made[0] == made[1]


def test_five_missed_nights_are_all_made_by_the_next(nursery: Nursery, tmp_path: Path) -> None:
    whole, late = Scene(tmp_path / "whole"), Scene(tmp_path / "late")
    held = [path for path in late.folder.glob("logs/*/*.jsonl") if path.name > "2026-09-01.jsonl"]
    for path in held:
        path.rename(path.with_suffix(".later"))
    assert run(nursery, late, env={"COSTOPS_NOW": "2026-09-02T06:00:00+00:00"}) == 0
    for path in held:
        path.with_suffix(".later").rename(path)
    assert run(nursery, late) == run(nursery, whole) == 0
    ignored = {key for key in late.tree() if "2026-09-02/" in key and key.startswith("reports/nightly")}
    assert {key: body for key, body in late.tree().items() if key not in ignored | {"lake/core_price/part-0.parquet"}
            } == {key: body for key, body in whole.tree().items() if key != "lake/core_price/part-0.parquet"}


def test_a_report_store_that_is_down_leaves_the_lake_whole_and_publish_alone_mends_it(
        nursery: Nursery, tmp_path: Path) -> None:
    whole, hit = Scene(tmp_path / "whole", days=1), Scene(tmp_path / "hit", days=1)
    (hit.folder / "reports").write_text("a file where a folder should be")
    assert run(nursery, hit) == 3
    (hit.folder / "reports").unlink()
    nursery.start("run", hit.env, config=hit.config, stages=["publish"])
    assert nursery.wait() == 0
    assert run(nursery, hit) == run(nursery, whole) == 0
    assert hit.tree() == whole.tree()


def test_a_rerun_without_anything_new_touches_nothing(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w")
    began = time.monotonic()
    assert run(nursery, scene) == 0
    first = time.monotonic() - began
    stamps = {path: path.stat().st_mtime_ns for name in ("lake", "reports")
              for path in (scene.folder / name).rglob("*") if path.is_file()}
    began = time.monotonic()
    assert run(nursery, scene) == 0
    again = time.monotonic() - began
    assert {path: path.stat().st_mtime_ns for name in ("lake", "reports")
            for path in (scene.folder / name).rglob("*") if path.is_file()} == stamps
    assert again < first


@pytest.mark.parametrize("days", [int(os.environ.get("COSTOPS_DAYS", "40"))])
def test_a_long_backfill_is_flat_in_memory(tmp_path: Path, days: int) -> None:
    """Peak memory at the last day against that at day 20; COSTOPS_DAYS=400 is the long form."""
    scene = Scene(tmp_path / "w", days=0)
    make_days(scene, days)
    code = (
        "import resource, sys\n"
        "from datetime import date, timedelta\n"
        "from costops.flows.backfill import backfill\n"
        "from costops.flows.tasks import show\n"
        "marks = {}\n"
        "def at(self, done, total):\n"
        "    marks[done] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "show.Progress.at = at\n"
        f"first = date(2025, 6, 1); last = first + timedelta(days={days - 1})\n"
        f"backfill.fn(days=dict(start=first, end=last), config={scene.config!r}, stages=['ingest', 'price', 'spend'])\n"
        f"print(marks[20], marks[{days}])\n")
    done = subprocess.run([sys.executable, "-c", code], env={**scene.env, "PYTHONPATH": PATH}, check=True,
                          capture_output=True, text=True, timeout=1200 + 10 * days)
    early, late = map(int, done.stdout.split()[-2:])
    print(f"{early} kB at day 20, {late} kB at day {days}: {late / early:.3f}")
    assert late <= 1.2 * early, f"{early} kB at day 20, {late} kB at day {days}"


def make_days(scene: Scene, days: int) -> None:
    """One log of 60 requests a day."""
    from datetime import UTC, datetime, timedelta

    folder = scene.folder / "logs/openai"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number in range(days):
        start = datetime(2025, 6, 1, tzinfo=UTC) + timedelta(days=number)
        rows = [{"id": f"chatcmpl-{number}-{n}", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
                 "created": int(start.timestamp()) + n * 1400, "service_tier": "default",
                 "usage": {"prompt_tokens": 100 + n, "completion_tokens": 10 + n, "total_tokens": 110 + 2 * n}}
                for n in range(60)]
        (folder / f"{start:%Y-%m-%d}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
