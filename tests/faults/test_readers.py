"""Programs that read the lake in a loop while it is written: rebuilds, compaction, retention."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from costops.flows.commands import data
from costops.flows.commands.data import answer, views
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import Folder
from costops.transforms import query as duck
from costops.transforms.errors import CostopsError
from tests.faults.scene import OLD, Nursery, Scene
from tests.faults.test_crashes import WORDS, run, until_stopped

pytestmark = [pytest.mark.slow]


class Readers:
    """Programs that count a lake's charges in a loop: `cost-ops query`, a plain DuckDB, and one that opens a file once.

    DuckDB opens a file several times, to plan and to scan, and cannot be told otherwise: where the file is replaced in
    between a plain query is refused, and answered when it is asked again. `cost-ops query`, which is DuckDB too, does that
    by itself; who opens a file once is never refused.
    """

    def __init__(self, lake: Path, folder: str = "core_charge") -> None:
        self.seen: set[tuple[int, object]] = set()
        self.asked, self.plain, self.changes, self.looked = 0, 0, 0, 0
        self.failed: list[str] = []
        self.refused: list[str] = []
        self.broken: list[str] = []
        sums = "SELECT count(*) AS rows, sum(list_cost_usd) AS cost FROM"
        self._query = f"{sums} read_parquet('{lake}/{folder}/**/*.parquet', hive_partitioning = true)"
        self._ours = f"{sums} core_charge" + (f" WHERE source = '{folder.split('=')[1]}'" if "=" in folder else "")
        self._lake, self._root = lake, lake / folder
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=look) for look in (self._asks, self._duck, self._once)]

    def _asks(self) -> None:
        last = None
        with tempfile.TemporaryDirectory() as scratch:
            lake = Lake(Folder(self._lake), Path(scratch))
            while not self._stop.wait(0.02):
                self.asked += 1
                try:
                    found = answer(lake, self._ours).row(0)
                except CostopsError as error:
                    self.failed.append(str(error))
                    continue
                self.changes += last not in (None, found)
                last = found
                self.seen.add(found)

    def _duck(self) -> None:
        reader = duckdb.connect(config={"threads": 1})
        while not self._stop.wait(0.02):
            self.plain += 1
            try:
                self.seen.update(reader.execute(self._query).fetchall())
            except duckdb.Error as error:
                self.refused.append(str(error).splitlines()[0])

    def _once(self) -> None:
        while not self._stop.wait(0.02):
            try:
                rows, cost = 0, Decimal(0)
                for path in self._root.rglob("*.parquet"):
                    with path.open("rb") as handle:
                        column = pq.read_table(handle, columns=["list_cost_usd"])["list_cost_usd"]
                    rows, cost = rows + len(column), cost + (pc.sum(column).as_py() or 0)
                self.seen.add((rows, cost))
                self.looked += 1
            except (pa.ArrowException, OSError) as error:
                self.broken.append(str(error))

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_reader_sees_only_old_or_new(nursery: Nursery, tmp_path: Path) -> None:
    """One day of one source is rebuilt from one set of logs to the other and back, as often as the time allows."""
    seconds = float(os.environ.get("COSTOPS_READER_SECONDS", "8"))
    scene = Scene(tmp_path / "w", days=1)
    for source in ("anthropic", "litellm"):
        (scene.folder / f"logs/{source}/2026-09-01.jsonl").unlink()
    log = scene.folder / "logs/openai/2026-09-01.jsonl"
    small = log.read_bytes()
    large = small + small.replace(b"chatcmpl-", b"chatcmpl-b")
    rebuilt = 0
    assert rebuild(nursery, scene) == 0
    with Readers(scene.folder / "lake", "core_charge/source=openai") as readers:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rebuilt += 1
            log.write_bytes(large if rebuilt % 2 else small)
            assert rebuild(nursery, scene) == 0
    print(f"{rebuilt} rebuilds; {readers.asked} times cost-ops query, {len(readers.failed)} failed; {readers.plain} plain "
          f"DuckDB queries, {len(readers.refused)} refused; {readers.looked} looks that open a file once, "
          f"{len(readers.broken)} failed; {len(readers.seen)} figures seen, {readers.changes} changes between them")
    print(*sorted(set(readers.refused)), sep="\n")
    assert rebuilt >= 2
    assert len(readers.seen) == 2, readers.seen
    assert readers.failed == readers.broken == []
    assert readers.asked > rebuilt
    assert readers.changes >= 1
    assert len(readers.refused) <= rebuilt * 2 < readers.plain


@pytest.mark.parametrize("times", [4, 5])
def test_a_query_is_asked_again_where_a_file_was_replaced_and_not_for_ever(tmp_path: Path, times: int,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    lake, asked = Lake(Folder(tmp_path / "lake"), tmp_path / "scratch"), 0

    def moved(lake: Lake) -> duckdb.DuckDBPyConnection:
        nonlocal asked
        asked += 1
        if asked <= times:
            raise duck.Moved("the query was refused: Prefetch registered for bytes outside file")
        return views(lake)

    monkeypatch.setattr(data, "views", moved)
    with nullcontext() if times < 5 else pytest.raises(duck.Moved):
        assert answer(lake, "SELECT count(*) AS rows FROM core_charge").item() == 0
    assert asked == 5


def rebuild(nursery: Nursery, scene: Scene) -> int:
    """What of a run writes the partitions that the readers look at."""
    nursery.start("run", scene.env, config=scene.config, stages=["ingest", "spend"])
    return nursery.wait()


def test_a_reader_notices_nothing_of_compact(nursery: Nursery, tmp_path: Path) -> None:
    scene = Scene(tmp_path / "w", days=3)
    assert run(nursery, scene) == 0
    for path in (scene.folder / "lake/core_charge").rglob("*.parquet"):
        rows = pl.read_parquet(path, hive_partitioning=False)
        path.unlink()
        rows.write_parquet(path, row_group_size=4)
    with Readers(scene.folder / "lake") as readers:
        child = scene.start("lake", "compact")
        said = child.communicate()
    assert child.returncode == 0, said
    assert len(readers.seen) == 1
    assert readers.failed == readers.broken == []
    assert len(readers.refused) <= len(list((scene.folder / "lake/core_charge").rglob("*.parquet")))


def test_compact_and_retain_wait_for_a_run_and_readers_notice_nothing(nursery: Nursery, tmp_path: Path) -> None:
    whole, scene = Scene(tmp_path / "whole", days=2), Scene(tmp_path / "w", days=2)
    assert run(nursery, scene) == run(nursery, whole) == 0
    for place in (scene, whole):
        log = place.folder / "logs/openai/2026-09-01.jsonl"
        more = log.parent / "2026-09-03.jsonl"
        more.write_bytes(log.read_bytes().replace(b"chatcmpl-", b"chatcmpl-c"))
        os.utime(more, OLD)
    with Readers(scene.folder / "lake") as readers:
        writer = nursery.start("command", {**scene.env, "COSTOPS_FAULT": "before_commit:3:stop"}, words=[
            "run", *WORDS, "--config", scene.config, "-q"])
        until_stopped(writer)
        waiting = [scene.start("lake", action, env={"COSTOPS_LOCK_WAIT": "60"}) for action in ("compact", "retain")]
        os.kill(writer, signal.SIGCONT)
        assert nursery.wait() == 0
        assert [child.wait(60) for child in waiting] == [0, 0]
    assert readers.failed == readers.broken == []
    assert len(readers.seen) <= 2, "old or new"
    assert run(nursery, whole) == 0
    assert scene.tree() == whole.tree()
