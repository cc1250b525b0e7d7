"""From raw records to usage rows: the ingest query of any `Format`, as SQL text.

One pass reads the records; what is wrong with one is decided in columns, never by an exception, so a bad record
cannot stop a good one. Tables that the caller makes and finds in the connection:

    inputs      file_no, filename, input_id, uri, file_at, file_day       (given)
    parsed      one row per row of the source: internal columns `_n, _file, _verdict, _odd, _raw`, then core_usage
    odd         rows whose usage object needs a closer look (unknown key, fraction, sign)

`_verdict` is 'ok', or why the row is not kept: a `skip` reason prefixed `skip:`, or a finding's reason code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from costops.transforms.parse.format import (
    COUNT,
    JSON,
    NUMBER,
    TEXT,
    Fields,
    Format,
    Raw,
    branches,
    duckdb_type,
    json_paths,
    leaves,
    transform_spec,
)
from costops.transforms.tables import CORE_USAGE
from costops.transforms.units import INPUT_LEAVES, UNITS

LARGEST_COUNT = 10**15
"""A count beyond this on one row is impossible: every model's lifetime output would not reach it."""

_ZERO = frozenset({"uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
                   "output_tokens", "reasoning_tokens"})
"""Counts that are 0 where the source does not tell them; the others are NULL then."""

_ABSENT = {"granularity": "'request'", "status": "'ok'", "service_tier": "'standard'", "requests": "1",
           **dict.fromkeys(_ZERO, "0")}
"""What a column holds whose format has no expression for it; NULL where it is not named."""

_CONSTANT = re.compile(r"\s*(?:'[^']*'|NULL|coalesce\((?:NULL|'[^']*')(?:, (?:NULL|'[^']*'))*\))\s*")
"""An expression that reads nothing from the record."""

_KEY_END = '":'
_WHOLE = r"'^\s*\+?[0-9]+(\.0*)?\s*$'"


def read_records(form: Format, filenames: list[str], *, largest: int) -> str:
    """A SELECT over the records of JSON Lines files, `_n` numbering them in file order.

    A record that is not a JSON object comes out with every field NULL.
    """
    fields = ", ".join(f"{_quoted(key)}: {_quoted(duckdb_type(kind))}" for key, kind in form.fields.items())
    names = ", ".join(_quoted(name) for name in filenames)
    return f"""SELECT *, row_number() OVER () AS _n FROM read_json([{names}], format = 'newline_delimited',
        filename = true, ignore_errors = true, maximum_object_size = {largest}, columns = {{{fields}}})"""


def read_rows(filenames: list[str], header: Sequence[str], *, fields: Fields, largest: int) -> str:
    """The same over CSV files that have one header: each field by its column name, absent ones NULL.

    What is no row of that header (cells too many or missing, a quote that is never closed, bytes that are no UTF-8)
    is left out and told by `rejected_select`.
    """
    names = ", ".join(_quoted(name) for name in filenames)
    columns = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in header)
    absent = ", ".join(f"NULL::VARCHAR AS {_identifier(name)}" for name in fields)
    return f"""SELECT *, row_number() OVER () AS _n FROM (
        SELECT {absent} WHERE false UNION ALL BY NAME
        SELECT * FROM read_csv([{names}], header = true, auto_detect = false, columns = {{{columns}}},
            filename = true, delim = ',', quote = '"', escape = '"', strict_mode = true,
            max_line_size = {largest}, ignore_errors = true, store_rejects = true, rejects_limit = 0))"""


def rejected_select() -> str:
    """A SELECT over what `read_rows` left out: filename, place in bytes, reason, field, detail, the row as it stands."""
    return """SELECT s.file_path AS filename, any_value(e.line_byte_position) AS place,
    CASE WHEN bool_or(e.error_type = 'INVALID ENCODING') THEN 'malformed_record' ELSE 'bad_row' END AS reason,
    any_value(e.column_name ORDER BY e.column_idx) AS field,
    lower(any_value(e.error_type::VARCHAR ORDER BY e.column_idx)) AS detail,
    any_value(e.csv_line ORDER BY e.column_idx) AS text
FROM reject_errors AS e JOIN reject_scans AS s USING (scan_id, file_id) GROUP BY s.file_path, e.line
ORDER BY s.file_path, e.line"""


