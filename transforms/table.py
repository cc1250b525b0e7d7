"""What a dataset is: columns in file order, key, partition. The datasets themselves are in `tables.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import polars as pl

from costops.transforms.fields import FIELDS, Field, Type


@dataclass(frozen=True)
class Table:
    """One dataset: columns in file order, key, partition columns (in the folder names, not in the file)."""

    name: str
    grain: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    partition: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    required: frozenset[str] = field(default_factory=frozenset)

    @property
    def columns(self) -> tuple[str, ...]:
        """All column names, partition columns included."""
        return tuple(f.name for f in self.fields)

    @property
    def file_fields(self) -> tuple[Field, ...]:
        """The columns that stand in the file."""
        return tuple(f for f in self.fields if f.name not in self.partition)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Polars types of all columns."""
        return {f.name: f.type.polars for f in self.fields}

    def type_of(self, name: str) -> Type:
        """The type of one column."""
        return next(f.type for f in self.fields if f.name == name)


def columns(*names: str | Field, types: dict[str, Type] | None = None) -> tuple[Field, ...]:
    """Fields by name, with a wider type where a table sums them."""
    found = (FIELDS[name] if isinstance(name, str) else name for name in names)
    return tuple(replace(f, type=(types or {}).get(f.name, f.type)) for f in found)


def summed(names: Iterable[str]) -> dict[str, Type]:
    """The type override of money columns that are sums."""
    return dict.fromkeys(names, Type.USD_SUM)
