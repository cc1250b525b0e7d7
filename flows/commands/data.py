"""`query`, `summary`, `export`: what reads the lake."""

from __future__ import annotations

import argparse
import io
import re
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from costops.flows.commands.run import day_of
from costops.flows.commands.show import emit
from costops.flows.runtime import clock
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.settings import Settings, load
from costops.transforms import query as duck
from costops.transforms.errors import Usage
from costops.transforms.tables import OUT_SPEND_DAILY, OUT_SPEND_HOURLY, SPEND_KEYS, TABLE
from costops.transforms.window import Window

_ATTEMPTS = 5


def query(args: argparse.Namespace) -> int:
    """SQL over the views, or a rollup."""
    from costops.flows.tasks.run import open_lake

    settings = load(args.config)
    if bool(args.sql) == bool(args.span):
        raise Usage('give either SQL, or a rollup: cost-ops query --range 24h --by provider,model.')
    with open_lake(settings, write=False) as lake:
        if args.span:
            emit(rollup(lake, args.span, args.by), args.format, title=f"Spend of the last {args.span}")
            return 0
        emit(answer(lake, args.sql), args.format)
    return 0


def answer(lake: Lake, sql: str) -> pl.DataFrame:
    """The rows of a query over the views, asked again where a run replaced a file between the engine's looks at it."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(duck.Moved):
            return duck.ask(views(lake), sql)
    return duck.ask(views(lake), sql)


def views(lake: Lake) -> duck.Connection:
    """A connection with one view per dataset that can read the lake's files and nothing else."""
    con = duck.connect(scratch=lake.scratch)
    folders = {str(lake.scratch)}
    for table in TABLE.values():
        if table.name == "core_usage":
            continue
        with duck.told_plainly():
            con.execute(f"CREATE VIEW {table.name} AS SELECT * FROM {lake.relation(table, lake.partitions(table))}")
    names = ", ".join(TABLE["core_usage"].columns)
    con.execute(f"CREATE VIEW core_usage AS SELECT {names} FROM core_charge")
    if Path(lake.store.uri).is_dir():
        folders.add(lake.store.uri)
    listed = ", ".join("'" + folder.replace("'", "''") + "/'" for folder in sorted(folders))
    con.execute(f"SET allowed_directories = [{listed}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def rollup(lake: Lake, span: str, by: str) -> pl.DataFrame:
    """Spend of the last hours or days, by some columns, from the rollups alone."""
    match = re.fullmatch(r"(\d{1,4})([hd])", span)
    if not match:
        raise Usage(f"--range {span!r}: write hours or days, for example 24h or 30d.")
    keys = _keys(by or "provider")
    now = clock.now().replace(tzinfo=None)
    hours = match[2] == "h"
    start = now - (timedelta(hours=int(match[1])) if hours else timedelta(days=int(match[1])))
    table = OUT_SPEND_HOURLY if hours else OUT_SPEND_DAILY
    parts = [part for part in lake.partitions(table)
             if next(iter(part.values())) >= (str(start.date()) if hours else f"{start:%Y-%m}")]
    frame = lake.read(table, parts)
    frame = frame.filter(pl.col("hour") >= start) if hours else frame.filter(pl.col("day") > start.date())
    return _sums(frame, keys)


def _keys(by: str) -> list[str]:
    short = {"model": "model_id", "project": "project_id", "account": "account_id", "key": "api_key_id",
             "tier": "service_tier"}
    keys = [short.get(key.strip(), key.strip()) for key in by.split(",") if key.strip()]
    for key in keys:
        if key not in (*SPEND_KEYS, "day"):
            raise Usage(f"--by {key!r} is no column of the rollup; known are {', '.join((*SPEND_KEYS, 'day'))}.")
    if not keys or len(set(keys)) < len(keys):
        raise Usage(f"--by {by!r}: name each column once, for example provider,model.")
    return keys


def _total(name: str) -> pl.Expr:
    """A sum of money that stays unknown where nothing of it is known."""
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()).alias(name)


