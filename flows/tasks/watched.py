"""What the looks at spend share: the series, whether a look has to be done again, and how its rows are kept."""

from __future__ import annotations

import hashlib
import json
from datetime import date, timedelta
from importlib.metadata import version

import polars as pl

from costops.flows.tasks.run import Run
from costops.transforms.check import conform
from costops.transforms.series import daily_series
from costops.transforms.tables import OUT_SPEND_DAILY, Table

IDS = ["unique_id", "dimension", "value"]


def yesterday(run: Run) -> date:
    """The last whole day: today is still filling."""
    return run.now.date() - timedelta(days=1)


def series(run: Run, daily: pl.DataFrame, *, delivered_only: bool = False) -> pl.DataFrame:
    """Daily spend up to yesterday: the total and the largest values of the configured dimensions."""
    return daily_series(daily, run.settings.forecast.by, last=yesterday(run), delivered_only=delivered_only)


def mark(run: Run, *more: str) -> str:
    """What tonight's looks rest on: the bytes of daily spend, the settings, the program and the day."""
    made = hashlib.sha256()
    settings = run.settings
    told = (version("llm-costops"), str(run.now.date()), settings.forecast.model_dump_json(),
            settings.workspace.reporting_timezone, *more)
    made.update("\x1f".join(told).encode())
    for path in run.lake.files(OUT_SPEND_DAILY, run.lake.partitions(OUT_SPEND_DAILY)):
        made.update(hashlib.sha256(path.read_bytes()).digest())
    return made.hexdigest()


def stands(run: Run, stage: str, table: Table, made: str) -> bool:
    """True where tonight's rows rest on exactly this already; also after a run that died between two stages."""
    body = run.lake.store.read(_key(stage))
    held = json.loads(body) if body else {}
    empty = held.get("rows") == 0
    return held.get("mark") == made and (empty or bool(run.lake.partitions(table, day=str(run.now.date()))))


def done(run: Run, stage: str, made: str, rows: int) -> None:
    """Keep what tonight's rows rest on; the last thing that a look does."""
    run.lake.store.put(_key(stage), (json.dumps({"mark": made, "rows": rows}) + "\n").encode())


def write(run: Run, stage: str, table: Table, rows: pl.DataFrame) -> None:
    """Put rows in the place of tonight's earlier ones."""
    dated = conform(rows.with_columns(day=pl.lit(run.now.date())), table)
    for part in run.lake.replace(table, dated, [{"day": str(run.now.date())}]):
        run.partition(stage, table, part)


def _key(stage: str) -> str:
    return f"_state/outlook/{stage}.json"