def parse_statement(form: Format, records: str, options: Mapping[str, str]) -> str:
    """CREATE TABLE parsed: every row of the source with its verdict and the columns that the format tells.

    `records` is one of the SELECTs above. `options` are the source's own constants (`provider`, `region` ...).
    """
    columns = _told(form, options)
    selected = ",\n    ".join(f"{expression} AS {name}" for name, expression in columns.items())
    checks = " ".join(f"WHEN {_filled(wrong, options)} THEN '{reason}'" for reason, wrong in form.checks.items())
    return f"""CREATE OR REPLACE TEMP TABLE parsed AS
WITH lines AS ({records}),
viewed AS (
    SELECT i.file_no, l._n AS line_no, i.uri, i.file_at, l.* EXCLUDE (_n, filename){_views(form)}
    FROM lines AS l JOIN inputs AS i USING (filename)
),
marked AS (SELECT *, {_all_null(form)} AS _empty, {_odd(form)} AS _odd, {_bad_text_counts(form)} AS _bad_text
    FROM viewed),
records AS ({form.rows or "SELECT * FROM marked"}),
mapped AS (
    SELECT records.line_no AS _n, records.file_no AS _file, records._empty, records._odd, records._bad_text,
    {_filled(form.skip, options)} AS _skip,
    {_first_raw(form)} AS _raw,
    CASE {checks or "WHEN false THEN NULL"} END AS _check,
    {selected}
    FROM records
)
SELECT _n, _file, _odd, CASE WHEN _odd THEN _raw END AS _raw,
    CASE WHEN _empty THEN 'malformed_record'
        WHEN _skip IS NOT NULL THEN concat('skip:', _skip)
        WHEN _bad_text IS NOT NULL THEN concat('impossible_count:', _bad_text)
        WHEN _check IS NOT NULL THEN _check
        {"WHEN _raw IS NULL OR NOT starts_with(_raw, '{') THEN 'missing_field:usage'" if form.raw else ""}
        WHEN {_contradiction(set(columns))} THEN 'impossible_count'
        WHEN record_id IS NULL OR record_id = '' THEN 'missing_field:record_id'
        WHEN used_at IS NULL THEN 'missing_field:used_at'
        WHEN used_at < TIMESTAMP '1970-01-01' THEN 'impossible_time:used_at'
        {"WHEN model_id IS NULL OR model_id = '' THEN 'missing_field:model_id'" if "model_id" in columns else ""}
        {"WHEN provider IS NULL THEN 'missing_field:provider'" if "provider" in columns else ""}
        ELSE 'ok' END AS _verdict,
    {", ".join(map(_typed, columns))}
FROM mapped"""


def usage_select(form: Format, options: Mapping[str, str], *, source: str, where: str = "true") -> str:
    """A SELECT over `parsed` and `inputs`: the kept rows with all `core_usage` columns, typed and in order.

    Behind the columns stand `_file`, `_n` (the record) and `_row` (the row of `parsed`).
    """
    told, constants = _told(form, options), _expressions(form, options)
    inputs = " + ".join(f"coalesce({name}, 0)" for name in INPUT_LEAVES if name in told) or "0"
    special = {
        "source": _quoted(source), "input_id": "i.input_id", "day": "cast(used_at AS DATE)",
        "input_tokens": f"cast({inputs} AS BIGINT)",
    }
    parts = []
    for name in CORE_USAGE.columns:
        if name in told and name not in special:
            parts.append(f"p.{name}")
            continue
        expression = special.get(name, constants.get(name, _ABSENT.get(name, "NULL")))
        parts.append(f"cast({expression} AS {CORE_USAGE.type_of(name).duckdb}) AS {name}")
    return f"""SELECT {", ".join(parts)}, p._file, p._n, p.rowid AS _row
FROM parsed AS p JOIN inputs AS i ON i.file_no = p._file WHERE {where}"""


