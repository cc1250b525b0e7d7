"""Bills that are tables of text: one loop over the files of a delivery, and helpers for their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import polars as pl

from costops.transforms.billing.bill import Batch, Delivery, Input, Options, Seen
from costops.transforms.billing.rows import Place, bad_rows, damaged
from costops.transforms.billing.text import Damaged, Sheet, sheet_batches

Make = Callable[[pl.DataFrame, Input, Options], Batch]


def read_sheets(delivery: Delivery, options: Options, rename: Callable[[str], str | None],
                make: Make) -> Iterator[Batch]:
    """The batches of every file of a delivery; what its reader could not read comes last, as findings."""
    options = replace(options, seen=Seen())
    for number, item in enumerate(delivery.inputs):
        sheet = Sheet()
        try:
            for part, frame in enumerate(sheet_batches(item.path, sheet, rename=rename,
                                                       batch_bytes=options.batch_bytes)):
                yield numbered(make(frame, item, options), number, part)
        except Damaged as why:
            yield damaged(item, options, str(why))
        if sheet.bad:
            yield bad_rows(sheet.bad, Place(item, options, ()))


def numbered(batch: Batch, file: int, part: int) -> Batch:
    """The batch with row ids that stay unique over the files and parts of a delivery."""
    if not file and not part:
        return batch
    suffix = f"-{file}" + (f".{part}" if part else "")
    return Batch(batch.rows.with_columns(pl.col("x_SourceRowId") + suffix), batch.findings, batch.tally, batch.days)


def tags_of(frame: pl.DataFrame, prefix: str) -> pl.Expr:
    """A JSON object of the columns whose name starts with `prefix`, empty cells left out; NULL where all are."""
    names = [name for name in frame.columns if name.startswith(prefix)]
    pairs = []
    for name in names:
        key = quoted(pl.lit(name.removeprefix(prefix)))
        value = pl.col(name)
        pairs.append(pl.when(value.is_not_null() & (value != "")).then(key + ":" + quoted(value)))
    if not pairs:
        return pl.lit(None, dtype=pl.String)
    joined = pl.concat_str(pairs, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.lit("{") + joined + pl.lit("}"))


def quoted(text: pl.Expr) -> pl.Expr:
    """A JSON string of text."""
    inner = text.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    return pl.lit('"') + inner.str.replace_all(r"[\x00-\x1f]", " ") + pl.lit('"')


def first_of(frame: pl.DataFrame, names: Sequence[str]) -> str | None:
    """The first of these columns that the frame has."""
    return next((name for name in names if name in frame.columns), None)
