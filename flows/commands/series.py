"""`forecast` and `anomalies`: of the lake, or of any long file of daily series."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from costops.flows.commands.show import emit
from costops.transforms.errors import Usage
from costops.transforms.tables import OUT_ANOMALY, OUT_FORECAST, Table

FORECAST_COLUMNS = ("unique_id", "ds", "cutoff", "yhat", "lo80", "hi80", "lo95", "hi95", "model")
ANOMALY_COLUMNS = ("unique_id", "ds", "y", "expected", "lower", "upper", "score", "is_anomaly", "kind")
_LONG = ("unique_id", "ds", "y")
_SHOWN = 60
_NOTES = 20


def forecast(args: argparse.Namespace) -> int:
    """Forecast the series of a file, or print tonight's forecasts of the lake."""
    if args.scenario or args.what_if:
        return _scenario(args)
    if not args.input:
        if args.drivers:
            raise Usage("--drivers goes with --input; the lake's drivers are the business metrics in [forecast] drivers.")
        return _of_lake(args, OUT_FORECAST, FORECAST_COLUMNS)
    from costops.models.forecast import forecast as ahead

    drivers = _drivers(args.drivers) if args.drivers else None
    result = ahead(_long(args.input), horizon=args.horizon or 30, drivers=drivers)
    _say(args.input, result.notes)
    if args.drivers:
        _say(args.drivers, result.drivers.select("driver", "note"))
    for name, reason in result.refusals.iter_rows():
        print(f"cost-ops: {args.input}: {name or 'the file'}: no forecast: {reason}", file=sys.stderr)
    return _put(result.forecasts.select(*FORECAST_COLUMNS, "grade"), args)


def _scenario(args: argparse.Namespace) -> int:
    """Baseline, scenario and difference in money: per model and in total, or per day."""
    from costops.flows.runtime import clock
    from costops.flows.runtime.settings import load
    from costops.flows.tasks.changes import scenario_file, sentence
    from costops.flows.tasks.kept import read_model
    from costops.flows.tasks.run import open_lake
    from costops.flows.tasks.whatif import what_if

    if args.input or args.drivers:
        raise Usage("a scenario is priced with the lake's book: leave out --input and --drivers.")
    changes = [*(scenario_file(args.scenario) if args.scenario else []), *map(sentence, args.what_if)]
    settings = load(args.config)
    horizon = args.horizon or settings.forecast.horizon_days
    if not 1 <= horizon <= 400:
        raise Usage(f"--horizon {horizon}: expected 1 to 400 days.")
    with open_lake(settings, write=False) as lake:
        told = what_if(lake, settings, changes, last=clock.now().date() - timedelta(days=1), horizon=horizon,
                       fitted=read_model(lake))
    for note in told.notes:
        print(f"cost-ops: {note}", file=sys.stderr)
    return _put(told.by_day if args.by_day else told.by_model, args)


def anomalies(args: argparse.Namespace) -> int:
    """Anomalies of the series of a file, or tonight's of the lake."""
    if not args.input:
        return _of_lake(args, OUT_ANOMALY, (*ANOMALY_COLUMNS, "effect", "incident", "is_sent", "drivers", "cause"))
    from costops.models.anomaly import detect
    from costops.models.panel import clean

    frame = _long(args.input)
    _say(args.input, clean(frame).notes)
    return _put(detect(frame).select(ANOMALY_COLUMNS), args)


def _say(name: str, notes: pl.DataFrame) -> None:
    """What was done to rows that could not be used as they are."""
    for series, note in notes.head(_NOTES).iter_rows():
        print(f"cost-ops: {name}: {series}: {note}", file=sys.stderr)
    if notes.height > _NOTES:
        print(f"cost-ops: {name}: {notes.height - _NOTES} more notes", file=sys.stderr)


