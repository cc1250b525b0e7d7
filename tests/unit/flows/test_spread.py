"""Ingest cut into shares: however inputs and days are cut, the lake's bytes are those of a run in one process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from costops.flows.backfill import backfill
from costops.flows.runtime.engine import Engine
from costops.flows.tasks import spread
from costops.flows.tasks.plan import blocks
from costops.flows.tasks.work import night
from costops.transforms.errors import Unreachable
from costops.transforms.window import Window
from tests.faults.scene import NOW, SAMPLES, Scene

STAGES = ["ingest", "price", "spend"]
Make = Callable[..., Scene]


@dataclass
class Answer:
    value: Any

    def result(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@dataclass
class Inline:
    """A pool that does each job at once; jobs and answers travel as between machines."""

    workers: int
    broken: str = ""

    def submit(self, function: Callable[[Any], Any], job: Any, *, name: str) -> Answer:
        if self.broken and name.startswith(self.broken):
            return Answer(Unreachable(f"{name}: gone."))
        return Answer(pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(job))))))  # noqa: S301


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("COSTOPS_NOW", NOW)
    monkeypatch.setattr(spread, "in_flow", lambda: True)

    def scene(name: str, workers: int = 0, broken: str = "") -> Scene:
        @contextmanager
        def pool(_engine: Engine) -> Iterator[Inline]:
            yield Inline(workers, broken)

        monkeypatch.setattr(spread, "open_pool", pool)
        return Scene(tmp_path / name, days=4, extra=f'[run]\nengine = "dask"\nworkers = {workers}\n' if workers else "")

    return scene


def deliver_more(scene: Scene) -> None:
    """Two more days, with records of earlier ones; an earlier file with a record less, some late ones and a bad line."""
    logs = scene.folder / "logs" / "openai"
    day = {number: (SAMPLES / "openai/requests" / f"2026-09-0{number}.jsonl").read_text().splitlines()
           for number in range(1, 7)}
    for number in (5, 6):
        (logs / f"2026-09-0{number}.jsonl").write_text("\n".join([*day[number], *day[2][:4], day[number - 1][0]]) + "\n")
    (logs / "2026-09-03.jsonl").write_text("\n".join([*day[3][1:], *day[1][:3], day[3][5], "no json"]) + "\n")


def test_a_run_cut_into_shares_leaves_the_bytes_of_one_process(make: Make) -> None:
    trees = []
    for scene in (make("alone"), make("spread", 3)):
        for deliver in (None, deliver_more):
            if deliver:
                deliver(scene)
            night(config=scene.config, stages=STAGES)
        tree = scene.tree()
        trees.append({key: body for key, body in tree.items() if not key.startswith("lake/_state/hints/")})
    assert trees[0] == trees[1]
    assert any(key.startswith("lake/core_finding/day=2026-09-03") for key in trees[0])


def test_a_backfill_of_blocks_of_days_leaves_the_bytes_of_one_day_by_day(make: Make) -> None:
    trees = []
    for scene in (make("alone"), make("spread", 2)):
        night(config=scene.config, stages=STAGES)
        deliver_more(scene)
        backfill.fn(days={"start": "2026-09-02", "end": "2026-09-06"}, stages=STAGES, config=scene.config)  # type: ignore[arg-type]
        trees.append({key: body for key, body in scene.tree().items() if not key.startswith("lake/_state/hints/")})
    assert trees[0] == trees[1]


def test_a_source_whose_workers_fail_is_named_and_the_others_go_on(make: Make) -> None:
    scene = make("broken", 2, broken="read anthropic")
    outcome = night(config=scene.config, stages=STAGES)
    assert outcome.exit_code == 3
    assert outcome.unreachable == ("anthropic: read anthropic, part 0: gone.",)
    kept = {key.split("/")[2] for key in scene.tree() if key.startswith("lake/core_charge/")}
    assert kept == {"source=openai", "source=litellm"}


def test_what_workers_left_is_gone_after_the_run(make: Make) -> None:
    scene = make("tidy", 2)
    left = scene.folder / "lake" / "_state" / "share" / "of-a-killed-run" / "read-0.part"
    left.parent.mkdir(parents=True)
    left.touch()
    night(config=scene.config, stages=STAGES)
    assert not [key for key in scene.tree() if "_state/share" in key]


def test_days_that_are_done_cut_a_block_and_without_workers_each_day_is_one() -> None:
    days = Window.of_days(*map(date.fromisoformat, ("2026-09-01", "2026-09-07")))
    assert days is not None
    cut = [str(one) for one in blocks(days, {date.fromisoformat("2026-09-03")}, Engine(engine="ray", workers=1))]
    assert cut == ["2026-09-01 to 2026-09-02", "2026-09-04 to 2026-09-05", "2026-09-06 to 2026-09-07"]
    assert len(blocks(days, set(), Engine())) == 7
