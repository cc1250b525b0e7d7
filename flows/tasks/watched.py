"""What the looks at spend share: the series, whether a look has to be done again, and how its rows are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.tasks import arrival
from costops.flows.tasks.run import Run
from costops.transforms.check import conform
from costops.transforms.series import daily_series, series_sources
from costops.transforms.tables import OUT_SPEND_DAILY, Table

IDS = ["unique_id", "dimension", "value"]


def yesterday(run: Run) -> date:
    """The last whole day: today is still filling."""
    return run.now.date() - timedelta(days=1)


@dataclass(frozen=True)
class Watched:
    """Daily series as the looks see them, and the last days that are left out because they are still filling."""

    series: pl.DataFrame
    left_out: pl.DataFrame

    @property
    def last(self) -> date:
        """The last day on which the total is known."""
        return self.series.filter(pl.col("unique_id") == "total")["ds"].max()  # type: ignore[return-value]


def series(run: Run, daily: pl.DataFrame, *, delivered_only: bool = False) -> Watched:
    """Daily spend up to yesterday: the total and the largest values of the configured dimensions."""
    return settled(run.lake, run.settings.forecast.by, daily, today=run.now.date(), delivered_only=delivered_only)


def settled(lake: Lake, by: Sequence[str], daily: pl.DataFrame, *, today: date, delivered_only: bool = False,
            note: bool = True) -> Watched:
    """Daily series before `today`, without the days that are still filling.

    Days that are usually still filling are scaled up or left out. So are, unless `delivered_only` tells silence apart,
    the days for which a steady source has not delivered yet: they are late, not free.
    """
    from costops.models.completeness import complete, of_series, silent_ends

    known = daily.filter(pl.col("day") < today)
    long = daily_series(known, by, delivered_only=delivered_only)
    if long.is_empty():
        return Watched(long, long.select("unique_id", "ds"))
    late = arrival.late_days(lake, known, today=today, note=note)
    if not delivered_only:
        there = known.select(pl.col("source").alias("unique_id"), pl.col("day").alias("ds")).drop_nulls()
        silent = silent_ends(there, known["day"].max())  # type: ignore[arg-type]
        late = pl.concat([silent, late.join(silent, on=["unique_id", "ds"], how="anti")])
    whole, told = complete(long, of_series(late, series_sources(known, by)))
    if not (whole["unique_id"] == "total").any():               # nothing but days that are filling: better than nothing
        return Watched(long, long.clear().select("unique_id", "ds"))
    return Watched(whole, told.filter(pl.col("done") == "left out").select("unique_id", "ds"))


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