def _sums(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return frame.group_by(keys).agg(
        pl.col("requests", "input_tokens", "output_tokens").sum(),
        _total("list_cost_usd"), _total("effective_cost_usd"),
        pl.col("unpriced_requests").sum(),
    ).sort("list_cost_usd", *keys, descending=[True] + [False] * len(keys), nulls_last=True)


def summary(args: argparse.Namespace) -> int:
    """A table of spend."""
    settings = load(args.config)
    keys = _keys(args.by or "model_id")
    if len(keys) > 1:
        raise Usage("summary shows one key; `cost-ops query --range 30d --by provider,model` takes several.")
    spend_table(settings, keys[0], args.format,
                Window.of_days(day_of(args.start, "--from"), day_of(args.end, "--to")))
    return 0


def spend_table(settings: Settings, key: str, form: str, window: Window | None = None) -> None:
    """Spend by one key: requests, tokens, cost, share, the last week against the one before, what is unpriced."""
    from costops.flows.tasks.run import open_lake

    with open_lake(settings, write=False) as lake:
        daily = lake.read(OUT_SPEND_DAILY)
    if window:
        daily = daily.filter(pl.col("day") >= window.start, pl.col("day") < window.end)
    if daily.is_empty():
        print("cost-ops: no spend yet; `cost-ops run` reads the sources.", file=sys.stderr)
        return
    emit(by_key(daily, key), form, title=f"Spend by {key}, {daily['day'].min()!s} to {daily['day'].max()!s}", places=4)


def by_key(daily: pl.DataFrame, key: str) -> pl.DataFrame:
    """Spend by one key with share and trend (percent, last seven days of the data against the seven before)."""
    last: Any = daily["day"].max()
    week, before = last - timedelta(days=6), last - timedelta(days=13)
    cost = pl.col("list_cost_usd")
    return daily.group_by(key).agg(
        pl.col("requests").sum(),
        pl.col("input_tokens").sum(), pl.col("output_tokens").sum(), _total("list_cost_usd"),
        cost.filter(pl.col("day") >= week).sum().alias("_week"),
        cost.filter(pl.col("day") >= before, pl.col("day") < week).sum().alias("_before"),
        pl.col("unpriced_requests").sum(),
    ).with_columns(
        (cost.cast(pl.Float64) / cost.sum().cast(pl.Float64) * 100).round(1).alias("share_pct"),
        ((pl.col("_week").cast(pl.Float64) / pl.col("_before").cast(pl.Float64) - 1) * 100).round(1).alias("trend_pct"),
    ).with_columns(
        pl.when(pl.col("trend_pct").is_finite()).then("trend_pct"),
        pl.when(pl.col("share_pct").is_finite()).then("share_pct"),
    ).drop("_week", "_before").sort(cost, key, descending=[True, False], nulls_last=True)


def export(args: argparse.Namespace) -> int:
    """A dataset as a file."""
    from costops.flows.tasks.run import open_lake
    from costops.transforms.reports.export import csv_bytes, json_bytes, xlsx_bytes

    settings = load(args.config)
    if args.dataset not in TABLE:
        raise Usage(f"{args.dataset!r} is no dataset; known are {', '.join(TABLE)}.")
    table = TABLE["core_charge" if args.dataset == "core_usage" else args.dataset]
    window = Window.of_days(day_of(args.start, "--from"), day_of(args.end, "--to"))
    if window and "day" not in table.columns:
        raise Usage(f"{args.dataset} has no column `day`: leave out --from and --to.")
    if args.format == "parquet" and not args.out:
        raise Usage("--format parquet needs --out FILE.")
    with open_lake(settings, write=False) as lake:
        parts = [part for part in lake.partitions(table) if window is None or "day" not in part
                 or str(window.start) <= part["day"] < str(window.end)]
        frame = lake.read(table, parts)
    if window:
        frame = frame.filter(pl.col("day") >= window.start, pl.col("day") < window.end)
    frame = frame.select(TABLE[args.dataset].columns)
    body = {"csv": lambda: csv_bytes(frame, raw=args.raw), "json": lambda: json_bytes(frame),
            "xlsx": lambda: xlsx_bytes({args.dataset: frame}), "parquet": lambda: _parquet(frame)}[args.format]()
    if not args.out:
        sys.stdout.buffer.write(body)
        return 0
    try:
        Path(args.out).write_bytes(body)
    except OSError as error:
        raise Usage(f"--out {args.out}: cannot be written ({error.strerror}).") from None
    return 0


def _parquet(frame: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    frame.write_parquet(body)
    return body.getvalue()
