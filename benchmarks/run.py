"""Every performance goal in one table: `python benchmarks/run.py [--rows 10000000] [--write docs/performance.md]`.

Runs `benchmarks/pricing.py`, `ingest.py`, `queries.py` and `scale.py` in processes of their own and prints
what they measured beside the goal; rows that are held by tests or that nothing measures yet say so. Saved answers of
them (`--json`) can be given instead of running them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

GOALS: tuple[tuple[str, str, str, str], ...] = (
    ("P1", "price + sum of the rows / scan of the columns that pricing needs, CPU", "<= 3.2", "<= 1.6"),
    ("P2", "rows per CPU second / calls per second of completion_cost; cost_per_token; calc_price",
     ">= 700; 400; 300", ">= 1,500; 900; 650"),
    ("P3", "cost equal to the decimals of every row, six runs equal bit for bit", "yes", "+ tokens-first route"),
    ("P4", "price + rollup of ten times the rows, CPU", "<= 11", "<= 10"),
    ("P5", "peak MB of the rollup; / of a tenth of the rows", "<= 512; <= 3", "<= 160; <= 2"),
    ("P6", "MB added by pricing 1 M rows", "<= 50", "<= 25"),
    ("P7", "daily rollup / scan of its 10 columns, CPU", "<= 4.2", "<= 3.0"),
    ("P8", "two workers: wall(1) / wall(2), quiet machine", ">= 1.6", ">= 1.9"),
    ("P9", "JSON Lines to priced Parquet, rows per CPU second", ">= 300,000", ">= 450,000"),
    ("P10", "ingest with cost / without, CPU", "<= 1.35", "<= 1.15"),
    ("P11", "re-rating a partition / rewriting its rows, CPU", "<= 0.35", "<= 0.2"),
    ("P12", "analyst p95 / the same questions on indexed SQLite", "<= 1/20", "<= 1/50"),
    ("P13", "questions on rollups over 100 times the rows: p95", "<= 12", "<= 8"),
    ("P14", "stored bytes a row / the same rows as JSONL", "<= 0.065", "<= 0.055"),
    ("P15", "one team's question: clustered file / by time, CPU", "<= 0.4", "<= 0.25"),
    ("P16", "scan of the lake after compaction / before", "<= 0.3", "<= 0.2"),
    ("P17", "killed at 20 random moments: old or new, then the same bytes", "20/20", "+ two writers"),
    ("P18", "the flow / the same function without Prefect, wall", "<= 1.10", "<= 1.03"),
)
ELSEWHERE = {"P17": "held by tests/faults"}
_HERE = Path(__file__).parent
_MARK = ("<!-- table: benchmarks/run.py -->", "<!-- end of table -->")


def answers(name: str, saved: Path | None, *options: str) -> list[dict[str, str]]:
    """What a benchmark measured."""
    if saved is not None:
        text = saved.read_text(encoding="utf-8")
    else:
        text = subprocess.run([sys.executable, str(_HERE / name), "--json", *options], capture_output=True, text=True,
                              check=True).stdout
    found: list[dict[str, str]] = json.loads(text)
    return found


def table(found: Sequence[Mapping[str, str]]) -> str:
    """Every goal with what was measured of it, then the rows that have no number."""
    lines = ["| # | goal | must | stretch | measured |", "|---|---|---|---|---|"]
    for name, what, must, stretch in GOALS:
        mine = [one for one in found if one["row"] == name]
        told = "; ".join(one["measured"] if len(mine) == 1 else f"{one['what']}: **{one['measured']}**" for one in mine)
        lines.append(f"| {name} | {what} | {must} | {stretch} | {told or ELSEWHERE.get(name, 'not measured')} |")
    named = {name for name, *_ in GOALS}
    lines += ["", "| subject | what | goal | measured |", "|---|---|---|---|"]
    lines += [f"| {one['row']} | {one['what']} | {one['goal']} | {one['measured']} |"
              for one in found if one["row"] not in named]
    return "\n".join(lines)


def machine() -> str:
    """What it ran on."""
    names = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "polars", "pyarrow"))
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {names}"


def main() -> None:
    """Print the table, or put it into a document."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=10_000_000, help="rows of the pricing benchmark")
    asked.add_argument("--pricing", type=Path, metavar="JSON", help="a saved answer of benchmarks/pricing.py")
    asked.add_argument("--ingest", type=Path, metavar="JSON", help="a saved answer of benchmarks/ingest.py")
    asked.add_argument("--queries", type=Path, metavar="JSON", help="a saved answer of benchmarks/queries.py")
    asked.add_argument("--scale", type=Path, metavar="JSON", help="a saved answer of benchmarks/scale.py")
    asked.add_argument("--write", type=Path, metavar="FILE", help="a document to put the table into")
    asked.add_argument("--litellm", default=sys.executable, metavar="PYTHON", help="an interpreter that has litellm")
    given = asked.parse_args()
    found = [*answers("pricing.py", given.pricing, "--rows", str(given.rows), "--litellm", given.litellm),
             *answers("ingest.py", given.ingest, "--hostile"),
             *answers("queries.py", given.queries, "--rows", str(given.rows)), *answers("scale.py", given.scale)]
    made = f"Measured on {machine()}.\n\n{table(found)}"
    if given.write is None:
        print(made)
        return
    start, end = _MARK
    body = given.write.read_text(encoding="utf-8")
    pattern = f"{re.escape(start)}.*?{re.escape(end)}"
    body = re.sub(pattern, lambda _: f"{start}\n\n{made}\n\n{end}", body, flags=re.DOTALL)
    given.write.write_text(body, encoding="utf-8")


if __name__ == "__main__":
    main()
