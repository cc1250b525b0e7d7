"""Frames as CSV, JSON and XLSX: exact, the same bytes each time, and nothing in them that a spreadsheet would run."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import xlsxwriter

from costops.transforms.reports.figures import titled

_FORMULA = re.compile(r"^[\s\u00a0\u3000\ufeff\u200b]*[=+\-@\uff1d\uff0b\uff0d\uff20\uff5c\u2212|]|^[\t\r\n]")
_CREATED = datetime(2000, 1, 1)  # noqa: DTZ001 -- a fixed creation date, so that the same rows give the same bytes
_XLSX_DIGITS = 15
_MOST_CELL = 32_767
_MOST_ROWS = 1_048_575
_NO_CELL_CHARS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a leading `'` where it would."""
    return f"'{text}" if _FORMULA.match(text) else text


def csv_bytes(frame: pl.DataFrame, *, raw: bool = False) -> bytes:
    """RFC 4180 with a heading, UTF-8, decimals with every digit; `raw` leaves text as it is."""
    ready = frame.select(_csv_column(name, dtype, raw=raw) for name, dtype in frame.schema.items())
    if not raw:
        ready = ready.rename({name: harmless(name) for name in ready.columns if harmless(name) != name})
    return ready.write_csv(quote_style="necessary").encode()


def _csv_column(name: str, dtype: pl.DataType, *, raw: bool) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.List | pl.Array | pl.Struct):
        return column.map_elements(lambda value: harmless(_json_text(_plain(value))) if not raw
                                   else _json_text(_plain(value)), return_dtype=pl.String)
    if isinstance(dtype, pl.Datetime):
        return column.dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum) and not raw:
        return column.cast(pl.String).map_elements(harmless, return_dtype=pl.String)
    return column


def json_document(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """One JSON document: decimals are strings with every digit, days and instants are ISO 8601."""
    return (_json_text(_plain(value), indent=1) + "\n").encode()


def json_bytes(frame: pl.DataFrame) -> bytes:
    """The rows of a frame as one JSON array of objects."""
    return json_document(frame.to_dicts())


def _json_text(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, pl.Series):
        return [_plain(item) for item in value.to_list()]
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def xlsx_bytes(sheets: Mapping[str, pl.DataFrame], *, title: str = "",
               widths: Mapping[str, int] | None = None) -> bytes:
    """A workbook of frames, one sheet each, with filters and money formats; text is text, never a formula."""
    stream = io.BytesIO()
    book = xlsxwriter.Workbook(stream, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
                                        "strings_to_numbers": False, "default_date_format": "yyyy-mm-dd"})
    book.set_properties({"title": title, "author": "llm-costops", "created": _CREATED})
    styles = {
        "head": book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "bottom"}),
        "money": book.add_format({"num_format": "#,##0.00;[Red]-#,##0.00;0.00"}),
        "small": book.add_format({"num_format": "#,##0.000000;[Red]-#,##0.000000;0.00"}),
        "count": book.add_format({"num_format": "#,##0"}),
        "day": book.add_format({"num_format": "yyyy-mm-dd"}),
        "instant": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        "number": book.add_format({"num_format": "0.########"}),
        "text": book.add_format({}),
    }
    names: set[str] = set()
    for name, frame in sheets.items():
        sheet = book.add_worksheet(_sheet_name(name, names))
        _fill(sheet, frame.head(_MOST_ROWS), styles, widths or {})
    book.close()
    return stream.getvalue()


def _sheet_name(name: str, used: set[str]) -> str:
    base = re.sub(r"[\[\]:*?/\\\x00-\x1f]", "_", name).strip("'")[:31] or "sheet"
    shown, number = base, 2
    while shown.casefold() in used or shown.casefold() == "history":
        shown, number = f"{base[:27]} ({number})", number + 1
    used.add(shown.casefold())
    return shown


def _fill(sheet: Any, frame: pl.DataFrame, styles: Mapping[str, Any], widths: Mapping[str, int]) -> None:
    for place, (name, dtype) in enumerate(frame.schema.items()):
        kind = _kind(name, dtype)
        if kind == "money" and bool((frame[name].abs() < 1).all()):
            kind = "small"
        sheet.set_column(place, place, widths.get(name) or _width(frame[name], name, kind))
        sheet.write_string(0, place, titled(name), styles["head"])
        for row, value in enumerate(frame[name].to_list(), start=1):
            _write(sheet, row, place, value, kind, styles)
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    if frame.width and frame.height:
        sheet.autofilter(0, 0, frame.height, frame.width - 1)


def _kind(name: str, dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Datetime):
        return "instant"
    if isinstance(dtype, pl.Date):
        return "day"
    if dtype.is_integer():
        return "count"
    if dtype.is_numeric():
        return "money" if name.endswith("_usd") else "number"
    return "text"


def _width(values: pl.Series, name: str, kind: str) -> int:
    if kind != "text":
        return max(13, min(20, len(titled(name)) + 2))
    longest = max((len(str(value)) for value in values.head(200) if value is not None), default=0)
    return max(10, min(60, longest + 2, 60), len(titled(name)) + 2)


def _write(sheet: Any, row: int, place: int, value: Any, kind: str, styles: Mapping[str, Any]) -> None:
    """One cell. A number with more digits than a spreadsheet keeps is rounded to the digits that it keeps."""
    if value is None:
        return
    if kind in {"day", "instant"}:
        if value.year >= 1900:
            sheet.write_datetime(row, place, value, styles[kind])
        else:
            sheet.write_string(row, place, value.isoformat(), styles["text"])
    elif kind == "text" or isinstance(value, bool):
        text = value if isinstance(value, str) else _json_text(_plain(value))
        sheet.write_string(row, place, _NO_CELL_CHARS.sub("\ufffd", text)[:_MOST_CELL], styles["text"])
    elif not math.isfinite(value) or (isinstance(value, int) and abs(value) >= 10**_XLSX_DIGITS):
        sheet.write_string(row, place, str(value), styles["text"])
    else:
        sheet.write_number(row, place, value.normalize() if isinstance(value, Decimal) else value, styles[kind])