def odd_statement(raw: Raw) -> str:
    """A SELECT over `parsed`: each leaf of an odd usage object that is unknown or not a whole count.

    Columns `_n, _file, path, value, reason`; reason `impossible_count` sets the row aside, `unknown_unit` warns.
    """
    known = json_paths(raw.spec)
    rows = ", ".join(f"('{path}', '{kind}')" for path, kind in known.items())
    return f"""WITH known(path, kind) AS (VALUES {rows}),
leaves AS (
    SELECT p._n, p._file, replace(t.fullkey, '"', '') AS path, t.type AS type, cast(t.atom AS VARCHAR) AS value
    FROM parsed AS p, json_tree(CASE WHEN json_valid(p._raw) THEN p._raw::JSON END) AS t
    WHERE p._odd AND p._verdict = 'ok' AND t.atom IS NOT NULL AND t.type <> 'NULL'
)
SELECT l._n, l._file, l.path, l.value,
    CASE WHEN k.kind = '{COUNT}' THEN 'impossible_count' ELSE 'unknown_unit' END AS reason
FROM leaves AS l LEFT JOIN known AS k ON k.path = l.path
WHERE (k.kind = '{COUNT}' AND NOT coalesce(regexp_full_match(trim(l.value, '"'), {_WHOLE})
        AND n(trim(l.value, '"')) <= {LARGEST_COUNT}, false))
   OR (k.kind IS NULL AND l.type IN ('UBIGINT', 'BIGINT', 'DOUBLE', 'HUGEINT') AND l.value NOT IN ('0', '0.0')
       AND regexp_matches(l.path, '(token|count|second|char|image|audio|video|search|request|page|unit)', 'i')
       AND NOT contains(l.path, '['))"""


def with_constants(form: Format, values: Mapping[str, str]) -> Format:
    """A format whose columns hold the configured values, whatever the records say."""
    return replace(form, columns={**form.columns, **{name: _quoted(value) for name, value in values.items()}})


def with_teams(form: Format, rules: Sequence[tuple[str, str, str]], *, source: str) -> Format:
    """A format whose team is decided by the first rule that fits: (column, pattern with `*` and `?`, team).

    A column that the format does not tell fits no rule; where none fits, the record's own team stays.
    """
    told = {**form.columns, "source": _quoted(source)}
    whens = " ".join(f"WHEN cast({told[name]} AS VARCHAR) GLOB {_quoted(pattern)} THEN {_quoted(team)}"
                     for name, pattern, team in rules if name in told)
    if not whens:
        return form
    return replace(form, columns={**form.columns, "team": f"CASE {whens} ELSE {form.columns.get('team', 'NULL')} END"})


def told_columns(form: Format) -> set[str]:
    """The `core_usage` columns that a format can fill."""
    return {*form.columns, *_ABSENT, "input_id", "input_tokens"}


def _told(form: Format, options: Mapping[str, str]) -> dict[str, str]:
    """`core_usage` column -> expression that reads the record, in the table's order; constants are left out."""
    return {name: expression for name, expression in _expressions(form, options).items()
            if not _CONSTANT.fullmatch(expression)}


def _expressions(form: Format, options: Mapping[str, str]) -> dict[str, str]:
    """`core_usage` column -> expression, with the tier's default."""
    told = {name: _filled(expression, options) for name, expression in form.columns.items()}
    if "service_tier" in told:
        told["service_tier"] = f"coalesce({told['service_tier']}, 'standard')"
    return {name: told[name] for name in CORE_USAGE.columns if name in told}


