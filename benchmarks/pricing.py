"""Pricing against a scan, and against peers: the rows P1 to P7 and P11 of the performance goals.

    python benchmarks/pricing.py [--rows 10000000] [--dir DIR] [--json]

Every ratio is one of CPU seconds (user and system, all threads), its two sides taken in turn in one process, the
best of three. `--dir` keeps the generated rows. litellm is measured with the interpreter that `--litellm` names, and is
"not installed" where that has none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from told import show

from costops.transforms.charge import pico_sql, price_cells, tokens_first_sql
from costops.transforms.prices.book import book
from costops.transforms.prices.providers import SELLER

KEYS = ("provider", "model_id", "service_tier")
UNITS = ("uncached_input", "cache_read", "cache_write_5m", "output")
DAYS = 30
AT = datetime(2026, 10, 5, tzinfo=UTC)
SCAN = """SELECT count(used_at), min(model_id), max(service_tier), sum(uncached_input_tokens), sum(cache_read_tokens),
    sum(cache_write_5m_tokens), sum(output_tokens), sum(reasoning_tokens) FROM usage"""
SCAN_ROLLUP = SCAN.replace(" FROM usage", ", min(team), max(project_id) FROM usage")
PROVIDERS = ["openai", "anthropic", "gcp.gemini", "aws.bedrock", "mistral_ai", "x_ai"]


def generate(folder: Path, rows: int) -> None:
    """One Parquet file a day: 60 models, 2 tiers, 40 teams, 400 projects, 4 % long contexts."""
    if len(list(folder.glob("*.parquet"))) == DAYS:
        return
    folder.mkdir(parents=True, exist_ok=True)
    both = book().filter(pl.col("provider").is_in(PROVIDERS) & pl.col("unit").is_in(["cache_read", "cache_write_5m"])
                         & (pl.col("region") == "global") & (pl.col("schedule") == ""))
    tiers = both.group_by("provider", "model_id", maintain_order=True).agg(pl.col("service_tier").unique().sort())
    names = tiers.filter(pl.col("service_tier").list.contains("batch")).head(60).with_row_index("i")
    with duckdb.connect() as con:
        con.register("names", names.select("i", "provider", "model_id").to_arrow())
        for day in range(DAYS):
            first, last = day * rows // DAYS, (day + 1) * rows // DAYS
            con.execute(f"""COPY (SELECT timestamp '2026-10-01' + interval {day} day
                    + to_microseconds((a % 86400000000)::BIGINT) AS used_at, n.provider, n.model_id,
                    lpad(to_hex(a), 16, '0') || lpad(to_hex(b % 4294967296), 8, '0') AS record_id,
                    CASE WHEN b % 10 = 0 THEN 'batch' ELSE 'standard' END AS service_tier,
                    'team-' || (b % 40) AS team, 'project-' || (b % 400) AS project_id,
                    (50 + c % 3000 + CASE WHEN c % 25 = 0 THEN c % 300000 ELSE 0 END)::BIGINT AS uncached_input_tokens,
                    CASE WHEN d % 3 = 0 THEN d % 2000 ELSE 0 END::BIGINT AS cache_read_tokens,
                    0::BIGINT AS cache_write_5m_tokens, (e % 900)::BIGINT AS output_tokens,
                    (e % 100)::BIGINT AS reasoning_tokens, uncached_input_tokens + cache_read_tokens AS input_tokens
                FROM (SELECT hash(i, 1) a, hash(i, 2) b, hash(i, 3) c, hash(i, 4) d, hash(i, 5) e,
                    floor(((hash(i, 6) % 1000000) / 1000000.0) ** 2 * {names.height})::INTEGER AS model
                    FROM range({first}, {last}) AS t(i)) JOIN names AS n ON n.i = model)
                TO '{folder}/{day:02}.parquet' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 245760)""")


def opened(folder: Path, *, day: str = "*", threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A connection with `usage` and its `cells`."""
    con = duckdb.connect()
    con.execute(f"SET threads = {threads}")
    con.execute("SET memory_limit = '512MB'")
    con.execute(f"CREATE VIEW usage AS SELECT * FROM read_parquet('{folder}/{day}.parquet')")
    keys = con.sql(f"""SELECT {", ".join(KEYS)}, NULL::VARCHAR AS region, NULL::VARCHAR AS account_id,
        min(used_at) AS first_used_at, max(used_at) AS last_used_at FROM usage GROUP BY ALL""").pl()
    con.register("made", price_cells(keys, book()).to_arrow())
    con.execute("CREATE TABLE cells AS SELECT * FROM made")
    return con


