"""How one source kind is read: a declaration, from which the ingest query is built.

A `Format` names the fields that it reads from each record and gives a DuckDB expression for each `core_usage`
column. The relation that the expressions see holds one row per record (line, CSV row):

    file_no INTEGER     which input of the batch
    line_no BIGINT      record number in it, from 1
    uri VARCHAR         the input's uri, relative to the configuration
    file_at TIMESTAMP   the time that the input's sidecar or name tells, or NULL
    <fields>            as declared in `fields`
    <views>             the typed view of each raw usage object, as declared in `raw`

Expressions may use the macros of `costops.transforms.query`: `n(text)` a whole count or NULL, `utc(text)` an
instant in UTC, `epoch(text)` the same from seconds, `usd(text)` an exact amount, `$opt_provider` the source's
`provider` option. They are constants of ours, never built from data. A `core_usage` column without an
expression is NULL. `source`, `input_id`, `day`, `input_tokens` and `requests` (1) come by themselves.

Counts are checked for every kind alike: a COUNT that is negative, fractional, not a number or beyond 63 bits
sets the record aside as `impossible_count`; cached or reasoning counts above their total do the same; an
unknown key in a raw usage object that carries a number is reported as `unknown_unit`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

TEXT = "VARCHAR"
FLAG = "BOOLEAN"
COUNT = "COUNT"
"""A whole number of something; read as text, so that nothing is rounded or wrapped. Open it with `n(...)`,
except inside a `raw` view, where it is a BIGINT already."""
NUMBER = "NUMBER"
"""A decimal number; kept as text. Open it with `usd(...)` or a cast."""
JSON = "JSON"

Fields = Mapping[str, "str | Fields"]


@dataclass(frozen=True)
class Raw:
    """A usage object read as raw JSON and opened with a typed view, so that its unknown keys can be seen."""

    path: str
    spec: Fields


@dataclass(frozen=True)
class Format:
    """One source kind that feeds usage.

    `fields`      JSON key or CSV header -> type, nested as in the record. Fields that hold prompt text stay out.
    `raw`         view name -> the usage object behind it; its `path` is an expression over `fields` of type JSON.
    `columns`     `core_usage` column -> expression.
    `rows`        a SELECT over the relation `marked` where one record holds many rows (spans in a trace); it
                  selects `marked.*` and more, and keeps a record without any row (LEFT JOIN), so that a malformed
                  one is seen. None: one record, one row.
    `skip`        expression: NULL for a billable row, else the reason why it is none (`failed`, `other_event` ...).
    `checks`      rule name -> expression that is true where the row contradicts itself (`impossible_count`).
    `sidecar`     uri -> uris of files that may tell the input's time (a batch object beside its results).
    `sidecar_at`  bytes of such a file -> the time, or None.
    """

    kind: str
    provider: str
    fields: Fields
    columns: Mapping[str, str]
    raw: Mapping[str, Raw] = field(default_factory=dict)
    rows: str | None = None
    skip: str = "NULL"
    checks: Mapping[str, str] = field(default_factory=dict)
    sidecar: Callable[[str], tuple[str, ...]] | None = None
    sidecar_at: Callable[[bytes], datetime | None] | None = None


def duckdb_type(kind: str | Fields, *, count: str = TEXT) -> str:
    """The DuckDB type of a field, nested ones as STRUCT; COUNT as `count`."""
    if isinstance(kind, Mapping):
        inner = ", ".join(f'"{key}" {duckdb_type(part, count=count)}' for key, part in kind.items())
        return f"STRUCT({inner})"
    return {COUNT: count, NUMBER: TEXT}.get(kind, kind)


def transform_spec(fields: Fields, *, count: str = "BIGINT", json: str = JSON) -> str:
    """The structure text that `json_transform` takes; counts and JSON as these types."""
    def one(kind: str | Fields) -> str:
        if isinstance(kind, Mapping):
            return "{" + ", ".join(f'"{key}": {one(part)}' for key, part in kind.items()) + "}"
        return '"' + {COUNT: count, NUMBER: TEXT, JSON: json}.get(kind, kind) + '"'
    return one(fields)


def leaves(fields: Fields, prefix: str, kind: str | None = None) -> list[str]:
    """Paths of the leaves below `prefix`, of one kind or of all, as SQL expressions."""
    found: list[str] = []
    for key, part in fields.items():
        path = f'{prefix}."{key}"' if prefix else f'"{key}"'
        if isinstance(part, Mapping):
            found += leaves(part, path, kind)
        elif kind is None or part == kind:
            found.append(path)
    return found


def branches(fields: Fields, prefix: str) -> list[str]:
    """Paths of the nested objects below `prefix`."""
    found: list[str] = []
    for key, part in fields.items():
        if isinstance(part, Mapping):
            path = f'{prefix}."{key}"'
            found += [path, *branches(part, path)]
    return found


def without(fields: Fields, prefix: str, left_out: Collection[str]) -> dict[str, str | Fields]:
    """The fields without some leaves, named as `leaves` names them; an object that has none left goes, too."""
    kept: dict[str, str | Fields] = {}
    for key, part in fields.items():
        path = f'{prefix}."{key}"'
        if isinstance(part, Mapping):
            inner = without(part, path, left_out)
            kept |= {key: inner} if inner else {}
        elif path not in left_out:
            kept[key] = part
    return kept


def json_paths(fields: Fields, prefix: str = "$") -> dict[str, str]:
    """JSON path of each leaf -> its kind, as `json_tree.fullkey` spells it."""
    found: dict[str, str] = {}
    for key, part in fields.items():
        path = f'{prefix}.{key}'
        if isinstance(part, Mapping):
            found[path] = "OBJECT"
            found |= json_paths(part, path)
        else:
            found[path] = part
    return found