def _of_lake(args: argparse.Namespace, table: Table, columns: tuple[str, ...]) -> int:
    from costops.flows.runtime.settings import load
    from costops.flows.tasks.run import open_lake

    with open_lake(load(args.config), write=False) as lake:
        parts = lake.partitions(table)
        frame = lake.read(table, parts[-1:])
    if "is_anomaly" in columns:
        frame = frame.with_columns(is_anomaly=pl.lit(True))
    frame = frame.select(columns)
    if getattr(args, "horizon", None):
        frame = frame.filter((pl.col("ds") - pl.col("cutoff")).dt.total_days() <= args.horizon)
    return _put(frame, args)


def _drivers(name: str) -> pl.DataFrame:
    """The file as unique_id (null: every series), ds, driver, value: one column per driver, or metric and value."""
    from costops.models.panel import PanelError, instants

    frame = _frame(name).with_row_index("_row", offset=1)
    day = next((column for column in ("ds", "day", "date") if column in frame.columns), None)
    if day is None:
        raise Usage(f"{name}: column 'ds' is missing; expected ds and one column per driver.")
    if frame.is_empty():
        raise Usage(f"{name}: no row; expected the days of each driver, the planned ones included.")
    if "unique_id" not in frame.columns:
        frame = frame.with_columns(unique_id=pl.lit(None, pl.String))
    if {"metric", "value"} <= set(frame.columns):
        long = frame.rename({"metric": "driver"})
    else:
        named = [column for column in frame.columns if column not in ("_row", day, "unique_id")]
        if not named:
            raise Usage(f"{name}: no column beside {day!r}; expected one per driver.")
        long = frame.with_columns(pl.col(named).cast(pl.String)).unpivot(
            named, index=["_row", day, "unique_id"], variable_name="driver").filter(
            pl.col("value").str.strip_chars().fill_null("") != "")
    try:
        told = long.with_columns(_at=instants(long[day]).dt.date(), _number=pl.col("value").cast(pl.String)
                                 .str.strip_chars().cast(pl.Float64, strict=False))
    except PanelError as error:
        raise Usage(f"{name}: {error}.") from None
    bad = told.filter(pl.col("_at").is_null() | pl.col("_number").is_null()).sort("_row").head(1)
    for row in bad.iter_rows(named=True):
        wrong, wanted = (day, "a day such as 2026-03-01") if row["_at"] is None else (row["driver"], "a number")
        raise Usage(f"{name}: row {row['_row']}: {wrong} is {row[day] if wrong == day else row['value']!r}; "
                    f"expected {wanted}.")
    return told.select(pl.col("unique_id").cast(pl.String), pl.col("_at").alias("ds"),
                       pl.col("driver").cast(pl.String), pl.col("_number").alias("value"))


def _long(name: str) -> pl.DataFrame:
    """The file as a frame with unique_id, ds and y."""
    frame = _frame(name, _LONG)
    missing = [column for column in _LONG if column not in frame.columns]
    if missing:
        raise Usage(f"{name}: column {missing[0]!r} is missing; expected unique_id, ds, y.")
    return frame.select(_LONG)


def _frame(name: str, once: Sequence[str] | None = None) -> pl.DataFrame:
    """A CSV or Parquet file as it is; the columns that may stand in its header only once: all, unless told."""
    path = Path(name)
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=None)
    except FileNotFoundError:
        raise Usage(f"{name}: no such file.") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise Usage(f"{name}: cannot be read ({str(error).splitlines()[0]}).") from None
    twice = [column for column in once or frame.columns if f"{column}_duplicated_0" in frame.columns]
    if twice:
        raise Usage(f"{name}: the header names {twice[0]!r} more than once.")
    return frame


def _put(frame: pl.DataFrame, args: argparse.Namespace) -> int:
    if args.output:
        if args.output.endswith(".parquet"):
            frame.write_parquet(args.output)
        else:
            frame.write_csv(args.output)
        print(f"{args.output}: {frame.height} rows", file=sys.stderr)
    else:
        emit(frame.head(_SHOWN) if args.format == "table" else frame, args.format)
        if args.format == "table" and frame.height > _SHOWN:
            print(f"cost-ops: {frame.height - _SHOWN} more rows; --format csv or --output shows all", file=sys.stderr)
    return 0
