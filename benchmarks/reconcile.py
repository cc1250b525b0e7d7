"""A month of requests against bill lines, beside one DuckDB aggregate over the same charges.

    python benchmarks/reconcile.py [--rows 10000000] [--lines 100000] [--dir DIR] [--json]

Reports the ratio of CPU seconds (user and system, all threads) and of wall seconds, the best of `--runs`, and the
peak memory of a process that only reconciles. `--dir` keeps the generated rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from costops.reconcile.month import Options, reconcile_month
from costops.transforms import query
from costops.transforms.check import conform
from costops.transforms.prices.book import book
from costops.transforms.tables import CORE_BILLING, CORE_CHARGE

SAME_GRAIN = """SELECT provider, model_id, service_tier, region, account_id, project_id, day, price_id, sum(requests),
    sum(list_cost_usd), sum(uncached_input_tokens), sum(uncached_input_cost_usd), sum(cache_read_tokens),
    sum(cache_read_cost_usd), sum(cache_write_5m_tokens), sum(cache_write_5m_cost_usd), sum(cache_write_1h_tokens),
    sum(cache_write_1h_cost_usd), sum(output_tokens), sum(output_cost_usd)
FROM charges GROUP BY ALL"""
"""The grain of a bill: tokens and cost of each kind by account, project, model, tier, region, price and day."""

AGGREGATE = """SELECT provider, model_id, service_tier, project_id, day, count(*), sum(requests),
    sum(uncached_input_tokens), sum(cache_read_tokens), sum(output_tokens), sum(list_cost_usd)
