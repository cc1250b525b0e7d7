"""Which of several records with one id counts, and how a day's partition is put together, as SQL text.

The rule is one total order, so that any order of delivery ends in the same rows: of two records with one id the
one with more output, then more input, then the later time wins (a streamed message is told again, larger); between
equals the input whose id sorts first, then the earlier record.
"""

from __future__ import annotations

from costops.transforms.charge import charge_sql
from costops.transforms.tables import CORE_CHARGE
from costops.transforms.units import UNITS

ORDER = "output_tokens DESC, input_tokens DESC, used_at DESC, input_id, _n"

BETTER = ("(n.output_tokens, n.input_tokens, n.used_at) > (o.output_tokens, o.input_tokens, o.used_at) OR "
          "(n.output_tokens, n.input_tokens, n.used_at) = (o.output_tokens, o.input_tokens, o.used_at) "
          "AND n.input_id < o.input_id")
"""True where the new record `n` wins over `o`, which is in the lake already."""

MARK_DUPLICATES = f"""CREATE OR REPLACE TEMP TABLE losers AS
WITH twice AS (SELECT record_id FROM usage GROUP BY record_id HAVING count(*) > 1)
SELECT _row FROM (
    SELECT _row, row_number() OVER (PARTITION BY record_id ORDER BY {ORDER}, _row) AS place
    FROM usage WHERE record_id IN (SELECT record_id FROM twice))
WHERE place > 1"""

MARK_OLD = f"""CREATE OR REPLACE TEMP TABLE met AS
SELECT n._row, o.day AS old_day, o.record_id, o.input_id AS old_input, ({BETTER}) AS wins
FROM usage AS n JOIN known AS o ON n.record_id = o.record_id"""
"""Records told now that the lake knows: `known` holds the ids of the neighbouring days."""


_FILE_COLUMNS = tuple(name for name in CORE_CHARGE.columns if name not in CORE_CHARGE.partition)
_UNIT_OF_COST = {unit.cost_column: unit.column for unit in UNITS}


SMALL_BATCH = 200_000
"""Up to so many rows are priced at once and then cut into days; beyond, each day is priced as it is written."""


def priced_statement() -> str:
    """CREATE TABLE priced: the kept rows of a small batch with their costs."""
    return f"CREATE OR REPLACE TEMP TABLE priced AS {charge_sql('usage', 'cells')}"


def priced_of_day() -> str:
    """A SELECT that prices the relation `usage_of_day`."""
    return charge_sql("usage_of_day", "cells")


def day_select(priced: str, *, told: set[str], base: str | None, primary: str | None) -> str:
    """The rows of one day's `core_charge` partition: what is told now (`priced`) and what stays of the old one.

    Reads the relations `beaten` (old ids that lost), `base` (the old partition, None where there is none) and,
    where the source is secondary, `primary` (ids of the primary sources' records around the day). `told` are the
    usage columns that are not NULL throughout.
    """
    if base is None:
        # only what can hold a value goes through the sort: forty columns of NULL would double its cost
        live = {name for name in _FILE_COLUMNS if _UNIT_OF_COST.get(name, name) in told
                or name in _ALWAYS or name in _ROW_COSTS}
        return _counted(priced, primary, live=live)
    kept = ", ".join(name for name in _FILE_COLUMNS if name != "counted")
    return _counted(f"""SELECT {kept} FROM ({priced})
    UNION ALL
    SELECT {kept} FROM {base} AS b WHERE NOT EXISTS (SELECT 1 FROM beaten AS x WHERE x.record_id = b.record_id)""",
                    primary)


_ALWAYS = frozenset(CORE_CHARGE.required | {"input_id"})
_ROW_COSTS = frozenset({"list_cost_usd", "effective_cost_usd", "price_id", "price_source", "unpriced_low_usd",
                        "unpriced_high_usd", "request_cost_usd"})


def recount_select(base: str, primary: str) -> str:
    """The rows of a partition with `counted` said again."""
    return _counted(f"SELECT * FROM {base}", primary)


def keep_select(rows: str) -> str:
    """The rows of a partition as they are, in the partition's order."""
    return f"SELECT {', '.join(_FILE_COLUMNS)} FROM {rows} ORDER BY {', '.join(CORE_CHARGE.sort)}"


def _counted(rows: str, primary: str | None, *, live: set[str] | None = None) -> str:
    """Sorted rows with all columns of the file; those not `live` are NULL, put in behind the sort."""
    counted = "true" if primary is None else (
        f"NOT EXISTS (SELECT 1 FROM {primary} AS p WHERE p.match_id = coalesce(r.response_id, r.record_id))")
    sort = ", ".join(name for name in CORE_CHARGE.sort if live is None or name in live)
    inner = ", ".join(f"{counted} AS counted" if name == "counted" else f"r.{name}" for name in _FILE_COLUMNS
                      if live is None or name in live or name == "response_id")
    outer = ", ".join(name if live is None or name in live else
                      f"cast(NULL AS {CORE_CHARGE.type_of(name).duckdb}) AS {name}" for name in _FILE_COLUMNS)
    return f"SELECT {outer} FROM (SELECT {inner} FROM ({rows}) AS r ORDER BY {sort})"
