"""Text in, exact values out: how bills are opened, and how their amounts and times are read.

Nothing here passes through a binary float. A number is text until it is a DECIMAL(38,18).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, InvalidOperation
from functools import reduce
from pathlib import Path
from typing import IO, Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import zstandard

AMOUNT = pl.Decimal(38, 18)
SCALE = 18
EXACT = Context(prec=120)
"""Python's own decimals round to 28 digits unless told otherwise; a DECIMAL(38,18) has 38."""

NULLS = ("", "NULL", "null", "(null)", "None", "\\N", "N/A")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_TAIL = r"\.[0-9]{19,}|[eE]"
_US_DAY = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})(?:[ T](.*))?$")
_GERMAN_DAY = re.compile(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})$")
_PLAIN_DAY = re.compile(r"^(\d{4})(\d{2})(\d{2})$")
_EPOCH = re.compile(r"^(\d{10})(?:\.\d+)?$|^(\d{16})$")


ROWS = 1_500
"""Rows of a batch where a file is read by rows: about the megabyte at once that other files are read by."""


class Damaged(Exception):  # noqa: N818  said of the file, not of the program
    """A file that ends early or is no such file; what was read before it stands."""


def opened(path: Path) -> IO[bytes]:
    """The bytes of a plain, gzip or zstd file, told by their first bytes and not by the name."""
    with path.open("rb") as probe:
        head = probe.read(4)
    if head.startswith(_GZIP):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if head.startswith(_ZSTD):
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(
            path.open("rb"), read_across_frames=True, closefd=True))
    return path.open("rb")


def document(path: Path) -> Any:
    """A JSON document with every number as the text on the wire; one that tells a name twice is damaged."""
    try:
        with opened(path) as stream:
            return json.loads(stream.read(), parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_once)
    except RecursionError:
        raise Damaged("nested more deeply than any bill is") from None
    except (ValueError, EOFError, OSError, zstandard.ZstdError) as error:
        raise Damaged(str(error)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; readers differ on which of two values of a name they take, so two that differ are an error."""
    told = dict(pairs)
    if len(told) < len(pairs):
        for name, value in pairs:
            if told[name] != value:
                raise ValueError(f"{name[:100]!r} is told twice in one object, with two values")
    return told


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file from 1, blank ones left out."""
    try:
        with opened(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line
    except (EOFError, OSError, zstandard.ZstdError) as error:
        raise Damaged(str(error)) from None


@dataclass
class Sheet:
    """A CSV or Parquet file: its header, and what the reader could not read (number, text)."""

    header: tuple[str, ...] = ()
    bad: list[tuple[int, str]] = field(default_factory=list)
    encoding: str = "utf8"


def header_of(path: Path) -> tuple[tuple[str, ...], str, str]:
    """Header names without BOM, the delimiter, and the encoding of a CSV file."""
    with opened(path) as stream:
        head = stream.read(1 << 20)
    try:
        text, encoding = head.decode("utf-8-sig"), "utf8"
    except UnicodeDecodeError as error:
        whole = error.start < len(head) - 4
        text, encoding = head.decode("latin-1" if whole else "utf-8-sig", errors="replace"), \
            "latin-1" if whole else "utf8"
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)
    names = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    return tuple(name.strip() for name in names), delimiter, encoding


def sheet_batches(path: Path, sheet: Sheet, *, rename: Callable[[str], str | None] = str,
                  batch_bytes: int = 1 << 20) -> Iterator[pl.DataFrame]:
    """A CSV file with header, or a Parquet file, in batches of text columns with `_line` from 1.

    Rows with too few or too many cells go to `sheet.bad`. `rename` gives our name of a column, None to leave it out.
    """
    with path.open("rb") as probe:
        if probe.read(4) == b"PAR1":
            yield from _parquet(path, sheet, rename)
            return
    try:
        names, delimiter, sheet.encoding = header_of(path)
    except (EOFError, OSError, zstandard.ZstdError) as error:
        raise Damaged(str(error)) from None
    sheet.header = names
    if not names or names == ("",):
        return
    unique = _unique(names)
    ours = chosen(unique, rename)

    def invalid(row: Any) -> str:
        sheet.bad.append((row.number or 0, row.text or ""))
        return "skip"

    def start(encoding: str) -> pc.CSVStreamingReader:
        return pc.open_csv(
            stream,
            read_options=pc.ReadOptions(column_names=unique, skip_rows=1, block_size=batch_bytes,
                                        use_threads=False, encoding=encoding),
            parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True,
                                          invalid_row_handler=invalid),
            convert_options=pc.ConvertOptions(column_types=dict.fromkeys(unique, pa.string()),
                                              include_columns=list(ours), strings_can_be_null=False),
        )
    with opened(path) as stream:
        try:
            reader = start(sheet.encoding)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise Damaged(str(error)) from None
        except (EOFError, OSError, zstandard.ZstdError) as error:
            raise Damaged(str(error)) from None
        for frame in _numbered(reader, sheet):
            yield frame.rename(ours)


def _numbered(reader: pc.CSVStreamingReader, sheet: Sheet) -> Iterator[pl.DataFrame]:
    at = 0
    try:
        for batch in reader:
            if not batch.num_rows:
                continue
            wrong = {number - 1 for number, _ in sheet.bad}
            numbers: list[int] = []
            while len(numbers) < batch.num_rows:
                at += 1
                if at not in wrong:
                    numbers.append(at)
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)  # noqa: S101  a record batch is a table
            yield frame.with_columns(pl.Series("_line", numbers, dtype=pl.Int64))
    except (EOFError, OSError, zstandard.ZstdError, pa.ArrowInvalid) as error:
        raise Damaged(str(error)) from None