def _typed(name: str) -> str:
    kind = CORE_USAGE.type_of(name).duckdb
    return f"cast(coalesce({name}, 0) AS {kind}) AS {name}" if name in _ZERO else f"cast({name} AS {kind}) AS {name}"


def _contradiction(told: set[str]) -> str:
    """True where a count is negative, absurdly large, or larger than what it is a part of."""
    units = [unit for unit in UNITS if unit.column in told]
    counts = ", ".join(f"coalesce({unit.column}, 0)" for unit in units)
    parts = [f"coalesce({unit.column}, 0) > coalesce({unit.part_of}_tokens, 0)" for unit in units if unit.part_of]
    return " OR ".join([f"least({counts}) < 0", f"greatest({counts}) > {LARGEST_COUNT}", *parts])


def _views(form: Format) -> str:
    return "".join(f", json_transform({raw.path}, '{transform_spec(raw.spec)}') AS {name}, "
                   f"cast({raw.path} AS VARCHAR) AS {name}_raw" for name, raw in form.raw.items())


def _all_null(form: Format) -> str:
    return "(" + " AND ".join(f'"{key}" IS NULL' for key in form.fields) + ")"


def _bad_text_counts(form: Format) -> str:
    """The first COUNT field read as text that is no whole number, by name; NULL where all are."""
    whens = " ".join(
        f"WHEN {path} IS NOT NULL AND (n({path}) IS NULL OR n({path}) < 0 OR contains({path}, '.') AND NOT "
        f"regexp_full_match({path}, {_WHOLE})) THEN '{path.replace(chr(34), '')}'"
        for path in leaves(form.fields, "", COUNT))
    return f"CASE {whens} END" if whens else "NULL::VARCHAR"


def _odd(form: Format) -> str:
    """True where a raw usage object has more keys than its view explains, a fraction or a truth value.

    A sign needs no look here: a negative count shows in the columns. Nearly always the object is as long as what the
    view explains of it: then it holds nothing else, and its keys need not be counted."""
    tests = []
    for name, raw in form.raw.items():
        text = f"{name}_raw"
        seen = [*leaves(raw.spec, name), *branches(raw.spec, name)]
        nested = [f"cast({leaf} AS VARCHAR)" for leaf in leaves(raw.spec, name, JSON)]
        inner = [f"coalesce((strlen({path}) - strlen(replace({path}, '{_KEY_END}', ''))) // 2, 0)" for path in nested]
        explained = " + ".join([*(f"({path} IS NOT NULL)::INTEGER" for path in seen), *inner])
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
            length = {COUNT: f"CASE WHEN {value} < 10 THEN 1 ELSE 1 + floor(log10({value}))::BIGINT END",
                      NUMBER: f"strlen({value})", TEXT: f"2 + strlen({value})",
                      JSON: f"strlen(cast({value} AS VARCHAR))"}.get(kind, "1000000")
            parts.append(f"coalesce({frame} + {length}, 0)")
        else:
            parts.append(f"CASE WHEN {value} IS NULL THEN 0 ELSE {frame + 1} + {_length(kind, value)} END")
    return " + ".join(parts) or "0"


def _first_raw(form: Format) -> str:
    return f"records.{next(iter(form.raw))}_raw" if form.raw else "NULL::VARCHAR"


def _filled(expression: str, options: Mapping[str, str]) -> str:
    """Put the source's options into an expression as quoted literals; an option not given is NULL."""
    for key in ("provider", "account_id", "region"):
        value = options.get(key)
        expression = expression.replace(f"$opt_{key}", _quoted(value) if value else "NULL")
    return expression


def input_id(source: str, uri: str, named: date | None) -> str:
    """The id of an input of a source, the same whatever its bytes; ids sort by the day in the name, none last.

    Between two copies of a record the one in the earlier input counts, so that only what really came late is late.
    """
    day = (named - date(1970, 1, 1)).days if named else 0xFFFF
    return f"{day:04x}" + hashlib.sha256(f"{source}\x1f{uri}".encode()).hexdigest()[:12]


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
