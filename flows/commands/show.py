"""Rows on a terminal, as JSON or as CSV."""

from __future__ import annotations

import csv
import json
import math
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if code not in (9,)}


def emit(frame: pl.DataFrame, form: str = "table", *, title: str = "", places: int = 6) -> None:
    """Print rows: a table for people, one JSON document or CSV for programs. Decimals stay exact in both."""
    if form == "json":
        json.dump(_plain(frame.to_dicts()), sys.stdout, ensure_ascii=False, indent=1)
        print()
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows([_cell(value) for value in row] for row in frame.iter_rows())
    else:
        _table(frame, title, places)


def _table(frame: pl.DataFrame, title: str, places: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for name, dtype in frame.schema.items():
        number = dtype.is_numeric()
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(_human(value, places) for value in row))
    wide = None if sys.stdout.isatty() else 200
    console = Console(width=wide, highlight=False, markup=False, emoji=False)
    if title:
        console.print(title, style="italic")
    console.print(table)


def _human(value: Any, places: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"{value:,.{places}f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, datetime):
        return "-" if value.year in (1, 9999) else f"{value:%Y-%m-%d %H:%M}"
    return str(_plain(value)).translate(_CONTROL)


def _cell(value: Any) -> Any:
    return "" if value is None else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds") + ("" if value.tzinfo else "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
