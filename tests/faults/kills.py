"""SIGKILL at random moments, again and again; the lake and the reports must come out the same, byte for byte.

    python -m tests.faults.kills --kills 200            disk and S3; run, backfill, publish and close in turn
    python -m tests.faults.kills --kills 20 --store disk --jobs close

Each cycle: a fresh workspace, the job started and killed once to four times at random moments, what a reader would
find looked at after every kill, the job done undisturbed, the digest compared with that of a run never disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.scene import DAYS, STAGES, Nursery, Scene, scenes

JOBS = ("run", "backfill", "publish", "close")
MONTH_LATER = "2026-10-10T06:00:00+00:00"


@dataclass
class Tally:
    """What was seen."""

    kills: int = 0
    cycles: int = 0
    late: int = 0
    wrong: list[str] = field(default_factory=list)


class Killer:
    """Kills one job on one store."""

    def __init__(self, scene: Scene, nursery: Nursery, job: str, dice: random.Random, days: int) -> None:
        self.scene, self.nursery, self.job, self.dice, self.days = scene, nursery, job, dice, days
        self.tally = Tally()
        self.scene.clear()
        self.prepare()
        began = time.monotonic()
        self.whole()
        self.seconds = time.monotonic() - began
        self.expected = scene.tree()

    def prepare(self) -> None:
        """What stands before the job: nothing; for `publish` and `close` a lake without reports."""
        if self.job in ("publish", "close"):
            self.nursery.start("run", self.scene.env, config=self.scene.config, stages=STAGES[:-1])
            assert self.nursery.wait() == 0

    def start(self) -> int:
        env = self.scene.env
        if self.job == "backfill":
            return self.nursery.start("backfill", env, config=self.scene.config, start=DAYS[0],
                                      end=f"{DAYS[0][:8]}{self.days:02d}", stages=STAGES)
        if self.job == "close":
            words = ["close", "--month", DAYS[0][:7], "--by", "A. Controller", "--config", self.scene.config]
            return self.nursery.start("command", {**env, "COSTOPS_NOW": MONTH_LATER}, words=words)
        return self.nursery.start("run", env, config=self.scene.config, stages=STAGES)

    def whole(self) -> None:
        self.start()
        code = self.nursery.wait()
        if code not in ((0, 1) if self.job == "close" else (0,)):       # 1: the bill's gap is beyond the gate
            self.tally.wrong.append(f"{self.job}: an undisturbed run ended with {code}")

    def cycle(self) -> None:
        """One workspace, killed and completed."""
        self.scene.clear()
        self.prepare()
        for _ in range(self.dice.randint(1, 4)):
            pid = self.start()
            time.sleep(self.dice.uniform(0, self.seconds))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            if self.nursery.wait() == -signal.SIGKILL:
                self.tally.kills += 1
                self.seconds *= 1.05            # a machine that others use is slower now, faster then
            else:
                self.tally.late += 1
                self.seconds *= 0.8
            self.tally.wrong += self.scene.broken()
        self.whole()
        self.tally.cycles += 1
        found = self.scene.tree()
        for key in sorted({*found, *self.expected}):
            if found.get(key) != self.expected.get(key):
                self.tally.wrong.append(f"{self.job} cycle {self.tally.cycles}: {key} is " + (
                    "missing" if key not in found else "there" if key not in self.expected else "different"))


def loop(kills: int, *, store: str, seed: int, jobs: Sequence[str] = JOBS, days: int = 6
         ) -> Iterator[tuple[str, Tally]]:
    """So many kills in all, shared out over the jobs; each job's tally when it is done."""
    dice = random.Random(seed)
    with scenes(len(jobs), s3=store == "s3", days=days, bill=True) as made:
        nursery = Nursery({"POLARS_MAX_THREADS": "2"})
        try:
            for scene, job in zip(made, jobs, strict=True):
                killer = Killer(scene, nursery, job, dice, days)
                while killer.tally.kills < -(-kills // len(jobs)):
                    killer.cycle()
                yield job, killer.tally
        finally:
            nursery.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--store", choices=["disk", "s3", "both"], default="both")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--days", type=int, default=6, help="of logs in each workspace")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    stores = ("disk", "s3") if given.store == "both" else (given.store,)
    bad = kills = 0
    print(f"seed {given.seed}", flush=True)
    for store in stores:
        for job, tally in loop(given.kills // len(stores), store=store, seed=given.seed, jobs=given.jobs,
                               days=given.days):
            print(f"{store:5} {job:9} {tally.kills:4} kills in {tally.cycles:3} cycles ({tally.late} came too late), "
                  f"{len(tally.wrong)} differences", flush=True)
            for text in tally.wrong[:10]:
                print("      " + text)
            bad += len(tally.wrong)
            kills += tally.kills
    print(f"{kills} kills, {bad} differences from the undisturbed runs")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
