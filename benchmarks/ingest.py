"""Ingest against its goals: the rows P9, P10, P14 and P15, memory, small days, and a lake of a year against one of a week.

    python benchmarks/ingest.py [--rows 1000000] [--many 5000000] [--hostile] [--json]

Each figure is of whole commands in processes of their own: CPU is user and system of the process, less that of the
same command over an empty input ("less the start"); sides of a ratio take turns and the least of three counts.
`--hostile` adds a line of 2 GB and a gzip bomb (it writes 2 GB of scratch).
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import duckdb
import lines
import polars as pl
import pyarrow.parquet as pq
from told import Row, show

from costops.flows.runtime import parquet
from costops.transforms.tables import CORE_CHARGE

P = ParamSpec("P")
R = TypeVar("R")
RUN = ("-m", "costops.flows.command", "run", "-q", "--format", "json", "--stage", "ingest")
PLAIN = """COPY (SELECT id, created, model, service_tier, usage.prompt_tokens, usage.completion_tokens,
    usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens, metadata.team
FROM read_json('{file}', format = 'newline_delimited', columns = {{id: 'VARCHAR', created: 'BIGINT', model: 'VARCHAR',
    service_tier: 'VARCHAR', usage: 'STRUCT(prompt_tokens BIGINT, completion_tokens BIGINT,
    prompt_tokens_details STRUCT(cached_tokens BIGINT), completion_tokens_details STRUCT(reasoning_tokens BIGINT))',
    metadata: 'STRUCT(team VARCHAR)'}})) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"""
"""Nine columns, nothing checked, nothing priced, nothing sorted: what the machine gives today."""

UNPRICED = """
import sys
from costops.flows.command import main
from costops.flows.tasks.pricer import Pricer
Pricer._costs = lambda self, rows: {name: made.column(name) for made in [self._asked(
    "SELECT _row, 0::BIGINT AS input_tokens, 'unpriced' AS price_status, true AS counted FROM chunk", rows)]
    for name in made.column_names}
sys.exit(main(sys.argv[1:]))
"""
"""The same run with the price look-up and every cost left out."""


def apart(function: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    """Call in a process of its own: a child's peak memory starts at that of its parent, which must stay small."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *given, **named).result()


@dataclass(frozen=True)
class Used:
    """What a process took: CPU and wall seconds, peak MB."""

    cpu: float
    wall: float
    peak: float


def used(*command: str, cwd: Path) -> Used:
    """Run Python on something and account for it; a failure is an error here."""
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)[:200]}: exit code {child.returncode}")
    return Used(usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6)


