"""Any frame as a table: columns are set by their type and by the unit in their name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.figures import digits_for, exact, titled, value_text
from costops.transforms.reports.page import Cell, Column, Table

_LONG = frozenset({"detail", "reason", "action", "advice", "drivers", "excerpt", "where", "note", "text", "why",
                   "mend"})

_SHORT = frozenset({"unit", "status", "currency", "month"})
_CODES = frozenset({"kind", "outcome", "cause", "reason", "matched_by"})
_TITLES = {**{f"{end}{level}{unit}": f"{said}, {level}%{shown}" for end, said in (("low", "Low"), ("high", "High"),
                                                                                 ("lo", "Low"), ("hi", "High"))
              for level in (80, 95) for unit, shown in (("", ""), ("_usd", " (USD)"))},
           "yhat": "Expected", "ds": "Day", "effect_usd": "Effect (USD)", "unique_id": "Series",
           "chance_exceeded": "Chance to exceed"}


def frame_table(frame: pl.DataFrame, caption: str, *, order: Sequence[str] = (),
                titles: Mapping[str, str] | None = None, most: int = 30, headed: bool = False) -> Table:
    """All columns of a frame, those in `order` first; rows beyond `most` are counted, not shown."""
    names = [name for name in order if name in frame.columns]
    names += [name for name in frame.columns if name not in names]
    digits = {name: digits_for(_decimals(frame[name])) for name in names if name.endswith("_usd")}
    known = {**_TITLES, **(titles or {})}
    columns = tuple(Column(known.get(name) or titled(name), _kind(frame, name)) for name in names)
    rows = tuple(tuple(_cell(row[name], name, digits.get(name, 2)) for name in names)
                 for row in frame.head(most).iter_rows(named=True))
    more = frame.height - len(rows)
    return Table(caption, columns, rows, headed=headed,
                 note=f"{more:,} more rows in report.json." if more > 0 else "")


def _decimals(values: pl.Series) -> list[Decimal]:
    return [value if isinstance(value, Decimal) else Decimal(str(value)) for value in values if value is not None]


def _kind(frame: pl.DataFrame, name: str) -> str:
    if frame.schema[name].is_numeric():
        return "number"
    if isinstance(frame.schema[name], pl.Date | pl.Datetime):
        return "day"
    if name in _SHORT:
        return "name"
    return "text long" if name in _LONG else "text"


def _cell(value: Any, name: str, digits: int) -> Cell:
    if name in _CODES and isinstance(value, str):
        value = value.replace("_", " ")
    return Cell(value_text(value, name, digits=digits), exact=exact(value) if isinstance(value, Decimal) else "")
