"""Bills that come as pages of daily buckets: which page tells a bucket, and the rows of a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any

import polars as pl

from costops.transforms.billing.bill import Batch, Delivery, Input, Options, Tally
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.rows import CORE_BILLING_EMPTY, damaged
from costops.transforms.billing.text import Damaged, document, instant

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Bucket:
    """One bucket of one page."""

    start: str
    end: str
    results: Sequence[Row]
    item: Input
    first_line: int


def page_buckets(told: Any, item: Input, start: str, end: str) -> list[Bucket]:
    """The buckets of a page; `results` and the older `result` alike. Refuses what is no page."""
    if not isinstance(told, Mapping) or not isinstance(told.get("data"), list):
        kind = told.get("error") if isinstance(told, Mapping) else told
        raise Damaged(f"no page with `data`: {json.dumps(kind, default=str)[:120]}")
    found: list[Bucket] = []
    line = 1
    for bucket in told["data"]:
        results = bucket.get("results", bucket.get("result")) if isinstance(bucket, Mapping) else None
        if not isinstance(results, list):
            raise Damaged("a bucket without `results`")
        found.append(Bucket(str(bucket.get(start, "")), str(bucket.get(end, "")), results, item, line))
        line += len(results)
    return found


@dataclass(frozen=True)
class Shape:
    """How a provider's pages are: keys of a bucket's start and end.

    `adapt` brings another form of answer into that of pages. `split`: a bucket may go on in the next page, and only
    the same results are the same bucket.
    """

    start: str
    end: str
    adapt: Callable[[Any], Any] = lambda told: told
    split: bool = False
    empty: pl.DataFrame = field(default_factory=lambda: CORE_BILLING_EMPTY)
    dataset: str = "core_billing"


def read_pages(delivery: Delivery, options: Options, shape: Shape,
               make: Callable[[list[Bucket], Input, Options], Batch]) -> Iterator[Batch]:
    """The batches of the pages of a delivery, one for each page.

    A bucket that stands in two pages is taken once: from the later page. If they differ there is a finding.
    """
    split, dataset = shape.split, shape.dataset
    pages: list[tuple[Input, list[Bucket]]] = []
    for item in delivery.inputs:
        try:
            told = document(item.path)
            pages.append((item, page_buckets(shape.adapt(told), item, shape.start, shape.end)))
        except Damaged as why:
            made = damaged(item, options, str(why), dataset=dataset)
            yield Batch(shape.empty, made.findings, made.tally)
    last: dict[tuple[str, ...], tuple[int, str]] = {}
    for number, (_, buckets) in enumerate(pages):
        for bucket in buckets:
            last[_place(bucket, split=split)] = (number, _digest(bucket))
    for number, (item, buckets) in enumerate(pages):
        kept: list[Bucket] = []
        again, changed = 0, []
        seen: set[tuple[str, ...]] = set()
        for bucket in buckets:
            place = _place(bucket, split=split)
            winner, digest = last[place]
            if winner == number and place not in seen:
                kept.append(bucket)
                seen.add(place)
                continue
            again += len(bucket.results)
            if digest != _digest(bucket):
                changed.append(Finding("restated_bucket", "warning", item.uri, bucket.first_line, "data",
                                       expected="the same bucket in both pages", actual=bucket.start,
                                       mend="the later page counts", records=len(bucket.results)))
        batch = make(kept, item, options)
        said = pl.concat([batch.findings, findings(changed, source=options.source, dataset=dataset)])
        yield Batch(batch.rows, said, batch.tally + Tally(item.uri, again, 0, again), days_of(kept))


def _place(bucket: Bucket, *, split: bool) -> tuple[str, ...]:
    return (bucket.start, bucket.end, _digest(bucket)) if split else (bucket.start, bucket.end)


def days_of(buckets: Sequence[Bucket]) -> tuple[date, ...]:
    """The days on which the buckets start, empty ones too."""
    starts = {instant(bucket.start) for bucket in buckets}
    return tuple(sorted({start.date() for start in starts if start is not None}))


def _digest(bucket: Bucket) -> str:
    text = json.dumps(bucket.results, sort_keys=True, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def text(value: Any) -> str | None:
    """A JSON scalar as text; an object or list as JSON."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pl.DataFrame:
    """Text columns of dicts with text values, and `_line`."""
    data: dict[str, list[Any]] = {name: [text(row.get(name)) for row in rows] for name in columns}
    lines = [row["_line"] for row in rows]
    frame = pl.DataFrame(data, schema=dict.fromkeys(columns, pl.String))
    return frame.with_columns(pl.Series("_line", lines, dtype=pl.Int64))
