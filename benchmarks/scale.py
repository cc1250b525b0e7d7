"""Ingest over workers (P8), and what a Prefect run costs over the bare stages (P18).

    python benchmarks/scale.py [--days 20] [--rows 100000] [--again 2] [--json]

A source of `--days` files, `--rows` requests each, is read into a new lake: by `cost-ops run` in one process, and by
the same command with one and with two Dask workers on this machine. CPU is user and system of each process of the
tree, less that of the same command over one request ("less the start": interpreter, imports, cluster). The wall
seconds mean something on a quiet machine only; the critical path, the coordinator's CPU and that of the busiest
worker, is the wall time of a machine with a core for each. Sides take turns; the run with the least CPU counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lines
import psutil
from ingest import apart
from told import Row, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.flows.server import Prefect

RUN = ("-m", "costops.flows.command", "run", "-q", "--format", "json", "--stage", "ingest")
TIMED = """
import json, sys, time
from costops.flows.nightly import nightly
from costops.flows.tasks.work import night
call = nightly if sys.argv[1] == "flow" else night
wall, cpu = time.perf_counter(), time.process_time()
call(config="costops.toml", stages=["ingest", "price", "spend"])
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
"""
"""The stages as a flow run or as a plain call, timed behind the imports."""


@dataclass(frozen=True)
class Spent:
    """Seconds: CPU of the command's own process and of each worker, and by the clock."""

    own: float
    workers: tuple[float, ...]
    wall: float

    @property
    def cpu(self) -> float:
        """All processes."""
        return self.own + sum(self.workers)

    @property
    def path(self) -> float:
        """The longest way: the command, then the busiest worker."""
        return self.own + max(self.workers, default=0.0)

    def less(self, start: Spent) -> Spent:
        """Without what the same command takes over nothing."""
        idle = sum(start.workers) / max(len(start.workers), 1)
        return Spent(self.own - start.own, tuple(one - idle for one in self.workers), self.wall - start.wall)


class Home:
    """A workspace that is emptied for each run."""

    def __init__(self, home: Path, server: Prefect) -> None:
        self.home, self.server = home, server
        home.mkdir(parents=True)

    def fresh(self, logs: Path, *, workers: int = 0) -> None:
        """A new lake that holds the price book, over these logs; `workers` asks for so many."""
        shutil.rmtree(self.home / "lake", ignore_errors=True)
        engine = f'[run]\nengine = "dask"\nworkers = {workers}\n' if workers else ""
        for uri in ("nothing/*", f"{logs}/*"):
            (self.home / "costops.toml").write_text(
                f'[workspace]\nlake = "lake"\npublish = ["reports"]\n[[sources]]\nname = "openai"\n'
                f'kind = "openai.requests"\nuri = "{uri}"\n[gates]\nunpriced_share = "1"\nquarantine_share = "1"\n'
                + (engine if uri != "nothing/*" else ""))
            if uri == "nothing/*":
                subprocess.run([sys.executable, *RUN], cwd=self.home, check=True, stdout=subprocess.DEVNULL)

    def run(self, logs: Path, *, workers: int = 0) -> Spent:
        """`cost-ops run` over them, watched until it ends."""
        self.fresh(logs, workers=workers)
        env = {**os.environ, **(self.server.client if workers else {})}
        began = time.perf_counter()
        child = subprocess.Popen([sys.executable, *RUN], cwd=self.home, env=env, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        told: dict[int, tuple[float, bool]] = {}
        watched = psutil.Process(child.pid)
        while child.poll() is None:
            for one in _alive(watched):
                told[one.pid] = (_cpu(one), one.pid == child.pid)
            time.sleep(0.1)
        wall = time.perf_counter() - began
        if child.returncode:
            raise SystemExit(f"exit code {child.returncode}")
        own = sum(cpu for cpu, mine in told.values() if mine)
        others = sorted((cpu for cpu, mine in told.values() if not mine), reverse=True)
        return Spent(own, tuple(others[:workers]), wall)

    def timed(self, logs: Path, kind: str) -> tuple[float, float]:
        """CPU and wall seconds of three stages, called plainly or as a flow."""
        self.fresh(logs)
        done = subprocess.run([sys.executable, "-c", TIMED, kind], cwd=self.home, capture_output=True, text=True,
                              env={**os.environ, **self.server.client}, check=True)
        cpu, wall = json.loads(done.stdout.splitlines()[-1])
        return float(cpu), float(wall)


def _alive(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def spread(home: Home, logs: Path, one_line: Path, rows: int, again: int) -> list[Row]:
    """P8: a process, a worker, two workers."""
    sides = (0, 1, 2)
    start = {side: home.run(one_line, workers=side) for side in sides}
    best = {}
    for _ in range(again):
        for side in sides:
            made = home.run(logs, workers=side).less(start[side])
            best[side] = min(best.get(side, made), made, key=lambda one: one.cpu)
    alone, one, two = (best[side] for side in sides)
    million = 1e6 / rows
    return [
        ("P8", "one worker / two: critical path", ">= 1.6 (1.9)", f"{one.path / two.path:.2f}"),
        ("P8", "one worker / two: wall, less the start", ">= 1.6 (1.9)", f"{one.wall / two.wall:.2f}"),
        ("scale-out", "CPU seconds per million requests: one process; coordinator and two workers", "",
         f"{alone.cpu * million:.2f}; {two.own * million:.2f} + {sum(two.workers) * million:.2f}"),
        ("scale-out", "CPU of two workers and coordinator / one process", "", f"{two.cpu / alone.cpu:.2f}"),
        ("scale-out", "CPU seconds before the first request: one process; with two workers", "",
         f"{start[0].cpu:.1f}; {start[2].cpu:.1f}"),
    ]


def orchestrated(home: Home, logs: Path, again: int) -> list[Row]:
    """P18: ingest, price and spend as a flow run and as a plain call."""
    sides = {"plain": [home.timed(logs, "plain")], "flow": [home.timed(logs, "flow")]}
    for _ in range(again - 1):
        for kind, found in sides.items():
            found.append(home.timed(logs, kind))
    plain, flow = (min(sides[kind]) for kind in ("plain", "flow"))
    return [
        ("P18", "three stages as a flow run / as a plain call: CPU, imports left out", "<= 1.10 (1.03)",
         f"{flow[0] / plain[0]:.2f}"),
        ("P18", "CPU seconds that the flow run adds", "", f"{flow[0] - plain[0]:.1f}"),
        ("P18", "the same, wall", "<= 1.10 (1.03)", f"{flow[1] / plain[1]:.2f}"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--days", type=int, default=20)
    asked.add_argument("--rows", type=int, default=100_000, help="requests of a day")
    asked.add_argument("--again", type=int, default=2, help="runs of each side")
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        apart(lines.write_days, base / "logs", range(given.days), given.rows)
        apart(lines.write_days, base / "one", range(1), 1)
        server = Prefect(base / "server").start()
        try:
            home = Home(base / "home", server)
            found = spread(home, base / "logs", base / "one", given.days * given.rows, given.again)
            found += orchestrated(home, base / "logs", given.again)
        finally:
            server.stop()
    show(found, as_json=given.json)


if __name__ == "__main__":
    main()
