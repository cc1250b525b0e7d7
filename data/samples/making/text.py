"""JSON, CSV and gzip text that is the same on every machine."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

MARK = "\ue000"


def number(value: Decimal | int) -> str:
    """A marker that `dumps` turns into a bare JSON number with exactly these digits."""
    return f"{MARK}{plain(value)}{MARK}"


def plain(value: Decimal | int) -> str:
    """Digits without exponent and without trailing zeros."""
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def dumps(value: Any) -> str:
    """JSON in the order of the keys, without spaces."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub(f'"{MARK}(.*?){MARK}"', r"\1", text)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV file with line feeds, quoted where needed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def csv_line(row: Sequence[object]) -> str:
    """One CSV line without its line feed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(row)
    return out.getvalue()


def gzipped(data: bytes) -> bytes:
    """A gzip member in stored blocks: valid for every reader, and no compressor's version can change a byte."""
    out = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    step = 65_535
    starts = range(0, len(data), step) or range(1)
    for start in starts:
        block = data[start : start + step]
        last = start + step >= len(data)
        out.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    out.append(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))
    return b"".join(out)
