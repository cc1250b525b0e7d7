"""Charges: usage rows with their cost, as one SELECT over usage and price cells.

Two routes in one query. Plain rows (text tokens, whole pico-dollars) take 64-bit products; anything else takes
128-bit integers over a second look-up of the same cell. Both are exact; neither can wrap or fail.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from costops.transforms.prices.cells import PLAIN_UNITS, PRICE_KEYS, price_cells
from costops.transforms.units import UNITS, Unit, parts_of

__all__ = ["PRICE_KEYS", "charge_sql", "keys_sql", "pico_sql", "price_cells", "tokens_first_sql"]

Units = tuple[Unit, ...]

_USUAL = frozenset({*PLAIN_UNITS, "reasoning", "request"})


def keys_sql(usage: str, *, first: str = "used_at", last: str = "used_at") -> str:
    """A SELECT of the distinct price-deciding combinations of a batch, as `price_cells` wants them.

    `first` and `last` are the columns of first and last use, of rows that were grouped before.
    """
    names = ", ".join(PRICE_KEYS)
    return f"""SELECT {names}, min({first}) AS first_used_at, max({last}) AS last_used_at
FROM {usage} GROUP BY {names} ORDER BY {names}"""


def charge_sql(usage: str, cells: str, *, keys: Sequence[str] = PRICE_KEYS,
               units: Collection[str] | None = None) -> str:
    """A SELECT of every usage row, unchanged, with cost, status and price of `core_charge` (all but `counted`).

    A row whose cost does not fit comes out with NULL cost and status `overflow`; one whose parts exceed the
    whole with status `impossible`. `keys` may leave out key columns that are constant in both relations; `units`
    names the units that the batch can have where it is known (a format tells), which saves the others' work:
    a unit left out must be NULL or 0 on every row. The order of rows is not kept.
    """
    held = tuple(u for u in UNITS if units is None or u.name in units or u.name in PLAIN_UNITS or u.name == "request")
    on = "\n    AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in keys)
    hot = ", ".join(f"c.n_{name} AS _n_{name}" for name in PLAIN_UNITS)
    cold = ", ".join(("den", "included", "reports_cost", "minimum_seconds",
                      *(f"{side}_{u.name}" for side in ("n", "low", "high") for u in held)))
    costs = ",\n    ".join(f"{_unit_cost(u, held)} AS {u.cost_column}" for u in UNITS)
    return f"""WITH placed AS (
    SELECT u.*, c.cell AS _cell, c.price_status AS _status, c.price_id AS _price_id,
        c.price_source AS _price_source, c.multiplier AS _multiplier, {hot},
        coalesce(c.plain AND {_plain("c", held)}, false) AS _plain
    FROM {usage} AS u LEFT JOIN {cells} AS c ON {on}
    AND u.used_at >= c.used_from AND u.used_at < c.used_to
    AND CASE WHEN u.granularity = 'request' THEN u.input_tokens ELSE -1 END >= c.min_input
    AND CASE WHEN u.granularity = 'request' THEN u.input_tokens ELSE -1 END < c.max_input
    AND coalesce(u.reasoning_tokens, 0) >= c.min_reasoning AND coalesce(u.reasoning_tokens, 0) < c.max_reasoning
),
looked AS (
    SELECT p.*, d.* EXCLUDE (_key),
        CASE WHEN p._plain THEN NULL ELSE {_lacks(held)} END AS _lacks,
        CASE WHEN p._plain THEN NULL ELSE {_contradiction(held)} END AS _contradiction
    FROM placed AS p LEFT JOIN (SELECT cell AS _key, {cold} FROM {cells}) AS d
    ON d._key = CASE WHEN p._plain THEN NULL ELSE p._cell END
),
summed AS (
    SELECT *, CASE WHEN _plain THEN {_usd(_plain_sum())}
        WHEN _status IN ('priced', 'free') AND NOT _lacks AND NOT _contradiction THEN {_usd(_cold_sum(held))}
        END AS _list,
        CASE WHEN _plain THEN _status
        WHEN _status IS NULL THEN 'unpriced'
        WHEN _status = 'covered' THEN 'covered'
        WHEN _contradiction THEN 'impossible'
        WHEN _status IN ('priced', 'free') AND NOT _lacks THEN _status
        WHEN reports_cost AND reported_cost_usd IS NOT NULL THEN 'provider_reported'
        ELSE 'unpriced' END AS _state
    FROM looked
)
SELECT * EXCLUDE (_cell, _status, _price_id, _price_source, _multiplier, _plain, _lacks, _contradiction, _list, _state,
        {", ".join(f"_n_{name}" for name in PLAIN_UNITS)}, {cold}),
    CASE WHEN _state = 'covered' THEN 0 WHEN _state = 'provider_reported' THEN reported_cost_usd
        ELSE _list END::DECIMAL(18,12) AS list_cost_usd,
    CASE WHEN _state = 'covered' THEN 0 WHEN _state = 'provider_reported' THEN reported_cost_usd
        WHEN _multiplier IS NULL THEN _list
        ELSE try_cast(_list::DECIMAL(20,12) * _multiplier AS DECIMAL(18,12)) END::DECIMAL(18,12) AS effective_cost_usd,
    {costs},
    CASE WHEN _list IS NULL AND _state IN ('priced', 'free') THEN 'overflow' ELSE _state END AS price_status,
    CASE WHEN _state IN ('priced', 'free') THEN _price_id END AS price_id,
    CASE WHEN _state IN ('priced', 'free') THEN _price_source
        WHEN _state = 'provider_reported' THEN 'provider' END AS price_source,
    CASE WHEN _state = 'unpriced' THEN {_usd(_bound("low", held))} END AS unpriced_low_usd,
    CASE WHEN _state = 'unpriced' AND {_bounded(held)} THEN {_usd(_bound("high", held))} END AS unpriced_high_usd
