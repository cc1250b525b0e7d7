"""Sums per key where most keys have one row: those rows are taken as they are, and only the others are grouped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

More = Mapping[str, tuple[pl.Expr, pl.Expr]]
"""Name -> what it is of a group, and the same of a row that is alone."""


def summed(rows: pl.DataFrame, keys: Sequence[str], sums: Sequence[str], mins: Sequence[str] = (),
           more: More | None = None) -> pl.DataFrame:
    """One row per key, in no particular order: `keys`, the sum of `sums` (NULL counts as 0), the least of `mins`, `more`.

    A hash tells rows that are surely alone; two keys of one hash are only grouped in vain.
    """
    others = more or {}
    marked = rows.with_columns(_twin=pl.struct(keys).hash().is_duplicated())
    alone = marked.filter(~pl.col("_twin")).select(
        *keys, *(pl.col(name).fill_null(0) for name in sums), *mins,
        *(single.alias(name) for name, (_, single) in others.items()))
    twins = marked.filter("_twin")
    if twins.is_empty():
        return alone
    grouped = twins.group_by(keys).agg(
        *(pl.col(name).sum() for name in sums), *(pl.col(name).min() for name in mins),
        **{name: many for name, (many, _) in others.items()})
    return pl.concat([alone, grouped.select(alone.columns).cast(alone.schema)])


def told_by_all(name: str) -> tuple[pl.Expr, pl.Expr]:
    """A sum only where every row tells an amount."""
    value = pl.col(name)
    return pl.when(value.is_null().any()).then(None).otherwise(value.sum()), value


def first_and_last(name: str) -> tuple[pl.Expr, pl.Expr]:
    """The first and the last text in order, once where they are one; NULL where there is none."""
    first, last = pl.col(name).min(), pl.col(name).max()
    return pl.when(first == last).then(first).otherwise(pl.concat_str(first, last, separator=" ")), pl.col(name)


def greatest(name: str) -> tuple[pl.Expr, pl.Expr]:
    """The greatest value."""
    return pl.col(name).max(), pl.col(name)


def always(name: str) -> tuple[pl.Expr, pl.Expr]:
    """True where every row is."""
    return pl.col(name).all(), pl.col(name)
