"""Usage told in buckets, or by a tracer's API, as rows of `core_usage`.

A bucket is a provider's own count of a minute, hour or day. It is kept beside the requests that it covers and never
added to them. A bucket told again replaces the one before as a whole: a row that is gone from it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import polars as pl

from costops.transforms.billing.bill import Input, Options, Tally, by_time
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.text import Damaged, amount, document, instant, numbered_lines
from costops.transforms.check import conform
from costops.transforms.tables import CORE_USAGE
from costops.transforms.units import INPUT_LEAVES, UNITS

LARGEST = 10**15
_COUNTS = tuple(unit.column for unit in UNITS)
_PARTS = tuple((unit.column, next(u.column for u in UNITS if u.name == unit.part_of))
               for unit in UNITS if unit.part_of)
_MENDS = {
    "impossible_count": "the provider's figures contradict each other; pull the bucket again",
    "unknown_unit": "add the unit to the vocabulary, or it is left out of usage",
    "missing_field": "the record lacks what a row of usage needs",
}
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What one record comes to: a row of usage, or why not.

    `skip`: it carries no billable usage. `wrong`: a reason, field, expected, actual: set aside. `odd`: the same,
    kept with a warning.
    """

    cells: Mapping[str, Any] = field(default_factory=dict)
    skip: str | None = None
    wrong: tuple[str, str, str, str] | None = None
    odd: tuple[str, str, str, str] | None = None


@dataclass(frozen=True)
class Told:
    """One record of a page: `bucket` names what it replaces when it is told again, `line` its number in the page."""

    bucket: str
    line: int
    record: Record


@dataclass(frozen=True)
class UsageFormat:
    """One kind of usage feed: how its pages open, and what a record comes to (a record may make several rows)."""

    kind: str
    granularity: str
    unfold: Callable[[Any, str], tuple[list[Told], list[str]]]
    """Page and uri -> its records, and the buckets that it covers, empty ones too."""
    row: Callable[[Record], list[Found]]
    lines: bool = False
    """Files may be JSON Lines of records as well."""


@dataclass(frozen=True)
class Usage:
    """What the inputs of a feed come to."""

    rows: pl.DataFrame
    findings: pl.DataFrame
    tallies: tuple[Tally, ...]


def read_usage(form: UsageFormat, inputs: Sequence[Input], options: Options) -> Usage:
    """The rows of all pages; of a bucket told more than once the newest telling, of the same age the last page."""
    pages: list[tuple[Input, list[Told], list[str], list[tuple[int, str]], str | None]] = []
    for delivery in by_time(inputs):
        pages += [(item, *_opened(form, item)) for item in delivery.inputs]
    winner: dict[str, int] = {}
    for number, (_, _, buckets, _, _) in enumerate(pages):
        winner |= dict.fromkeys(buckets, number)
    rows: list[dict[str, Any]] = []
    found: list[Finding] = []
    tallies: list[Tally] = []
    for number, (item, told, _, wrong, damage) in enumerate(pages):
        kept = [one for one in told if winner.get(one.bucket, number) == number]
        made, tally = _page(form, kept, item, options, found)
        rows += made
        again = len(told) - len(kept)
        found += [Finding("malformed_line", "error", item.uri, line, expected="a JSON object", excerpt=text)
                  for line, text in wrong]
        if damage:
            found.append(Finding("damaged_file", "error", item.uri, expected="a whole page", actual=damage[:200],
                                 mend="pull the page again"))
        tallies.append(tally + Tally(item.uri, again + len(wrong), 0, again, len(wrong), damaged=damage is not None))
    frame = pl.DataFrame(rows, schema=CORE_USAGE.schema, orient="row") if rows else \
        pl.DataFrame(schema=CORE_USAGE.schema)
    return Usage(_numbered(frame), findings(found, source=options.source, dataset="core_usage"), tuple(tallies))


def _opened(form: UsageFormat, item: Input) -> tuple[list[Told], list[str], list[tuple[int, str]], str | None]:
    try:
        if form.lines and not item.uri.lower().removesuffix(".gz").removesuffix(".zst").endswith(".json"):
            records, wrong = _lines(item)
            told, buckets = form.unfold({"data": records}, item.uri)
            return told, buckets, wrong, None
        told, buckets = form.unfold(document(item.path), item.uri)
    except Damaged as why:
        return [], [], [], str(why)
    return told, buckets, [], None


def _lines(item: Input) -> tuple[list[Any], list[tuple[int, str]]]:
    records: list[Any] = []
    wrong: list[tuple[int, str]] = []
    for number, line in numbered_lines(item.path):
        try:
            told = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict):
            records.append({**told, "_line": number})
        else:
            wrong.append((number, line.decode("utf-8", "replace")[:400]))
    return records, wrong


