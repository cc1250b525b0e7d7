"""Which of several records with one id counts, and how a day's partition is put together, as SQL text.

The rule is one total order, so that any order of delivery ends in the same rows: of two records with one id the
one with more output, then more input, then the later time wins (a streamed message is told again, larger); between
equals the input whose id sorts first, then the earlier record.

Days that hold nothing yet are written as a stream: the rows sorted by what varies in them only, priced a row group
at a time (`groups_statement`, `picked_select`, `rates_statement`, `costs_select`). Days that hold rows already are
put together from both (`priced_statement`, `day_select`). Both give the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from costops.transforms.charge import PRICE_KEYS, charge_sql, pico_sql
from costops.transforms.fields import Type
from costops.transforms.prices.cells import PLAIN_UNITS
from costops.transforms.tables import CORE_CHARGE, CORE_USAGE
from costops.transforms.units import INPUT_LEAVES, UNITS

ORDER = "output_tokens DESC, input_tokens DESC, used_at DESC, input_id, _n"

BETTER = ("(n.output_tokens, n.input_tokens, n.used_at) > (o.output_tokens, o.input_tokens, o.used_at) OR "
          "(n.output_tokens, n.input_tokens, n.used_at) = (o.output_tokens, o.input_tokens, o.used_at) "
          "AND n.input_id < o.input_id")
"""True where the new record `n` wins over `o`, which is in the lake already."""

MARK_DUPLICATES = f"""CREATE OR REPLACE TEMP TABLE losers AS SELECT _row FROM (
    SELECT _row, row_number() OVER (PARTITION BY record_id ORDER BY {ORDER}, _row) AS place
    FROM usage WHERE hash(record_id) IN (SELECT h FROM twice))
WHERE place > 1"""
"""Records that another of the batch beats: `twice` holds the hashes that stand more than once."""

MARK_OLD = f"""CREATE OR REPLACE TEMP TABLE met AS
SELECT n._row, o.day AS old_day, o.record_id, o.input_id AS old_input, ({BETTER}) AS wins
FROM usage AS n JOIN known AS o ON n.record_id = o.record_id"""
"""Records told now that the lake knows: `known` holds the ids of the neighbouring days."""

IMPOSSIBLE = ("overflow", "impossible")
"""Price statuses of rows that are not kept."""

_FILE_COLUMNS = tuple(name for name in CORE_CHARGE.columns if name not in CORE_CHARGE.partition)
_CLUSTER = tuple(name for name in CORE_CHARGE.sort if name not in {"used_at", "record_id"})
_OWN_TEXT = frozenset({"record_id", "response_id", "api_key_id", "user_id", "tags"})
"""Texts of the row itself; every other text repeats so much that its combinations fit a small table."""

_ELSEWHERE = frozenset({"source", "day", "input_id", "input_tokens"})
"""Columns of `usage` that follow from the others: not sorted, put in again behind the sort."""

_REPEATED = tuple(name for name in CORE_USAGE.columns if CORE_USAGE.type_of(name) is Type.TEXT
                  and name not in _OWN_TEXT | _ELSEWHERE)

_ROW_COSTS = ("list_cost_usd", "effective_cost_usd", "request_cost_usd", "price_status", "price_id", "price_source",
              "unpriced_low_usd", "unpriced_high_usd")
_UNIT_OF = {unit.column: unit for unit in UNITS}
_PLAIN = frozenset(PLAIN_UNITS)
MOST_SORTED = 1_000_000
"""So many rows are sorted at once, in memory."""
MOST_GROUPS = 5_000
"""Prices are looked up by group up to so many groups; beyond, by the columns that decide them."""


@dataclass(frozen=True)
class Layout:
    """Which columns of a batch's usage rows vary, which are the same throughout, which repeat in groups.

    `rows` counts them; `constant` holds name -> value, as text; `grouped` are texts that stand in the table `groups`;
    `own` vary by row.
    """

    rows: int
    constant: Mapping[str, str]
    grouped: tuple[str, ...]
    own: tuple[str, ...]

    @property
    def units(self) -> set[str]:
        """Names of the units that any row tells."""
        return {unit.name for column, unit in _UNIT_OF.items() if column in self.own or column in self.constant}

    @property
    def columns(self) -> set[str]:
        """The columns of the partition's file that hold a value on any row, but `counted`."""
        return {*self.constant, *self.grouped, *self.own, *self.costs, "input_id", "input_tokens"}

    @property
    def costs(self) -> list[str]:
        """The cost columns that can hold a value."""
        return [*_ROW_COSTS, *sorted(_UNIT_OF[column].cost_column for column in {*self.own, *self.constant}
                                     if column in _UNIT_OF and column != "requests")]