def in_turn(con: duckdb.DuckDBPyConnection, *statements: str | Sequence[str], rounds: int = 3) -> list[float]:
    """The least CPU seconds of each statement (or list of them), taken in turn."""
    best = [float("inf")] * len(statements)
    for _ in range(rounds):
        for i, statement in enumerate(statements):
            start = time.process_time()
            for one in ([statement] if isinstance(statement, str) else statement):
                con.execute(one).fetchall()
            best[i] = min(best[i], time.process_time() - start)
    return best


def priced_sum() -> str:
    priced = pico_sql("usage", "cells", keys=KEYS, units=UNITS)
    return f"SELECT sum(_pico)::HUGEINT, count(_pico), count(*) FROM ({priced})"


def rollups() -> list[str]:
    """One query a day: the exact cost per day, provider, model, team and project."""
    carry = ("provider", "model_id", "team", "project_id")
    return [f"""SELECT count(*), sum(pico) FROM (SELECT provider, model_id, team, project_id, sum(_pico) AS pico,
        count(*) AS requests FROM ({pico_sql(f"(SELECT * FROM usage WHERE used_at >= DATE '2026-10-01' + {day} "
        f"AND used_at < DATE '2026-10-01' + {day + 1})", "cells", keys=KEYS, units=UNITS, carry=carry)})
        GROUP BY ALL)""" for day in range(DAYS)]


def decimals_agree(con: duckdb.DuckDBPyConnection, size: int = 100_000) -> int:
    """How many of a sample's rows cost what Python's decimals say, by a loop of its own over the book's rows."""
    prices: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in book().filter((pl.col("region") == "global") & (pl.col("mode") == "")).iter_rows(named=True):
        prices.setdefault((row["provider"], row["model_id"], row["service_tier"]), []).append(row)
    mentioned: dict[tuple[str, str], set[str]] = {}
    for provider, model, unit in book().select("provider", "model_id", "unit").iter_rows():
        mentioned.setdefault((provider, model), set()).add(unit)
    names = ("used_at", *KEYS, "input_tokens", *(f"{unit}_tokens" for unit in UNITS))
    sample = con.execute(f"""SELECT {", ".join(names)}, _pico FROM ({pico_sql("(SELECT * FROM usage USING SAMPLE "
        f"reservoir({size} ROWS) REPEATABLE (7))", "cells", keys=KEYS, units=UNITS, carry=names)})""").fetchall()
    right = 0
    for used_at, provider, model, tier, total, *counts, pico in sample:
        rates = {row["unit"]: row["price_usd"] / row["per"] for row in prices[provider, model, tier]
                 if row["valid_from"] <= used_at < row["valid_to"] and row["min_input"] <= total < row["max_input"]}
        said = rates.keys() if tier == "standard" else mentioned[provider, model]
        if said.isdisjoint({"cache_read", "cache_write_5m"}):
            rates["cache_read"] = rates["uncached_input"]  # a list without a word on caching
        used = {unit: count for unit, count in zip(UNITS, counts, strict=True) if count}
        known = used.keys() <= rates.keys()  # a row with a unit that has no price must have no cost
        expected = sum((rates[unit] * count for unit, count in used.items()), Decimal(0)) if known else None
        right += (None if pico is None else Decimal(pico).scaleb(-12)) == expected
    return right