FROM summed"""


def pico_sql(usage: str, cells: str, *, keys: Sequence[str] = PRICE_KEYS, units: Collection[str] = PLAIN_UNITS,
             carry: Sequence[str] = (), each: bool = False, context: str = "u.input_tokens") -> str:
    """A SELECT of `carry`, the cell and the list cost in whole pico-dollars (`_pico`, BIGINT), to be summed or stored.

    `units` are those that the batch can have. `_pico` is NULL where a row needs the full route of `charge_sql` (no
    cell, no rate, no plain price, another unit than the plain ones, no fit): price these there. `each` adds the cost
    of each plain unit (`_pico_<unit>`); `context` is the context that decides the price, -1 where it is not known.
    """
    on = " AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in keys)
    plain = [name for name in PLAIN_UNITS if name in units]
    rare = ", ".join(f"u.{unit.column}" for unit in UNITS if unit.name in units and unit.name not in _USUAL)
    terms = " + ".join(f"coalesce(u.{name}_tokens * c.n_{name}, CASE WHEN u.{name}_tokens = 0 THEN 0 END)"
                       for name in plain)
    carried = "".join(f"u.{name}, " for name in carry)
    costs = "".join(f", try(u.{name}_tokens * c.n_{name}) AS _pico_{name}" for name in plain if each)
    fits = f"c.plain AND coalesce(greatest({rare}), 0) = 0" if rare else "c.plain"
    return f"""SELECT {carried}c.cell AS _cell, CASE WHEN {fits} THEN try({terms}) END AS _pico{costs}
