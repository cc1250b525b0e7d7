"""What an analyst waits for: the rows P12, P13 and P16 of the performance goals.

    python benchmarks/queries.py [--rows 100000000] [--small 1000000] [--dir DIR] [--json]

P12 asks nine questions of a lake of `--small` requests and of SQLite with six indexes over the same rows; P13 asks five
of the daily rollup of `--rows` requests and of that of `--small`; P16 scans the lake as it lies, one file a day, and the
same rows in 24 files a day. Figures are CPU seconds of this process, sides in turn; p95 is over every question, each
asked twenty times. `--dir` keeps the generated rows (those of `benchmarks/pricing.py`).
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import lines
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from ingest import Workspace, apart
from pricing import DAYS, KEYS, UNITS, generate, opened
from told import Row, show

from costops.flows.runtime import parquet
from costops.transforms import query
from costops.transforms.charge import pico_sql
from costops.transforms.check import conform
from costops.transforms.tables import CORE_CHARGE, OUT_SPEND_DAILY, Table

TIMES = 20
DAY = lines.FIRST_DAY
QUESTIONS = (
    "SELECT day, sum(list_cost_usd) FROM core_charge GROUP BY day",
    "SELECT model_id, sum(list_cost_usd), count(*) FROM core_charge GROUP BY model_id",
    "SELECT team, sum(list_cost_usd) AS spent FROM core_charge GROUP BY team ORDER BY spent DESC LIMIT 20",
    "SELECT day, sum(list_cost_usd) FROM core_charge WHERE team = 'team-07' GROUP BY day",
    "SELECT day, sum(input_tokens), sum(output_tokens) FROM core_charge WHERE team = 'team-03' "
    "AND model_id = 'gpt-4o-2024-08-06' GROUP BY day",
    "SELECT model_id, count(*) FROM core_charge WHERE day = '{day}' AND used_at >= '{day} 10:00:00' "
    "AND used_at < '{day} 11:00:00' GROUP BY model_id",
    "SELECT model_id, sum(cache_read_tokens) * 1.0 / sum(input_tokens) FROM core_charge GROUP BY model_id",
    "SELECT list_cost_usd, price_id FROM core_charge WHERE day = '{day}' AND record_id = '{id}'",
    "SELECT day, service_tier, sum(list_cost_usd) FROM core_charge WHERE day < '{week}' GROUP BY day, service_tier",
)
ON_ROLLUP = (
    "SELECT provider, sum(list_cost_usd), sum(requests) FROM rollup GROUP BY ALL",
    "SELECT model_id, sum(list_cost_usd) FROM rollup GROUP BY ALL ORDER BY 2 DESC",
    "SELECT team, sum(list_cost_usd) FROM rollup GROUP BY ALL ORDER BY 2 DESC",
    "SELECT day, sum(list_cost_usd) FROM rollup WHERE team = 'team-7' GROUP BY ALL ORDER BY day",
    "SELECT project_id, sum(list_cost_usd) FROM rollup GROUP BY ALL ORDER BY 2 DESC LIMIT 20",
)
INDEXES = ("day", "team, day", "model_id, day", "service_tier, day", "used_at", "record_id")
SCAN = """SELECT count(used_at), min(model_id), max(service_tier), max(team), sum(input_tokens), sum(cache_read_tokens),
    sum(output_tokens), sum(list_cost_usd) FROM read_parquet({files})"""


def p95(ask: Callable[[str], object], questions: Sequence[str]) -> float:
    """CPU seconds that 19 of 20 answers need at most."""
    spent = []
    for one in questions:
        ask(one)
        for _ in range(TIMES):
            began = time.process_time()
            ask(one)
            spent.append(time.process_time() - began)
    return float(np.quantile(spent, 0.95))


def sqlite_of(con: duckdb.DuckDBPyConnection, path: Path) -> sqlite3.Connection:
    """The same rows in SQLite, every column that has a value: whole pico-dollars, six indexes, analysed."""
    columns = con.execute("SELECT column_name, column_type FROM (DESCRIBE core_charge)").fetchall()
    told = con.execute(f"SELECT {', '.join(f'count({name})' for name, _ in columns)} FROM core_charge").fetchall()[0]
    live = [column for column, count in zip(columns, told, strict=True) if count]
    picked = ", ".join(f"({name} * 1000000000000)::BIGINT" if kind.startswith("DECIMAL") else f"{name}::VARCHAR"
                       if kind in {"DATE", "TIMESTAMP"} else name for name, kind in live)
    other = sqlite3.connect(path)
    other.execute(f"CREATE TABLE core_charge ({', '.join(name for name, _ in live)})")
    rows = con.execute(f"SELECT {picked} FROM core_charge")
    while some := rows.fetchmany(100_000):
        other.executemany(f"INSERT INTO core_charge VALUES ({', '.join('?' * len(live))})", some)
    for number, index in enumerate(INDEXES):
        other.execute(f"CREATE INDEX by_{number} ON core_charge ({index})")
    other.execute("ANALYZE")
    other.commit()
    return other


def analyst(home: Path, rows: int) -> list[Row]:
    """P12 and P16, on a lake that the ingest wrote."""
    space = Workspace(home / "lake-of-a-month")
    space.again(apart(lines.write, home / "month.jsonl", rows, days=DAYS))
    con = duckdb.connect()
    con.execute("SET threads = 2")
    con.execute("SET enable_progress_bar = false")
    con.execute(f"CREATE VIEW core_charge AS SELECT * FROM read_parquet('{space.home}/lake/core_charge/**/*.parquet', "
                "hive_partitioning = true)")
    identity = con.execute("SELECT record_id FROM core_charge WHERE day = $day LIMIT 1", {"day": DAY}).fetchall()[0][0]
    names = {"day": str(DAY), "week": str(DAY.replace(day=8)), "id": identity}
    other = sqlite_of(con, home / "rows.sqlite")
    asked = [one.format(**names) for one in QUESTIONS]
    for one in asked:
        if _plain(con.execute(one).fetchall()) != _plain(other.execute(one).fetchall()):
            raise SystemExit(f"the two stores answer differently: {one}")
    ours = p95(lambda one: con.execute(one).fetchall(), asked)
    theirs = p95(lambda one: other.execute(one).fetchall(), asked)
    other.close()
    return [("P12", f"nine questions on {rows:,} rows, p95 CPU: the lake / SQLite with six indexes",
             "<= 1/20 (1/50)", f"1/{theirs / ours:.0f} ({ours * 1e3:.0f} / {theirs * 1e3:,.0f} ms)"),
            ("P12", "p95 of them on the lake, CPU ms", "<= 60 (40)", f"{ours * 1e3:.0f}"),
            _compacted(con, space.charges(), home / "hours")]


def _plain(rows: Sequence[Sequence[object]]) -> list[list[object]]:
    """Rows without order, with days as text and amounts as whole pico-dollars."""
    def one(value: object) -> object:
        if isinstance(value, Decimal):
            return int(value * 10**12)
        return round(value, 9) if isinstance(value, float) else str(value) if isinstance(value, date) else value
    return sorted(([one(value) for value in row] for row in rows), key=str)


def _compacted(con: duckdb.DuckDBPyConnection, days: Sequence[Path], folder: Path) -> Row:
    folder.mkdir()
    for number, day in enumerate(days):
        rows = pl.DataFrame(pq.read_table(day, partitioning=None))
        for (hour,), some in rows.group_by(pl.col("used_at").dt.hour(), maintain_order=True):
            with parquet.Writer(folder / f"{number:02}-{hour:02}.parquet", CORE_CHARGE) as out:
                out.add(some.to_arrow())
    scans = [SCAN.format(files=[str(one) for one in some]) for some in (days, sorted(folder.glob("*.parquet")))]
    spent = []
    for _ in range(5):
        for scan in scans:
            began = time.process_time()
            con.execute(scan).fetchall()
            spent.append(time.process_time() - began)
    return ("P16", f"scan of 8 columns: one file a day, as the lake lies / the same rows in {len(list(folder.iterdir()))} "
            "files, 24 a day", "<= 0.3 (0.2)", f"{min(spent[::2]) / min(spent[1::2]):.2f}")


def rollup(folder: Path, rows: int, target: Path) -> Path:
    """The daily rollup of generated rows, by the pipeline's own statement, in the table's own file."""
    generate(folder, rows)
    table: Table = OUT_SPEND_DAILY
    carry = ("used_at", *KEYS, "team", "project_id", "input_tokens", "reasoning_tokens",
             *(f"{unit}_tokens" for unit in UNITS))
    with parquet.Writer(target, table) as out:
        for day in range(DAYS):
            con = opened(folder, day=f"{day:02}")
            con.execute("SET enable_progress_bar = false")
            priced = pico_sql("usage", "cells", keys=KEYS, units=UNITS, carry=carry, each=True)
            costs = ", ".join(f"_pico_{unit}::DECIMAL(18,0) / 1000000000000 AS {unit}_cost_usd" for unit in UNITS)
            told = {"source": "'generated'", "requests": "1", "unpriced_requests": "(_pico IS NULL)::INTEGER",
                    "list_cost_usd": _USD, "effective_cost_usd": _USD}
            names = {*carry, *told, *(f"{unit}_cost_usd" for unit in UNITS)}
            empty = ", ".join(f"NULL::{field.type.duckdb} AS {field.name}" for field in table.file_fields
                              if field.name not in {*names, "day"})
            con.execute(f"""CREATE VIEW out_spend_hourly AS SELECT used_at::DATE AS day, * EXCLUDE (used_at), {costs},
                {", ".join(f"{value} AS {name}" for name, value in told.items())}, {empty} FROM ({priced})""")
            out.add(conform(query.frame(con, query.statement(table.name)), table).to_arrow())
            con.close()
    return target


_USD = "cast(_pico::DECIMAL(18,0) * 0.000000000001 AS DECIMAL(18,12))"


def rollups(home: Path, folder: Path, small: int, large: int) -> list[Row]:
    """P13."""
    spent, counts = [], []
    for rows in (small, large):
        path = apart(rollup, folder / f"rows-{rows}", rows, home / f"rollup-{rows}.parquet")
        con = duckdb.connect()
        con.execute("SET threads = 2")
        con.execute(f"CREATE VIEW rollup AS SELECT * FROM read_parquet('{path}')")
        counts.append(pq.read_metadata(path).num_rows)
        spent.append(p95(lambda one, con=con: con.execute(one).fetchall(), ON_ROLLUP))  # type: ignore[misc]
        con.close()
    few, many = spent
    return [("P13", f"five questions on the daily rollup, p95 CPU: {large:,} requests / {small:,}", "<= 12 (8)",
             f"{many / few:.1f} ({many * 1e3:.0f} / {few * 1e3:.0f} ms; {counts[1]:,} / {counts[0]:,} rows)")]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, default=100_000_000, help="requests behind the large rollup")
    asked.add_argument("--small", type=int, default=1_000_000, help="requests of the lake and of the small rollup")
    asked.add_argument("--dir", type=Path, help="where generated rows are kept")
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        found = analyst(home, given.small)
        found += rollups(home, given.dir or home, given.small, given.rows)
    show(found, as_json=given.json)


if __name__ == "__main__":
    main()