def hashes_select(part: int, parts: int) -> str:
    """Hashes of the record ids, one part of them."""
    return f"SELECT hash(record_id) AS h FROM usage WHERE h % {parts} = {part}"


def combos_statement() -> str:
    """CREATE TABLE combos: the combinations of the texts that repeat, and when each was used first and last."""
    return f"""CREATE OR REPLACE TEMP TABLE combos AS SELECT {", ".join(_REPEATED)}, min(used_at) AS first_used_at,
    max(used_at) AS last_used_at FROM usage GROUP BY ALL"""


def survey_select() -> str:
    """One row over `usage` and `combos`: per column `n_` how many values it has, `lo_` and `hi_` its ends."""
    numbers = [name for name in CORE_USAGE.columns if name not in {*_ELSEWHERE, *_REPEATED, "record_id", "used_at"}]
    texts, counts = ", ".join(map(_ends, _REPEATED)), ", ".join(map(_ends, numbers))
    return f"""SELECT * FROM (SELECT count(*) AS combos, {texts} FROM combos),
(SELECT count(*) AS rows, {counts} FROM usage)"""


def layout(survey: Mapping[str, object]) -> Layout:
    """The layout that a survey shows."""
    constant: dict[str, str] = {}
    grouped, own = [], ["record_id", "used_at"]
    for name in CORE_USAGE.columns:
        count = survey.get(f"n_{name}")
        if not count:
            continue
        low, high = survey.get(f"lo_{name}"), survey.get(f"hi_{name}")
        whole = survey["combos"] if name in _REPEATED else survey["rows"]
        if low is not None and low == high and count == whole:
            constant[name] = str(low)
        elif name in _REPEATED:
            grouped.append(name)
        else:
            own.append(name)
    return Layout(int(str(survey["rows"])), constant, tuple(grouped), tuple(own))


def groups_statement(shape: Layout) -> str:
    """CREATE TABLE groups: each combination of the grouped texts, numbered, with its place in the partition's order."""
    names = ", ".join(shape.grouped) or "1 AS _one"
    order = ", ".join(name for name in _CLUSTER if name in shape.grouped) or "1"
    return f"""CREATE OR REPLACE TEMP TABLE groups AS
SELECT *, (row_number() OVER (ORDER BY _rank))::INTEGER - 1 AS _group FROM (
    SELECT *, (dense_rank() OVER (ORDER BY {order}))::INTEGER AS _rank FROM (SELECT DISTINCT {names} FROM combos))"""


def places_select(shape: Layout, where: str) -> str:
    """How many rows lie in which hour of a rank: day since 1970, rank, hour, count, in the order of partitions."""
    return f"""SELECT date_diff('day', DATE '1970-01-01', u.used_at::DATE), g._rank, hour(u.used_at), count(*)
FROM usage AS u JOIN groups AS g ON {_same_group(shape)} WHERE {where} GROUP BY ALL ORDER BY ALL"""


def _same_group(shape: Layout) -> str:
    return " AND ".join(f"u.{name} IS NOT DISTINCT FROM g.{name}" for name in shape.grouped) or "true"


def picked_select(shape: Layout, where: str) -> str:
    """The batch's usage rows at some places of the order: own columns, `_group`, `_file`, `_rank`."""
    on = _same_group(shape)
    own = ", ".join(f"u.{name}" for name in shape.own)
    return f"SELECT {own}, g._group, u._file, g._rank FROM usage AS u JOIN groups AS g ON {on} WHERE {where}"


def sorted_select(picked: str) -> str:
    """Picked rows in the order of their partitions."""
    return f"SELECT * FROM {picked} ORDER BY used_at::DATE, _rank, used_at, record_id"