FROM {usage} AS u LEFT JOIN {cells} AS c ON {on}
AND u.used_at >= c.used_from AND u.used_at < c.used_to
AND {context} >= c.min_input AND {context} < c.max_input
AND u.reasoning_tokens >= c.min_reasoning AND u.reasoning_tokens < c.max_reasoning"""


def tokens_first_sql(usage: str, cells: str, *, keys: Sequence[str] = PRICE_KEYS,
                     units: Collection[str] = PLAIN_UNITS) -> str:
    """The other route to the same total: tokens summed per cell, then priced. One row: `pico` HUGEINT.

    Within a cell the cost is linear in tokens, so this is the same integer as the sum of the rows' costs.
    """
    on = " AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in keys)
    names = [name for name in PLAIN_UNITS if name in units]
    sums = ", ".join(f"sum(u.{name}_tokens)::HUGEINT AS s_{name}" for name in names)
    total = " + ".join(f"s_{name} * coalesce(n_{name}, 0)" for name in names)
    known = " AND ".join(f"(c.n_{name} IS NOT NULL OR u.{name}_tokens = 0)" for name in names)
    return f"""WITH per_cell AS (SELECT c.cell, {sums} FROM {usage} AS u JOIN {cells} AS c ON {on}
AND u.used_at >= c.used_from AND u.used_at < c.used_to
AND u.input_tokens >= c.min_input AND u.input_tokens < c.max_input
AND u.reasoning_tokens >= c.min_reasoning AND u.reasoning_tokens < c.max_reasoning
WHERE c.plain AND {known} GROUP BY c.cell)
SELECT sum({total})::HUGEINT AS pico FROM per_cell JOIN {cells} USING (cell)"""


def _usd(pico: str) -> str:
    """Whole pico-dollars as DECIMAL(18,12); NULL where they do not fit."""
    return f"try(cast(cast({pico} AS DECIMAL(18,0)) * 0.000000000001 AS DECIMAL(18,12)))"


def _plain(cell: str, held: Units) -> str:
    """True where the row has nothing but text tokens with a known rate each."""
    rare = ", ".join(f"u.{unit.column}" for unit in held if unit.name not in _USUAL)
    known = " AND ".join(f"({cell}.n_{name} IS NOT NULL OR u.{name}_tokens = 0)" for name in PLAIN_UNITS)
    return f"coalesce(greatest({rare}), 0) = 0 AND {known}" if rare else known


def _plain_sum() -> str:
    return " + ".join(f"coalesce({name}_tokens * _n_{name}, 0)" for name in PLAIN_UNITS)


def _count(unit: Unit) -> str:
    return f"coalesce({unit.column}, 0)::HUGEINT"


def _billed(unit: Unit, held: Units) -> str:
    """Units billed as this one: less the parts with a price of their own, at least the minimum of a request."""
    own = " - ".join((_count(unit), *(f"CASE WHEN n_{part.name} IS NULL THEN 0 ELSE {_count(part)} END"
                                      for part in parts_of(unit.name) if part in held)))
    if unit.name == "audio_second":
        return f"CASE WHEN audio_seconds > 0 THEN greatest(({own}), minimum_seconds * requests::HUGEINT) ELSE 0 END"
    return f"({own})"


def _cold(unit: Unit, held: Units) -> str:
    """Pico-dollars of one unit, rounded half up where the rate is no whole number."""
    return f"((2 * {_billed(unit, held)} * n_{unit.name} + den) // (2 * den::HUGEINT))"


def _cold_sum(held: Units) -> str:
    return " + ".join(f"coalesce({_cold(unit, held)}, 0)" for unit in held)


def _unit_cost(unit: Unit, held: Units) -> str:
    if unit not in held:
        return "NULL::DECIMAL(18,12)"
    plain = _usd(f"{unit.column} * _n_{unit.name}") if unit.name in PLAIN_UNITS else "NULL"
    return f"""CASE WHEN _plain THEN {plain} WHEN _list IS NULL OR {unit.column} IS NULL THEN NULL
        ELSE {_usd(_cold(unit, held))} END"""


def _lacks(held: Units) -> str:
    """True where a unit was used that has no rate and is not included in another."""
    tests = [f"({unit.column} > 0 AND n_{unit.name} IS NULL AND included & {1 << bit} = 0)"
             for bit, unit in enumerate(UNITS) if unit in held and unit.name != "request"]
    return "coalesce(" + " OR ".join(tests) + ", false)"


def _contradiction(held: Units) -> str:
    """True where parts with a price of their own are more than the whole."""
    tests = [f"{_billed(unit, held)} < 0" for unit in held if any(part in held for part in parts_of(unit.name))]
    return "coalesce(" + " OR ".join(tests) + ", false)" if tests else "false"


def _bound(side: str, held: Units) -> str:
    """Pico-dollars at one end of the siblings' range; a part adds what it costs beyond its parent."""
    terms = [f"coalesce({_count(unit)} * {side}_{unit.name}, 0)" for unit in held if unit.part_of is None]
    terms += [f"coalesce({_count(unit)} * ({side}_{unit.name} - coalesce({side}_{unit.part_of}, 0)), 0)"
              for unit in held if unit.part_of]
    return "greatest(" + " + ".join(terms) + ", 0)"


def _bounded(held: Units) -> str:
    """True where every unit used has a dearest sibling."""
    return " AND ".join(f"(coalesce({unit.column}, 0) = 0 OR high_{unit.name} IS NOT NULL)"
                        for unit in held if unit.part_of is None and unit.name != "request")
