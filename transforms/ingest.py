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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

from costops.transforms.parse.format import (
    COUNT,
    JSON,
    TEXT,
    Fields,
    Format,
    Raw,
    duckdb_type,
    json_paths,
    leaves,
    transform_spec,
)
from costops.transforms.parse.views import narrowed, odd, views
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

_OF_ROW = ("records", "file_no", "line_no", "uri", "file_at")
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CONSTANT = re.compile(r"\s*(?:'[^']*'|NULL|coalesce\((?:NULL|'[^']*')(?:, (?:NULL|'[^']*'))*\))\s*")
"""An expression that reads nothing from the record, where its rows have names of their own."""
_SAMPLED = 2_000
_RARE = 50
"""A leaf that fewer than one record in so many has is not usual."""

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


def parse_select(form: Format, records: str, options: Mapping[str, str], *, lean: bool = False) -> str:
    """A SELECT of what `parsed` holds: every row with its verdict and the columns that the format tells.

    `records` is one of the SELECTs above. `options` are the source's own constants (`provider`, `region` ...). With
    `lean` the format is one of `lean_format`: a record that it does not explain comes with its fields as `_again`.
    """
    columns = _told(form, options)
    selected = ",\n    ".join(f"{expression} AS {name}" for name, expression in columns.items())
    checks = " ".join(f"WHEN {_filled(wrong, options)} THEN '{reason}'" for reason, wrong in form.checks.items())
    again = ""
    if lean:
        selected += f",\n    CASE WHEN _odd THEN to_json({_packed(form.fields)})::VARCHAR END AS _again"
        again = "_again, "
    return f"""WITH lines AS ({records}),
viewed AS (
    SELECT i.file_no, l._n AS line_no, i.uri, i.file_at, l.* EXCLUDE (_n, filename){views(form)}
    FROM lines AS l JOIN inputs AS i USING (filename)
),
marked AS (SELECT *, {_all_null(form)} AS _empty, {odd(form)} AS _odd, {_bad_text_counts(form)} AS _bad_text
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
SELECT {again}_n, _file, _odd, CASE WHEN _odd THEN _raw END AS _raw,
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


def lean_format(form: Format, records: str) -> tuple[str, Callable[[Sequence[int]], Format]]:
    """A SELECT over some records, and what its one row makes of the format: one that reads what is usual in them.

    It is the same format where nothing can be left out.
    """
    paths = [path for name, raw in form.raw.items() for path in leaves(raw.spec, name)]
    counts = "".join(f", count({path})" for path in paths)

    def made(row: Sequence[int]) -> Format:
        rare = {path for path, count in zip(paths, row[1:], strict=True) if count * _RARE < row[0]}
        return narrowed(form, rare) if rare and form.rows is None else form

    return f"SELECT count(*){counts} FROM (SELECT l.*{views(form)} FROM ({records} LIMIT {_SAMPLED}) AS l)", made


def again_select(form: Format) -> str:
    """A SELECT of the records that a lean format did not explain, as `read_records` gives them."""
    spec = transform_spec(form.fields, count=TEXT, json=TEXT)
    return f"""SELECT unnest(cast(from_json(p._again, '{spec}') AS {duckdb_type(form.fields)})), i.filename, p._n
FROM parsed AS p JOIN inputs AS i ON i.file_no = p._file WHERE p._again IS NOT NULL"""


def missing_columns(form: Format, lean: Format, options: Mapping[str, str]) -> dict[str, str]:
    """The columns that a `parsed` read by a lean format lacks, with the constant that each is by that format."""
    short, values = _told(lean, options), _expressions(lean, options)
    return {name: _coalesced(name, values[name]) for name in _told(form, options) if name not in short}


def add_column(name: str, value: str | None) -> str:
    """ALTER TABLE parsed: a column that has one value on all rows."""
    kind = CORE_USAGE.type_of(name).duckdb
    return f"ALTER TABLE parsed ADD COLUMN {name} {kind} DEFAULT {'NULL' if value is None else f'{_quoted(value)}::{kind}'}"


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
    names = "|".join(map(re.escape, (*form.fields, *form.raw, *(f"{name}_raw" for name in form.raw), *_OF_ROW)))
    reads = re.compile(rf'"|(?<!\w)(?:{names})(?!\w)')
    return {name: expression for name, expression in _expressions(form, options).items()
            if (not _CONSTANT.fullmatch(expression) if form.rows else reads.search(_LITERAL.sub("", expression)))}


def _expressions(form: Format, options: Mapping[str, str]) -> dict[str, str]:
    """`core_usage` column -> expression, with the tier's default."""
    told = {name: _filled(expression, options) for name, expression in form.columns.items()}
    if "service_tier" in told:
        told["service_tier"] = f"coalesce({told['service_tier']}, 'standard')"
    return {name: told[name] for name in CORE_USAGE.columns if name in told}


def _typed(name: str) -> str:
    return f"cast({_coalesced(name, name)} AS {CORE_USAGE.type_of(name).duckdb}) AS {name}"


def _coalesced(name: str, value: str) -> str:
    return f"coalesce({value}, 0)" if name in _ZERO else value


def _packed(fields: Fields, prefix: str = "") -> str:
    """The fields of a record as they are; JSON as text, so that no number in it is written anew."""
    parts = []
    for key, kind in fields.items():
        path = f"{prefix}{_identifier(key)}"
        value = f"{path}::VARCHAR" if kind == JSON else path
        if not isinstance(kind, str):
            value = f"CASE WHEN {path} IS NOT NULL THEN {_packed(kind, f'{path}.')} END"
        parts.append(f"{_identifier(key)} := {value}")
    return f"struct_pack({', '.join(parts)})"


def _contradiction(told: set[str]) -> str:
    """True where a count is negative, absurdly large, or larger than what it is a part of."""
    units = [unit for unit in UNITS if unit.column in told]
    counts = ", ".join(f"coalesce({unit.column}, 0)" for unit in units)
    parts = [f"coalesce({unit.column}, 0) > " + (
        f"coalesce({unit.part_of}_tokens, 0)" if f"{unit.part_of}_tokens" in told else "0")
        for unit in units if unit.part_of]
    return " OR ".join([f"least({counts}) < 0", f"greatest({counts}) > {LARGEST_COUNT}", *parts]) if units else "false"


def _all_null(form: Format) -> str:
    return "(" + " AND ".join(f'"{key}" IS NULL' for key in form.fields) + ")"


def _bad_text_counts(form: Format) -> str:
    """The first COUNT field read as text that is no whole number, by name; NULL where all are."""
    whens = " ".join(
        f"WHEN {path} IS NOT NULL AND (n({path}) IS NULL OR n({path}) < 0 OR contains({path}, '.') AND NOT "
        f"regexp_full_match({path}, {_WHOLE})) THEN '{path.replace(chr(34), '')}'"
        for path in leaves(form.fields, "", COUNT))
    return f"CASE {whens} END" if whens else "NULL::VARCHAR"


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