class Workspace:
    """A folder with a configuration and logs, and a lake with the price book in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "logs").mkdir(parents=True)
        (home / "costops.toml").write_text(
            '[workspace]\nlake = "lake"\npublish = ["reports"]\n[[sources]]\nname = "openai"\n'
            'kind = "openai.requests"\nuri = "logs/*"\n[gates]\nunpriced_share = "1"\nquarantine_share = "1"\n')
        (home / "logs" / "empty.jsonl").touch()
        used(*RUN, cwd=home)

    def run(self, *more: str) -> Used:
        """One run over what is new."""
        return used(*RUN, *more, cwd=self.home)

    def again(self, *files: Path, code: str | None = None) -> Used:
        """One run over these files in a lake that holds nothing of them."""
        shutil.rmtree(self.home / "lake" / "core_charge", ignore_errors=True)
        shutil.rmtree(self.home / "lake" / "core_input", ignore_errors=True)
        shutil.rmtree(self.home / "logs")
        (self.home / "logs").mkdir()
        for file in files:
            os.link(file, self.home / "logs" / file.name)
        return used("-c", code, *RUN[2:], cwd=self.home) if code else self.run()

    def charges(self) -> list[Path]:
        """The partitions."""
        return sorted((self.home / "lake").glob("core_charge/**/*.parquet"))


def least(*sides: Callable[[], Used], times: int = 3) -> list[Used]:
    """Sides in turn; the run with the least CPU of each."""
    found = [[one() for one in sides] for _ in range(times)]
    return [min(runs, key=lambda run: run.cpu) for runs in zip(*found, strict=True)]


def throughput(home: Path, rows: int) -> tuple[list[Row], Workspace]:
    """P9, P10, P14 and memory, on one file of one day."""
    file = apart(lines.write, home / "lines.jsonl", rows)
    empty = home / "nothing.jsonl"
    empty.touch()
    space = Workspace(home / "one")
    plain = ("-c", f"import duckdb; con = duckdb.connect(); con.execute('SET threads = 2'); con.execute('''"
                   f"{PLAIN.format(file=file, target=home / 'plain.parquet')}''')")
    idle = ("-c", "import duckdb; duckdb.connect().execute('SELECT 1')")
    start, unpriced, bare, floor, priced = least(
        lambda: space.again(empty), lambda: space.again(file, code=UNPRICED), lambda: used(*plain, cwd=home),
        lambda: used(*idle, cwd=home), lambda: space.again(file))
    cost, without, control = priced.cpu - start.cpu, unpriced.cpu - start.cpu, bare.cpu - floor.cpu
    stored = sum(path.stat().st_size for path in space.charges())
    return [
        ("P9", f"rows per CPU second, {rows:,} request lines to priced Parquet, less the start", ">= 300,000",
         f"{rows / cost:,.0f}"),
        ("P9", "CPU of it / DuckDB's plain JSONL to Parquet of 9 columns, unsorted and unchecked", "",
         f"{cost / control:.2f} ({cost / rows * 1e6:.2f} / {control / rows * 1e6:.2f} us a row)"),
        ("P10", "CPU with pricing / without", "<= 1.35 (1.15)", f"{cost / without:.2f}"),
        ("P14", "stored bytes a row / the same rows as JSONL", "<= 0.065 (0.055)",
         f"{stored / file.stat().st_size:.4f} ({stored / rows:.1f} B)"),
        ("memory", f"peak MB, one file of {rows:,} lines ({file.stat().st_size / 1e6:,.0f} MB)", "< 600",
         f"{priced.peak:.0f}"),
    ], space


def clustering(path: Path, home: Path) -> list[Row]:
    """P15: one team's cost on the partition as it lies, and on the same rows in order of time."""
    other = home / "by-time.parquet"
    frame = pl.read_parquet(path, hive_partitioning=False).sort("used_at", "record_id")
    with parquet.Writer(other, CORE_CHARGE) as out:
        out.add(frame.to_arrow())
    con = duckdb.connect()

    def asked(file: Path) -> float:
        began = time.process_time()
        for number in range(20):
            con.execute(f"SELECT model_id, sum(list_cost_usd), sum(output_tokens), count(*) FROM read_parquet('{file}') "
                        f"WHERE team = 'team-{number:02}' GROUP BY ALL").fetchall()
        return time.process_time() - began

    times = [(asked(path), asked(other)) for _ in range(5)]
    ratio = min(one for one, _ in times) / min(two for _, two in times)
    return [("P15", "one team's question, CPU: clustered file / the same rows by time", "<= 0.4 (0.25)", f"{ratio:.2f}")]


def flat(home: Path, rows: int) -> list[Row]:
    """Memory over a file five times as long."""
    file = apart(lines.write, home / "many.jsonl", rows)
    found = Workspace(home / "many").again(file)
    size = file.stat().st_size
    file.unlink()
    return [("memory", f"peak MB, one file of {rows:,} lines ({size / 1e6:,.0f} MB)", "< 600", f"{found.peak:.0f}")]


