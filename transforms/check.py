"""The contract check of every dataset write: nothing is written that its table does not describe."""

from __future__ import annotations

import polars as pl

from costops.transforms.errors import Refused
from costops.transforms.tables import Table


def check(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """`frame` with the table's columns in the table's order.

    Refuses, naming the table and the column: a missing or extra column, a type other than declared, a null in
    a required or key column that may not be null, and a key that stands twice.
    """
    given, wanted = set(frame.columns), set(table.columns)
    if given != wanted:
        raise Refused(f"{table.name}: missing columns {sorted(wanted - given)}, extra {sorted(given - wanted)}; "
                      "mend the transform that makes it.")
    frame = frame.select(table.columns)
    for name, dtype in table.schema.items():
        if frame.schema[name] != dtype:
            raise Refused(f"{table.name}.{name}: expected {dtype}, got {frame.schema[name]}.")
    for name in sorted(table.required):
        if frame[name].null_count():
            raise Refused(f"{table.name}.{name}: {frame[name].null_count()} nulls in a required column.")
    twice = frame.height - frame.select(pl.struct(table.key).n_unique()).item() if frame.height else 0
    if twice:
        raise Refused(f"{table.name}: {twice} rows repeat the key {table.key}.")
    return frame


def conform(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """`frame` with absent columns added as nulls and each column cast to the table's type."""
    if frame.is_empty():
        return pl.DataFrame(schema=table.schema)    # literals alone would make one row of nulls
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in table.schema.items()
    )