FROM charges GROUP BY ALL"""
"""What anyone would ask of the same rows: requests, tokens and cost by model, tier, project and day."""

MODELS = """(VALUES ('openai', 'gpt-4o-2024-08-06', 2500000, 1250000, 10000000),
    ('openai', 'gpt-4o-mini-2024-07-18', 150000, 75000, 600000),
    ('anthropic', 'claude-opus-4-5-20251101', 5000000, 500000, 25000000),
    ('anthropic', 'claude-haiku-4-5-20251001', 1000000, 100000, 5000000),
    ('mistral_ai', 'mistral-large-2512', 500000, 50000, 1500000)) AS m(provider, model_id, p_in, p_read, p_out)"""


def generate(folder: Path, rows: int, lines: int) -> None:
    """Charges of a month, one file a day, and the bill that sums them to about so many lines."""
    con = query.connect(memory="2GB", scratch=folder)
    projects = max(1, lines // (31 * 5 * 2 * 3))
    wide = ", ".join(f"CAST(made.{n} AS {f.type.duckdb}) AS {n}" if n in _MADE else
                     f"CAST(NULL AS {f.type.duckdb}) AS {n}" for n, f in
                     ((f.name, f) for f in CORE_CHARGE.fields) if n != "day")
    for day in range(1, 32):
        con.execute(f"""COPY (WITH made AS (
            SELECT m.provider AS source, printf('%012d', i) AS record_id, 'request' AS granularity,
                TIMESTAMP '2026-10-{day:02}' + to_microseconds(CAST(i * 7919 % 86400000000 AS BIGINT)) AS used_at,
                m.provider, m.model_id, CASE WHEN i // 5 % 10 = 0 THEN 'batch' ELSE 'standard' END AS service_tier,
                CASE WHEN m.provider = 'anthropic' THEN 'global' END AS region,
                'p' || (i // 50 % {projects}) AS project_id,
                1 AS requests, n_in AS uncached_input_tokens, n_read AS cache_read_tokens, n_out AS output_tokens,
                n_in + n_read AS input_tokens, 'ok' AS status, 'priced' AS price_status,
                md5(m.model_id || CAST(i // 5 % 10 = 0 AS VARCHAR))[1:12] AS price_id, true AS counted,
                n_in * p_in // half AS c_in, n_read * p_read // half AS c_read, n_out * p_out // half AS c_out,
                (c_in + c_read + c_out) * 0.000000000001 AS list_cost_usd,
                (c_in + c_read + c_out) * 0.000000000001 AS effective_cost_usd,
                c_in * 0.000000000001 AS uncached_input_cost_usd, c_read * 0.000000000001 AS cache_read_cost_usd,
                c_out * 0.000000000001 AS output_cost_usd
            FROM (SELECT i, i % 5 AS which, CAST(hash(i, {day}) % 4000 + 20 AS BIGINT) AS n_in,
                    CAST(hash(i, {day}, 1) % 900 AS BIGINT) AS n_read,
                    CAST(hash(i, {day}, 2) % 700 + 5 AS BIGINT) AS n_out,
                    CASE WHEN i // 5 % 10 = 0 THEN 2 ELSE 1 END AS half
                FROM range({rows // 31}) AS r(i)) AS r
            JOIN (SELECT *, row_number() OVER () - 1 AS which FROM {MODELS}) AS m USING (which)
        ) SELECT {wide} FROM made ORDER BY model_id, service_tier, used_at)
        TO '{folder}/day={day:02}.parquet' (FORMAT parquet, COMPRESSION zstd)""")
    con.close()


_MADE = frozenset({
    "source", "record_id", "granularity", "used_at", "provider", "model_id", "service_tier", "region", "project_id",
    "requests", "uncached_input_tokens", "cache_read_tokens", "output_tokens", "input_tokens", "status",
    "price_status", "price_id", "counted", "list_cost_usd", "effective_cost_usd", "uncached_input_cost_usd",
    "cache_read_cost_usd", "output_cost_usd"})


def open_charges(folder: Path) -> query.Connection:
    con = query.connect(memory="1GB", scratch=folder)
    con.execute(f"""CREATE VIEW charges AS SELECT *, CAST(used_at AS DATE) AS day
        FROM read_parquet('{folder}/day=*.parquet', hive_partitioning = false)""")
    return con


def bill(folder: Path) -> pl.DataFrame:
    """The bill: a line per day, project, model, tier and unit; every hundredth asks a tenth more."""
    con = open_charges(folder)
    pieces = " UNION ALL ".join(
        f"SELECT provider, model_id, service_tier, region, project_id, day, '{unit}' AS unit, "
        f"sum({unit}_tokens) AS n, sum({unit}_cost_usd) AS c FROM charges GROUP BY ALL"
        for unit in ("uncached_input", "cache_read", "output"))
    rows = query.frame(con, pieces).sort("provider", "model_id", "service_tier", "project_id", "day", "unit")
    con.close()
    usd = pl.Decimal(38, 18)
    start = pl.col("day").cast(pl.Datetime("us"))
    cost = pl.when(pl.int_range(pl.len()) % 100 == 7).then(
        (pl.col("c").cast(usd) * 11 / 10).cast(usd)).otherwise(pl.col("c").cast(usd))
    month = pl.lit("2026-10-01").str.to_datetime("%Y-%m-%d").cast(pl.Datetime("us"))
    made = rows.select(
        source=pl.col("provider") + "-bill", billing_period=pl.lit("2026-10"), snapshot_id=pl.lit("s"),
        provider=pl.col("provider"), BilledCost=cost, ListCost=cost, ContractedCost=cost, EffectiveCost=cost,
        BillingAccountId=pl.lit("payer"), SubAccountId=pl.col("project_id"), BillingCurrency=pl.lit("USD"),
        BillingPeriodStart=month, BillingPeriodEnd=month.dt.offset_by("1mo"), ChargePeriodStart=start,
        ChargePeriodEnd=start.dt.offset_by("1d"), ChargeCategory=pl.lit("Usage"), InvoiceIssuerName=pl.col("provider"),
        ServiceCategory=pl.lit("AI"), ServiceName=pl.col("provider"), ServiceProviderName=pl.col("provider"),
        ConsumedQuantity=pl.col("n"), x_ModelId=pl.col("model_id"), x_UnitName=pl.col("unit"),
        x_ServiceTier=pl.col("service_tier"), x_Region=pl.col("region"), x_Day=pl.col("day"),
        x_MappingStatus=pl.lit("mapped"), x_ChargeKind=pl.lit("usage"), x_ListCostBasis=pl.lit("assumed_billed"),
        x_CostBasis=pl.lit("provider_billed"), x_BilledCostUsd=cost,
        x_SourceRowId=pl.int_range(pl.len()).cast(pl.String), x_InputId=pl.lit("i"),
        x_Line=pl.int_range(pl.len()).cast(pl.Int64))
    return conform(made, CORE_BILLING)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(runs: int, *calls: object) -> list[tuple[float, float]]:
    """Best CPU and wall seconds of each call, taken in turn."""
    best = [(1e9, 1e9)] * len(calls)
    for _ in range(runs):
        for at, call in enumerate(calls):
            assert callable(call)
            wall, used = time.perf_counter(), cpu()
            call()
            best[at] = (min(best[at][0], cpu() - used), min(best[at][1], time.perf_counter() - wall))
    return best


def reconcile(folder: Path, lines: pl.DataFrame) -> tuple[int, int, str]:
    con = open_charges(folder)
    made = reconcile_month("2026-10", "charges", lines, connection=con, options=Options(price_book=book()))
    con.close()
    return made.lines.height, made.evidence.height, str(made.evidence["cause_usd"].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak", action="store_true", help="reconcile once in this process and print its peak memory")
    args = parser.parse_args()
    if args.peak:
        lines = pl.read_parquet(args.dir / "bill.parq")
        made = reconcile(args.dir, lines)
        print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "made": made}))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.dir or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "bill.parq").exists():
            generate(folder, args.rows, args.lines)
            bill(folder).write_parquet(folder / "bill.parq")
        lines = pl.read_parquet(folder / "bill.parq")
        book()

        def aggregate(sql: str) -> None:
            con = open_charges(folder)
            query.frame(con, sql)
            con.close()

        (base_cpu, base_wall), (same_cpu, same_wall), (ours_cpu, ours_wall) = timed(
            args.runs, lambda: aggregate(AGGREGATE), lambda: aggregate(SAME_GRAIN), lambda: reconcile(folder, lines))
        told = subprocess.run([sys.executable, __file__, "--peak", "--dir", str(folder)], capture_output=True,
                              text=True, check=True)
        peak = json.loads(told.stdout)
        found = {
            "rows": args.rows, "bill_lines": lines.height, "lines": peak["made"][0], "causes": peak["made"][1],
            "aggregate_cpu_seconds": round(base_cpu, 2), "same_grain_cpu_seconds": round(same_cpu, 2),
            "reconcile_cpu_seconds": round(ours_cpu, 2),
            "ratio_cpu": round(ours_cpu / base_cpu, 2), "ratio_wall": round(ours_wall / base_wall, 2),
            "ratio_cpu_same_grain": round(ours_cpu / same_cpu, 2),
            "ratio_wall_same_grain": round(ours_wall / same_wall, 2), "peak_mb": peak["peak_mb"],
        }
        print(json.dumps(found) if args.json else "\n".join(f"{name:24} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