def history(home: Path, count: int) -> list[Row]:
    """A night with one new day, in a lake of a year and in one of a week; a night with nothing new; small days."""
    stages = ("--stage", "price", "--stage", "spend")
    spaces = {}
    rows: list[Row] = []
    for name, days in (("week", 7), ("year", 365)):
        space = spaces[name] = Workspace(home / name)
        start = space.run(*stages)
        apart(lines.write_days, space.home / "logs", range(days), count)
        built = space.run(*stages)
        if name == "year":
            rows.append(("small days", f"CPU ms a day of {count:,} lines, ingest and rollups", "",
                         f"{(built.cpu - start.cpu) / days * 1e3:.1f}"))
    nights: dict[str, list[Used]] = {"week": [], "year": []}
    for night in range(3):
        for name, days in (("week", 7), ("year", 365)):
            apart(lines.write_days, spaces[name].home / "logs", [days + night], count)
            nights[name].append(spaces[name].run(*stages))
    week, year = (min(nights[name], key=lambda one: one.cpu) for name in ("week", "year"))
    still = spaces["year"].run(*stages)
    whole = used("-m", "costops.flows.command", "run", "-q", cwd=spaces["week"].home)
    again = used("-m", "costops.flows.command", "run", "-q", cwd=spaces["week"].home)
    help_ = used("-m", "costops.flows.command", "--help", cwd=home)
    return [*rows,
            ("history", "CPU of a night with one new day, lake of a year / of a week (ingest, price, spend)", "<= 1.3",
             f"{year.cpu / week.cpu:.2f} ({year.cpu:.2f} / {week.cpu:.2f} s)"),
            ("history", "nothing new in a lake of a year, the same stages: CPU s; wall s", "< 5 s wall",
             f"{still.cpu:.2f}; {still.wall:.2f}"),
            ("history", "nothing new in a lake of a week, every stage: CPU s; wall s", "< 5 s wall",
             f"{again.cpu:.2f}; {again.wall:.2f} (before it: {whole.cpu:.2f}; {whole.wall:.2f})"),
            ("start", "`cost-ops --help`: CPU s; wall s", "< 0.5 s", f"{help_.cpu:.2f}; {help_.wall:.2f}")]


def hostile(home: Path) -> list[Row]:
    """A line of 2 GB between two good ones, and an archive that unpacks to more than it may."""
    space = Workspace(home / "hostile")
    good = apart(lines.write, home / "good.jsonl", 2).read_bytes().splitlines(keepends=True)
    with (space.home / "logs" / "line.jsonl").open("wb") as out:
        out.write(good[0] + b'{"id":"x","pad":"')
        for _ in range(2048):
            out.write(b"x" * (1 << 20))
        out.write(b'"}\n' + good[1])
    long = space.run()
    kept = sum(pq.read_metadata(path).num_rows for path in space.charges())
    shutil.rmtree(space.home / "logs")
    (space.home / "logs").mkdir()
    with gzip.open(space.home / "logs" / "bomb.jsonl.gz", "wb") as packed:
        for _ in range(1024):
            packed.write(bytes(1 << 20))
    bomb = space.run()
    return [("hostile", "one line of 2 GB: peak MB; rows beside it kept", "< 600; 2", f"{long.peak:.0f}; {kept}"),
            ("hostile", "gzip bomb of 1 GB: peak MB; CPU s", "< 600", f"{bomb.peak:.0f}; {bomb.cpu:.1f}")]


def table(home: Path, rows: int, *, many: int, day: int, odd: bool) -> list[Row]:
    """Every row."""
    found, space = throughput(home, rows)
    found += apart(clustering, space.charges()[0], home)
    shutil.rmtree(space.home)
    if many:
        found += flat(home, many)
    found += history(home, day)
    return [*found, *(hostile(home) if odd else [])]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--many", type=int, default=5_000_000, help="lines of the long file; 0 leaves it out")
    asked.add_argument("--day", type=int, default=2_000, help="lines of a day in the lakes of a week and of a year")
    asked.add_argument("--hostile", action="store_true")
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        found = table(Path(scratch), given.rows, many=given.many, day=given.day, odd=given.hostile)
    show(found, as_json=given.json)


if __name__ == "__main__":
    main()
