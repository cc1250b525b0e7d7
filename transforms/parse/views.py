"""Typed views of the raw usage objects of a format, and what a view does not explain of its object, as SQL text."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from costops.transforms.parse.format import (
    COUNT,
    JSON,
    NUMBER,
    TEXT,
    Fields,
    Format,
    branches,
    leaves,
    transform_spec,
    without,
)

_KEY_END = '":'
_VIEWED = re.compile(r"\b(\w+)(?:\.\w+)+")
"""A path into a view, in an expression."""


def views(form: Format) -> str:
    """Columns behind a SELECT's own: each raw usage object opened, and its text."""
    return "".join(f", json_transform({raw.path}, '{transform_spec(raw.spec)}') AS {name}, "
                   f"cast({raw.path} AS VARCHAR) AS {name}_raw" for name, raw in form.raw.items())


def narrowed(form: Format, rare: Collection[str]) -> Format:
    """A format whose views leave out some leaves: NULL in its expressions, and odd where an object has one."""
    raw = {name: replace(one, spec=without(one.spec, name, rare) or dict([*one.spec.items()][:1]))    # never empty
           for name, one in form.raw.items()}
    held = {path.replace('"', "") for name, one in raw.items()
            for path in (*leaves(one.spec, name), *branches(one.spec, name))}

    kinds = {path.replace('"', ""): kind for kind in (COUNT, JSON) for name, one in form.raw.items()
             for path in leaves(one.spec, name, kind)}

    def null(path: str) -> str:
        return {COUNT: "NULL::BIGINT", JSON: "NULL::JSON"}.get(kinds.get(path, ""), "NULL::VARCHAR")

    def told(expression: str) -> str:
        return _VIEWED.sub(lambda path: path[0] if path[0] in held or path[1] not in raw else null(path[0]), expression)

    return replace(form, raw=raw, skip=told(form.skip),
                   columns={name: told(one) for name, one in form.columns.items()},
                   checks={name: told(one) for name, one in form.checks.items()})


def odd(form: Format) -> str:
    """True where a raw usage object has more keys than its view explains, a fraction or a truth value.

    A sign needs no look here: a negative count shows in the columns. Nearly always the object is as long as what the
    view explains of it: then it holds nothing else, and its keys need not be counted.
    """
    tests = []
    for name, raw in form.raw.items():
        text = f"{name}_raw"
        seen = [*leaves(raw.spec, name), *branches(raw.spec, name)]
        nested = [f"cast({leaf} AS VARCHAR)" for leaf in leaves(raw.spec, name, JSON)]
        inner = [f"coalesce((strlen({path}) - strlen(replace({path}, '{_KEY_END}', ''))) // 2, 0)" for path in nested]
        explained = " + ".join([*(f"({path} IS NOT NULL)::INTEGER" for path in seen), *inner]) or "0"
        keys = f"(strlen({text}) - strlen(replace({text}, '{_KEY_END}', ''))) // 2"
        nulls = f"(strlen({text}) - strlen(replace({text}, ':null', ''))) // 5"
        whole = "".join(f" AND NOT coalesce(contains({path}, '.') OR contains({path}, 'true'), false)" for path in nested)
        tests.append(f"CASE WHEN strlen({text}) = 1 + {_length(raw.spec, name)}{whole} THEN false "
                     f"WHEN {explained} = {keys} THEN contains({text}, '.') OR contains({text}, 'true') "
                     f"ELSE {explained} <> {keys} - {nulls} OR contains({text}, '.') OR contains({text}, 'true') END")
    return "coalesce(" + " OR ".join(tests) + ", false)" if tests else "false"


def _length(fields: Fields, path: str) -> str:
    """Bytes that the members of an object take in JSON without blanks, each with a comma behind it."""
    parts = []
    for key, kind in fields.items():
        value = f'{path}."{key}"'
        frame = len(key.encode()) + 4
        if isinstance(kind, str):
            length = {COUNT: _digits(value),
                      NUMBER: f"strlen({value})", TEXT: f"2 + strlen({value})",
                      JSON: f"strlen(cast({value} AS VARCHAR))"}.get(kind, "1000000")
            parts.append(f"coalesce({frame} + {length}, 0)")
        else:
            parts.append(f"CASE WHEN {value} IS NULL THEN 0 ELSE {frame + 1} + {_length(kind, value)} END")
    return " + ".join(parts) or "0"


def _digits(count: str) -> str:
    """How many digits a count has; comparisons are cheaper than a logarithm, and most counts are small."""
    known = " ".join(f"WHEN {count} < {10**digits} THEN {digits}" for digits in range(1, 6))
    return f"CASE {known} ELSE 1 + floor(log10({count}))::BIGINT END"
