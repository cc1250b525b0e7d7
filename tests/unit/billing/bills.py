"""Small bills for tests: written to files, read back as a source would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from costops.transforms.billing.bill import Batch, Input, Options, Tally
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import Bills, read_bill


def inputs(root: Path, pattern: str) -> list[Input]:
    """The files of a tree that a pattern finds, as inputs."""
    return [Input(path.relative_to(root).as_posix(), path) for path in sorted(root.glob(pattern)) if path.is_file()]


def batches(kind: str, files: Sequence[Input], options: Options | None = None) -> list[Batch]:
    """Everything that a kind's reader makes of the files."""
    form, given = BILL_FORMAT[kind], options or Options("s")
    return [batch for delivery in form.plan(files, given)[0] for batch in form.read(delivery, given)]


def rows(made: Sequence[Batch]) -> pl.DataFrame:
    """All rows of batches."""
    return pl.concat([batch.rows for batch in made])


def total(made: Sequence[Batch]) -> Tally:
    """The tallies of batches, added."""
    sum_ = Tally("")
    for batch in made:
        sum_ += batch.tally
    return sum_


def write(root: Path, name: str, text: str) -> Input:
    """A file of text as an input."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return Input(name, path)


def costs_page(root: Path, as_of: str, days: Mapping[str, Sequence[tuple[str, str]]]) -> Input:
    """A page of OpenAI costs: day -> (line item, dollars)."""
    from datetime import UTC, datetime

    data = []
    for day, lines in days.items():
        start = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
        data.append({"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": [
            {"object": "organization.costs.result", "amount": {"value": Decimal(dollars), "currency": "usd"},
             "line_item": line, "project_id": "p"} for line, dollars in lines]})
    body = json.dumps({"object": "page", "data": data, "has_more": False}, default=str)
    return write(root, f"costs/as_of={as_of}/page.json", body)


def decided(kind: str, files: Sequence[Input], **more: Any) -> Bills:
    """What `read_bill` decides."""
    return read_bill(BILL_FORMAT[kind], files, more.pop("options", Options("s")), **more)