def rates_statement(shape: Layout, *, by_group: bool) -> tuple[str, tuple[str, ...]]:
    """CREATE TABLE rates: the price cells as `costs_select` looks them up, and the columns by which it does."""
    if not by_group:
        return "CREATE OR REPLACE TEMP TABLE rates AS SELECT * FROM cells", PRICE_KEYS
    on = " AND ".join(f"{_value(shape, name, 'g')} IS NOT DISTINCT FROM c.{name}" for name in PRICE_KEYS)
    return f"""CREATE OR REPLACE TEMP TABLE rates AS
SELECT g._group, c.* EXCLUDE (cell), row_number() OVER () AS cell
FROM groups AS g JOIN cells AS c ON {on}""", ("_group",)


def plain_select(shape: Layout, keys: Sequence[str], primary: str | None) -> str:
    """The costs of the plain rows of `chunk` in pico-dollars, as `charge.pico_sql` gives them, with `input_tokens`,
    `counted` and `_row`; a row whose `_pico` is NULL needs `costs_select`. A discount is for that one, too."""
    told = [unit.column for unit in UNITS if unit.name in shape.units | _PLAIN and unit.name != "request"]
    priced = pico_sql("usage_chunk", "(SELECT * FROM rates WHERE multiplier IS NULL)", keys=keys, each=True,
                      units=shape.units | _PLAIN, carry=_carried(primary),
                      context="CASE WHEN u.granularity = 'request' THEN u.input_tokens ELSE -1 END")
    return f"""WITH usage_chunk AS ({_chunk(shape, ["granularity", "reasoning_tokens", *told, *keys], primary)})
SELECT r._row, r.input_tokens, r._cell, r._pico, {", ".join(f"r._pico_{name}" for name in PLAIN_UNITS)},
    {_counts(primary)} AS counted FROM ({priced}) AS r"""


def costs_select(shape: Layout, keys: Sequence[str], primary: str | None) -> str:
    """The costs of the rows of `chunk` (as `sorted_select` gives them, with `_row`), `counted` and `_row`.

    Reads `chunk`, `groups`, `rates` and, where the source is secondary, `primary` (match_id, day).
    """
    units = [unit.column for unit in UNITS if unit.name in shape.units | _PLAIN]
    needed = ["granularity", "requests", "reported_cost_usd", "reasoning_tokens", *units, *keys]
    priced = charge_sql("usage_chunk", "rates", keys=keys, units=shape.units)
    return f"""WITH usage_chunk AS ({_chunk(shape, needed, primary)})
SELECT r._row, r.input_tokens, {", ".join(f"r.{name}" for name in shape.costs)}, {_counts(primary)} AS counted
FROM ({priced}) AS r"""


def constants_select(shape: Layout) -> str:
    """A SELECT of one row: the columns that are the same throughout."""
    return "SELECT " + (", ".join(f"{_value(shape, name, '')} AS {name}" for name in shape.constant) or "1 AS _one")


def _chunk(shape: Layout, needed: Sequence[str], primary: str | None) -> str:
    """A SELECT of those usage columns of `chunk`, with its own, the sum of input and what tells a primary's rows."""
    inputs = " + ".join(f"coalesce({_value(shape, name, 'k')}, 0)" for name in INPUT_LEAVES)
    columns = {name: _value(shape, name, "g" if name in shape.grouped else "k") for name in dict.fromkeys(needed)
               if name != "_group"}
    columns |= {name: _value(shape, name, "k") for name in _carried(primary) if name.endswith("_id")}
    told = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    join = "JOIN groups AS g USING (_group)" if any(name in shape.grouped for name in needed) else ""
    return f"SELECT k._row, k._group, k.used_at, {told}, cast({inputs} AS BIGINT) AS input_tokens FROM chunk AS k {join}"


def _carried(primary: str | None) -> list[str]:
    """What a priced row must still say, so that it can be told whether it counts."""
    return ["_row", "input_tokens", *(["used_at", "record_id", "response_id"] if primary else [])]