def peers(con: duckdb.DuckDBPyConnection, litellm_python: str) -> list[tuple[str, float | None]]:
    """Calls per CPU second of the peers, one request at a time; None for one that is not installed."""
    rows = con.execute(f"""SELECT {", ".join(KEYS)}, input_tokens, cache_read_tokens, output_tokens FROM usage
        WHERE provider IN ('openai', 'anthropic') LIMIT 3000""").fetchall()
    from genai_prices import Usage, calc_price

    def genai(row: tuple[Any, ...]) -> None:
        calc_price(Usage(input_tokens=row[3], cache_read_tokens=row[4], output_tokens=row[5]), model_ref=row[1],
                   provider_id=SELLER[row[0]].genai or row[0], genai_request_timestamp=AT)

    return [("genai-prices calc_price", _rate(genai, rows)), *_litellm(rows, litellm_python)]


_LITELLM = """
import json, os, sys, time
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from litellm.types.utils import ModelResponse, PromptTokensDetailsWrapper, Usage
rows = json.load(sys.stdin)

def response(row):
    cached = PromptTokensDetailsWrapper(cached_tokens=row[4])
    return ModelResponse(model=row[1], usage=Usage(prompt_tokens=row[3], completion_tokens=row[5],
                         total_tokens=row[3] + row[5], prompt_tokens_details=cached))

def known(row):
    try:
        litellm.cost_per_token(model=row[1], prompt_tokens=row[3], completion_tokens=row[5])
    except Exception:  # it raises a bare one for a model that it does not know; such rows are left out of both rates
        return False
    return True

def rate(call, given):
    start = time.process_time()
    for one in given:
        call(one)
    return len(given) / (time.process_time() - start)

rows = [row for row in rows if known(row)]
made = [response(row) for row in rows]
rate(lambda one: litellm.completion_cost(one), made[:50])
print(json.dumps({
    "completion_cost": rate(lambda one: litellm.completion_cost(one), made),
    "cost_per_token": rate(lambda row: litellm.cost_per_token(model=row[1], prompt_tokens=row[3],
                                                              completion_tokens=row[5]), rows)}))
"""
"""In a process of its own: it may be installed with another interpreter, and takes seconds to import."""


def _litellm(rows: list[tuple[Any, ...]], python: str) -> list[tuple[str, float | None]]:
    done = subprocess.run([python, "-c", _LITELLM], input=json.dumps(rows[:1000]), capture_output=True, text=True,
                          check=False)
    if done.returncode and "ModuleNotFoundError: No module named 'litellm'" not in done.stderr:
        raise RuntimeError(done.stderr[-2000:])
    told = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else {}
    return [(f"litellm {name}", told.get(name)) for name in ("completion_cost", "cost_per_token")]


def _rate(call: Callable[[tuple[Any, ...]], None], rows: list[tuple[Any, ...]]) -> float:
    """Calls per CPU second, of the rows that the peer can price: a refusal costs other time than an answer."""
    known = []
    for row in rows:
        with suppress(LookupError, ValueError):
            call(row)
            known.append(row)
    start = time.process_time()
    for row in known:
        call(row)
    return len(known) / (time.process_time() - start)


def peak(folder: Path, work: str) -> tuple[float, float]:
    """Peak resident MB of a process of its own: with the engine loaded, and after the work."""
    code = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import pricing; "
            f"pricing.measured({str(folder)!r}, {work!r})")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return float(out[0]), float(out[1])


def measured(folder: str, work: str) -> None:
    """Print the peak before and after one piece of work (runs in a process of its own)."""
    con = opened(Path(folder), day="00")
    con.execute("SELECT 1").fetchall()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    before = _high_water()
    con.execute(f"CREATE OR REPLACE VIEW usage AS SELECT * FROM read_parquet('{folder}/*.parquet')")
    for statement in rollups() if work == "rollup" else [priced_sum()]:
        con.execute(statement).fetchall()
    print(before, _high_water())