def _page(form: UsageFormat, told: Iterable[Told], item: Input, options: Options,
          found: list[Finding]) -> tuple[list[dict[str, Any]], Tally]:
    rows: list[dict[str, Any]] = []
    read = kept = aside = skipped = 0
    for one in told:
        read += 1
        made = form.row(one.record)
        bad = next((answer.wrong for answer in made if answer.wrong), None)
        cells = [] if bad else [_whole(answer.cells, form, item, options) for answer in made if not answer.skip]
        bad = bad or next((wrong for cell in cells if (wrong := _contradiction(cell))), None)
        found += [_finding(answer.odd, "warning", item, one.line) for answer in made if answer.odd]
        if bad:
            aside += 1
            found.append(_finding(bad, "error", item, one.line))
        elif cells:
            kept += 1
            rows += cells
        else:
            skipped += 1
    return rows, Tally(item.uri, read, kept, 0, aside, skipped)


def _finding(why: tuple[str, str, str, str], severity: str, item: Input, line: int) -> Finding:
    reason, name, expected, actual = why
    return Finding(reason, severity, item.uri, line, name, expected, actual[:200], mend=_MENDS.get(reason))


def _whole(cells: Mapping[str, Any], form: UsageFormat, item: Input, options: Options) -> dict[str, Any]:
    """A row with every column: counts that the feed does not tell are NULL, but for what every row must have."""
    row: dict[str, Any] = dict.fromkeys(CORE_USAGE.columns)
    row |= {"granularity": form.granularity, "service_tier": "standard", "status": "ok", "requests": 0,
            "uncached_input_tokens": 0, "output_tokens": 0}
    row |= {name: value for name, value in cells.items() if value is not None}
    row["source"], row["input_id"] = options.source, item.input_id
    row["provider"] = options.provider or row["provider"] or "unknown"
    row["day"] = row["used_at"].date() if row["used_at"] else None
    row["input_tokens"] = sum(row[name] or 0 for name in INPUT_LEAVES)
    return row


def _contradiction(row: Mapping[str, Any]) -> tuple[str, str, str, str] | None:
    if row["used_at"] is None:
        return ("missing_field", "used_at", "a time", "none")
    for name in _COUNTS:
        value = row[name]
        if value is not None and not 0 <= value <= LARGEST:
            return ("impossible_count", name, f"0 to {LARGEST}", str(value))
    for part, whole in _PARTS:
        if (row[part] or 0) > (row[whole] or 0):
            return ("impossible_count", part, f"at most {whole}", f"{row[part]} of {row[whole]}")
    return None


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows that share an id told apart by number; in the order of the table's key."""
    again = pl.int_range(pl.len()).over("record_id")
    named = frame.with_columns(record_id=pl.when(again == 0).then("record_id").otherwise(
        pl.col("record_id") + "." + again.cast(pl.String)))
    return conform(named, CORE_USAGE).sort("used_at", "record_id", maintain_order=True)


def buckets_of(told: Any, uri: str, keys: tuple[str, str], name: str = "") -> tuple[list[Told], list[str]]:
    """Records and bucket names of a page of buckets; each record is told its bucket's bounds."""
    if not isinstance(told, Mapping) or not isinstance(told.get("data"), list):
        error = told.get("error") if isinstance(told, Mapping) else None
        raise Damaged(f"no page with `data` in {uri}: {json.dumps(error, default=str)[:100]}")
    found: list[Told] = []
    names: list[str] = []
    line = 0
    for bucket in told["data"]:
        place = f"{name}|{bucket.get(keys[0])}|{bucket.get(keys[1])}"
        names.append(place)
        for result in bucket.get("results", bucket.get("result")) or []:
            line += 1
            found.append(Told(place, line, {**result, "_start": str(bucket.get(keys[0])),
                                            "_end": str(bucket.get(keys[1]))}))
    return found, names


def count(value: Any) -> int | None:
    """A whole count of JSON text; None where there is none, -1 where it is no whole number: impossible."""
    if value is None:
        return None
    number = amount(str(value)) if not isinstance(value, bool) else None
    return int(number) if number is not None and number == number.to_integral_value() else -1


def width(record: Record) -> tuple[datetime | None, str]:
    """Start and width of a record's bucket."""
    start, end = instant(str(record["_start"])), instant(str(record["_end"]))
    span = end - start if start and end else timedelta(days=1)
    return start, {timedelta(minutes=1): "1m", timedelta(hours=1): "1h"}.get(span, "1d")


def identity(*parts: Any) -> str:
    """A short id of what makes a row the same row when it is told again."""
    text = "\x1f".join("" if part is None else str(part) for part in parts)
    return blake2b(text.encode(), digest_size=10).hexdigest()


def dollars(value: Any) -> Decimal | None:
    """An amount for `reported_cost_usd`: exact, at most 12 decimals."""
    exact = amount(str(value)) if value is not None else None
    return exact.quantize(Decimal(1).scaleb(-12)) if exact is not None and abs(exact) < 10**6 else None