def _counts(primary: str | None) -> str:
    """True where the row `r` counts: no primary source tells it."""
    return "true" if primary is None else (
        f"NOT EXISTS (SELECT 1 FROM {primary} AS p WHERE p.match_id = coalesce(r.response_id, r.record_id) "
        "AND p.day BETWEEN r.used_at::DATE - 1 AND r.used_at::DATE + 1)")


def priced_statement(shape: Layout | None = None, days: Collection[str] = ()) -> str:
    """CREATE TABLE priced: the kept rows with their costs; with a layout those of some days, without empty columns."""
    if shape is None:
        return f"CREATE OR REPLACE TEMP TABLE priced AS {charge_sql('usage', 'cells')}"
    listed = ", ".join(f"DATE '{day}'" for day in sorted(days))
    names = ", ".join(name for name in _FILE_COLUMNS if name in shape.columns)
    return f"""CREATE OR REPLACE TEMP TABLE priced AS WITH picked AS (SELECT * FROM usage WHERE day IN ({listed}))
SELECT day, {names} FROM ({charge_sql("picked", "cells", units=shape.units)})"""


def held_select(base: str) -> str:
    """One row: how many values each column of a partition's file holds."""
    return f"SELECT {', '.join(f'count({name}) AS {name}' for name in _FILE_COLUMNS)} FROM {base}"


def day_select(day: str, base: str, primary: str | None, shape: Layout, held: Collection[str]) -> str:
    """The rows of one day's partition: what is told now (`priced`) and what stays of the old one (`base`).

    Only columns that hold a value on either side: `held` are those of `base`. Reads `beaten` (old ids that lost) and,
    where the source is secondary, `primary` (match_id, day).
    """
    live = [name for name in _FILE_COLUMNS if name in shape.columns or name in held or name in CORE_CHARGE.sort
            or name == "response_id"]
    new = ", ".join(name if name in shape.columns else f"cast(NULL AS {CORE_CHARGE.type_of(name).duckdb}) AS {name}"
                    for name in live if name != "counted")
    old = ", ".join(name for name in live if name != "counted")
    return _counted(f"""SELECT {new} FROM priced WHERE day = DATE '{day}'
    UNION ALL
    SELECT {old} FROM {base} AS b WHERE NOT EXISTS (SELECT 1 FROM beaten AS x WHERE x.record_id = b.record_id)""",
                    day, primary, (*live, "counted"))


def recount_select(base: str, day: str, primary: str) -> str:
    """The rows of a partition with `counted` said again."""
    return _counted(f"SELECT * FROM {base}", day, primary)


def keep_select(rows: str) -> str:
    """The rows of a partition as they are, in the partition's order."""
    return f"SELECT {', '.join(_FILE_COLUMNS)} FROM {rows} ORDER BY {', '.join(CORE_CHARGE.sort)}"


def _counted(rows: str, day: str, primary: str | None, live: Collection[str] = _FILE_COLUMNS) -> str:
    """Sorted rows with those columns of the file that are live."""
    counted = "true" if primary is None else (
        f"NOT EXISTS (SELECT 1 FROM {primary} AS p WHERE p.match_id = coalesce(r.response_id, r.record_id) "
        f"AND p.day BETWEEN DATE '{day}' - 1 AND DATE '{day}' + 1)")
    columns = ", ".join(f"{counted} AS counted" if name == "counted" else f"r.{name}" for name in _FILE_COLUMNS
                        if name in live)
    return f"SELECT {columns} FROM ({rows}) AS r ORDER BY {', '.join(f'r.{name}' for name in CORE_CHARGE.sort)}"


def _value(shape: Layout, name: str, relation: str) -> str:
    """A usage column as an expression: its constant, the column itself, or NULL."""
    if name in shape.constant:
        text = shape.constant[name].replace("'", "''")
        return f"cast('{text}' AS {CORE_USAGE.type_of(name).duckdb})"
    if name in shape.grouped or name in shape.own:
        return f"{relation}.{name}"
    return f"cast(NULL AS {CORE_USAGE.type_of(name).duckdb})"


def _ends(name: str) -> str:
    return f"count({name}) AS n_{name}" + ("" if name in _OWN_TEXT else
                                           f", min({name})::VARCHAR AS lo_{name}, max({name})::VARCHAR AS hi_{name}")