def _high_water() -> float:
    """Peak resident MB of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def rerating(con: duckdb.DuckDBPyConnection, folder: Path) -> tuple[float, float]:
    """CPU seconds to re-rate one day as a sidecar of cost and cell, and to rewrite its rows with the cost."""
    one = f"(SELECT * FROM read_parquet('{folder}/00.parquet'))"
    side = pico_sql(one, "cells", keys=KEYS, units=UNITS)
    whole = pico_sql(one, "cells", keys=KEYS, units=UNITS, carry=(
        "record_id", "used_at", *KEYS, "team", "project_id", "uncached_input_tokens", "cache_read_tokens",
        "cache_write_5m_tokens", "output_tokens", "reasoning_tokens", "input_tokens"))
    to = f"TO '{folder}/x.tmp' (FORMAT parquet, COMPRESSION zstd)"
    sidecar, rows = in_turn(con, f"COPY ({side}) {to}", f"COPY ({whole}) {to}")
    (folder / "x.tmp").unlink()
    return sidecar, rows


PEER_GOALS = {"litellm completion_cost": ">= 700", "litellm cost_per_token": ">= 400", "genai-prices calc_price": ">= 300"}


def _times(rate: float, calls: float | None) -> str:
    return "not installed" if calls is None else f"{rate / calls:,.0f} ({calls:,.0f} calls/s)"


def table(root: Path, rows: int, litellm_python: str) -> list[tuple[str, str, str, str]]:
    """(row, what, goal, measured), for `rows` rows and a tenth of them."""
    large, small = root / str(rows), root / str(rows // 10)
    generate(large, rows)
    generate(small, rows // 10)
    con, tenth = opened(large), opened(small)
    scan, price = in_turn(con, SCAN, priced_sum())
    totals = {con.execute(priced_sum()).fetchall()[0] for _ in range(6)}
    pico, priced, count = next(iter(totals))
    first = con.execute(tokens_first_sql("usage", "cells", keys=KEYS, units=UNITS)).fetchall()[0][0]
    right = decimals_agree(con)
    wide, daily = in_turn(con, SCAN_ROLLUP, rollups())
    (tenth_daily,) = in_turn(tenth, rollups())
    rate = rows / price
    idle, after = peak(small, "price")
    _, top = peak(large, "rollup")
    _, low = peak(small, "rollup")
    sidecar, rewrite = rerating(con, large)
    book_seconds = _book_seconds()
    found = [
        ("P1", f"price + sum of {rows:,} rows / scan of the 8 columns, CPU", "<= 3.2", f"{price / scan:.2f}"),
        ("P2", "rows per CPU second, Parquet read included", "", f"{rate:,.0f}"),
        *(("P2", f"the same / {name}", PEER_GOALS[name], _times(rate, calls))
          for name, calls in peers(con, litellm_python)),
        ("P3", "six runs give one total; equal to the tokens-first route", "yes",
         f"{'yes' if len(totals) == 1 else 'NO'}; {'yes' if first == pico else 'NO'}: "
         f"{Decimal(pico).scaleb(-12):,f} USD, {priced:,} of {count:,} rows priced"),
        ("P3", "rows of 100,000 drawn that equal Python decimals", "100,000", f"{right:,}"),
        ("P4", f"CPU of price + rollup, {rows:,} / {rows // 10:,} rows", "<= 11", f"{daily / tenth_daily:.2f}"),
        ("P5", f"peak MB of the rollup of {rows:,} rows; / of {rows // 10:,}", "<= 512; <= 3",
         f"{top:.0f}; {top / low:.2f}"),
        ("P6", f"MB added by pricing {rows // 10:,} rows over an idle process", "<= 50", f"{after - idle:.0f}"),
        ("P7", "daily rollup / scan of its 10 columns, CPU", "<= 4.2", f"{daily / wide:.2f}"),
        ("P11", "re-rating a day as a sidecar / rewriting its rows, CPU", "<= 0.35", f"{sidecar / rewrite:.2f}"),
        ("book", "seconds to build the price book in a new process, imports excluded", "< 1", f"{book_seconds:.2f}"),
    ]
    con.close()
    tenth.close()
    return found


def _book_seconds() -> float:
    code = ("import time, genai_prices.data, costops.transforms.prices.book as b; s = time.process_time(); b.book(); "
            "print(time.process_time() - s)")
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--dir", type=Path)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--litellm", default=sys.executable, metavar="PYTHON",
                           help="an interpreter that has litellm; it is no dependency")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = table(asked.dir or Path(scratch), asked.rows, asked.litellm)
    show(found, as_json=asked.json)


if __name__ == "__main__":
    main()