def chosen(names: Sequence[str], rename: Callable[[str], str | None]) -> dict[str, str]:
    """Header name -> our name of the columns to read; of two that become the same name the first counts."""
    found: dict[str, str] = {}
    for name in names:
        ours = rename(name)
        if ours is not None and ours not in found.values():
            found[name] = ours
    return found or {names[0]: names[0]}


def _parquet(path: Path, sheet: Sheet, rename: Callable[[str], str | None]) -> Iterator[pl.DataFrame]:
    """Parquet cells as text: doubles by their shortest exact text, maps and structs as JSON."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise Damaged(str(error)) from None
    sheet.header = tuple(file.schema_arrow.names)
    ours = chosen(sheet.header, rename)
    at = 0
    for batch in file.iter_batches(batch_size=ROWS, columns=list(ours)):
        cells = {ours[name]: _texts(batch.column(index)) for index, name in enumerate(batch.schema.names)}
        frame = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))
        yield frame.with_columns(_line=pl.int_range(at + 1, at + 1 + frame.height, dtype=pl.Int64))
        at += frame.height


def _texts(column: pa.Array) -> pl.Series:
    kind = column.type
    if pa.types.is_floating(kind):
        return pl.Series([None if cell is None else repr(cell) for cell in column.to_pylist()], dtype=pl.String)
    if pa.types.is_nested(kind):
        return pl.Series([None if cell is None else json.dumps(dict(cell) if pa.types.is_map(kind) else cell,
                                                               default=str) for cell in column.to_pylist()],
                         dtype=pl.String)
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
        return pl.Series([None if cell is None else cell.isoformat() for cell in column.to_pylist()],
                         dtype=pl.String)
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
    series = pl.Series(column.cast(pa.string()))
    return series.cast(pl.String)


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found


def amounts(texts: pl.Series) -> tuple[pl.Series, Decimal]:
    """Exact amounts of text, NULL where it is none or does not fit, and what rounding to 18 digits took away.

    A figure that a provider's own float arithmetic gave more than 18 decimals is rounded half to even; the second
    result is the exact sum of what was cut, so that sums still balance.
    """
    clean = texts.str.strip_chars()
    number = clean.str.contains(_NUMBER)
    made = pl.select(pl.when(number).then(clean).otherwise(None)).to_series().cast(AMOUNT, strict=False)
    long = (number & clean.str.contains(_TAIL)).fill_null(value=False)
    if not long.any():
        return made.rename(texts.name), Decimal(0)
    cut = Decimal(0)
    values = made.to_list()
    for index in long.arg_true().to_list():
        exact = Decimal(clean[index])
        if abs(exact) >= Decimal(10) ** 20:
            values[index] = None
            continue
        values[index] = rounded = exact.quantize(Decimal(1).scaleb(-SCALE), context=EXACT)
        cut = EXACT.add(cut, EXACT.subtract(exact, rounded))
    return pl.Series(texts.name, values, dtype=AMOUNT), cut


def added(values: Iterable[Decimal]) -> Decimal:
    """The exact sum of amounts."""
    return reduce(EXACT.add, values, Decimal(0))


def amount(text: str | None) -> Decimal | None:
    """One exact amount, or None where the text is none."""
    try:
        value = Decimal(text.strip()) if text else None
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None


def fitted(text: str | None) -> Decimal | None:
    """One amount as a DECIMAL(38,18) holds it, or None where the text is none or does not fit."""
    value = amount(text)
    if value is None or abs(value) >= Decimal(10) ** 20:
        return None
    return value.quantize(Decimal(1).scaleb(-SCALE), context=EXACT)


def instants(texts: pl.Series) -> pl.Series:
    """UTC instants of text in any way that a provider writes them, NULL where it is none."""
    distinct = texts.unique().drop_nulls()
    known = pl.DataFrame({"t": distinct, "i": pl.Series([instant(text) for text in distinct.to_list()],
                                                        dtype=pl.Datetime("us"))})
    return pl.DataFrame({"t": texts}).join(known, on="t", how="left", maintain_order="left")["i"] \
        .rename(texts.name)


def instant(text: str) -> datetime | None:
    """A UTC instant of `2026-10-20T00:00:00Z`, `10/20/2026`, `5/1/25`, `20.10.2026`, `20261020`, seconds ..."""
    text = text.strip().removesuffix(" UTC")
    try:
        at = _special(text) or (datetime.fromisoformat(text) if len(text) >= 10 else None)
    except ValueError:
        return None
    return at.astimezone(UTC).replace(tzinfo=None) if at and at.tzinfo else at


def _special(text: str) -> datetime | None:
    if found := _US_DAY.match(text):
        month, day, year = int(found[1]), int(found[2]), int(found[3])
        return datetime(year + 2000 if year < 100 else year, month, day)  # noqa: DTZ001
    if found := _GERMAN_DAY.match(text):
        return datetime(int(found[3]), int(found[2]), int(found[1]))  # noqa: DTZ001
    if found := _PLAIN_DAY.match(text):
        return datetime(int(found[1]), int(found[2]), int(found[3]))  # noqa: DTZ001
    if found := _EPOCH.match(text):
        micros = int(found[2]) if found[2] else int(Decimal(text) * 1_000_000)
        return datetime(1970, 1, 1) + timedelta(microseconds=micros)  # noqa: DTZ001
    return None
