"""Two writers at once on one lake in a bucket, one of them killed at a random moment: one winner, the same bytes.

    python -m tests.faults.rivals --kills 20

Each round: a fresh lake in a bucket that keeps every version; two runs start together; one is killed with SIGKILL
after a random time. The other ends with 0, or with 4 where it was refused. A last run completes what is missing. Then
every partition has been committed once, by whoever, and the digest is that of a run alone.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.faults.kills import Tally
from tests.faults.s3 import S3
from tests.faults.scene import STAGES, Nursery, Scene

ENDS = (0, 4, -signal.SIGKILL)


def rivals(kills: int, *, seed: int, days: int = 2) -> Tally:
    """So many kills; what was wrong."""
    dice, tally = random.Random(seed), Tally()
    folder = Path(tempfile.mkdtemp(prefix="costops-rivals-"))
    server = S3().start()
    store, nurseries = server.with_versions(), [Nursery({"POLARS_MAX_THREADS": "2"}) for _ in range(2)]
    try:
        alone = Scene(folder / "alone", s3=store, days=days)
        began = time.monotonic()
        _run(nurseries[0], alone)
        seconds, expected = time.monotonic() - began, alone.tree()
        while tally.kills < kills:
            scene, late = Scene(folder / f"r{tally.cycles}", s3=store, days=days), tally.late
            _round(scene, nurseries, dice, seconds, tally)
            seconds *= 0.8 if tally.late > late else 1.05       # a machine that others use is slower now, faster then
            tally.wrong += [f"round {tally.cycles}: {text}" for text in _differences(scene, store, expected)]
            tally.cycles += 1
    finally:
        for nursery in nurseries:
            nursery.close()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return tally


def _run(nursery: Nursery, scene: Scene) -> int:
    nursery.start("run", scene.env, config=scene.config, stages=STAGES)
    return nursery.wait()


def _round(scene: Scene, nurseries: list[Nursery], dice: random.Random, seconds: float, tally: Tally) -> None:
    waits = dice.choice([("0", "0"), ("120", "120"), ("0", "120")])
    pids = [nursery.start("run", {**scene.env, "COSTOPS_LOCK_WAIT": wait}, config=scene.config, stages=STAGES)
            for nursery, wait in zip(nurseries, waits, strict=True)]
    time.sleep(dice.uniform(0, 1.5 * seconds))
    with suppress(ProcessLookupError):
        os.kill(dice.choice(pids), signal.SIGKILL)
    codes = [nursery.wait() for nursery in nurseries]
    killed = codes.count(-signal.SIGKILL)
    tally.kills, tally.late = tally.kills + killed, tally.late + (not killed)
    tally.wrong += [f"round {tally.cycles}: a writer ended with {code}" for code in codes if code not in ENDS]
    tally.wrong += scene.broken()
    if (last := _run(nurseries[0], scene)) != 0:
        tally.wrong.append(f"round {tally.cycles}: the last run ended with {last}")


def _differences(scene: Scene, store: S3, expected: dict[str, bytes]) -> list[str]:
    found = scene.tree()
    wrong = [f"{key} differs" for key in sorted({*found, *expected}) if found.get(key) != expected.get(key)]
    times: Counter[str] = store.versions(scene.prefix)
    return wrong + [f"{key} was committed {count} times" for key, count in times.items()
                    if key.startswith(("lake/core_charge/", "lake/out_spend")) and count != 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    tally = rivals(given.kills, seed=given.seed)
    print(f"seed {given.seed}: {tally.kills} kills in {tally.cycles} rounds of two writers ({tally.late} came too late), "
          f"{len(tally.wrong)} differences")
    for text in tally.wrong[:20]:
        print("      " + text)
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
