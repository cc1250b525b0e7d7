"""Charges: usage rows with their cost, as one SELECT over usage and price cells.

Two routes in one query. Plain rows (text tokens, whole pico-dollars) take 64-bit products; anything else takes
128-bit integers over a second look-up of the same cell. Both are exact; neither can wrap or fail.
"""

from __future__ import annotations

from collections.abc import Sequence

from costops.transforms.prices.cells import PLAIN_UNITS, PRICE_KEYS, price_cells
from costops.transforms.units import UNITS, Unit, parts_of

__all__ = ["PRICE_KEYS", "charge_sql", "keys_sql", "price_cells"]

_RARE = tuple(u for u in UNITS if u.name not in {*PLAIN_UNITS, "reasoning", "request"})
_PARENTS = tuple(u for u in UNITS if u.part_of is None)
_OVERFLOW = 10**18


def keys_sql(usage: str) -> str:
    """A SELECT of the distinct price-deciding combinations of a batch, as `price_cells` wants them."""
    names = ", ".join(PRICE_KEYS)
    return f"""SELECT {names}, min(used_at) AS first_used_at, max(used_at) AS last_used_at
FROM {usage} GROUP BY {names} ORDER BY {names}"""


def charge_sql(usage: str, cells: str, *, keys: Sequence[str] = PRICE_KEYS) -> str:
    """A SELECT of every usage row, unchanged, with cost, status and price of `core_charge` (all but `counted`).

    A row whose cost does not fit comes out with NULL cost and status `overflow`; one whose parts exceed the
    whole with status `impossible`. `keys` may leave out key columns that are constant in both relations.
    """
    on = "\n    AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in keys)
    hot = ", ".join(f"c.n_{name} AS _n_{name}" for name in PLAIN_UNITS)
    cold = ", ".join(("den", "included", "reports_cost", "minimum_seconds",
                      *(f"{side}_{u.name}" for side in ("n", "low", "high") for u in UNITS)))
    costs = ",\n    ".join(f"{_unit_cost(u)} AS {u.cost_column}" for u in UNITS)
    return f"""WITH placed AS (
    SELECT u.*, c.cell AS _cell, c.price_status AS _status, c.price_id AS _price_id,
        c.price_source AS _price_source, c.multiplier AS _multiplier, {hot},
        coalesce(c.plain AND {_plain("c")}, false) AS _plain
    FROM {usage} AS u LEFT JOIN {cells} AS c ON {on}
    AND u.used_at >= c.used_from AND u.used_at < c.used_to
    AND CASE WHEN u.granularity = 'request' THEN u.input_tokens ELSE -1 END >= c.min_input
    AND CASE WHEN u.granularity = 'request' THEN u.input_tokens ELSE -1 END < c.max_input
    AND coalesce(u.reasoning_tokens, 0) >= c.min_reasoning AND coalesce(u.reasoning_tokens, 0) < c.max_reasoning
),
looked AS (
    SELECT p.*, d.* EXCLUDE (_key),
        CASE WHEN p._plain THEN NULL ELSE {_lacks()} END AS _lacks,
        CASE WHEN p._plain THEN NULL ELSE {_contradiction()} END AS _contradiction
    FROM placed AS p LEFT JOIN (SELECT cell AS _key, {cold} FROM {cells}) AS d
    ON d._key = CASE WHEN p._plain THEN NULL ELSE p._cell END
),
summed AS (
    SELECT *, CASE WHEN _plain THEN {_usd(_plain_sum())}
        WHEN _status IN ('priced', 'free') AND NOT _lacks AND NOT _contradiction THEN {_usd(_cold_sum("n"))}
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
    CASE WHEN _state IN ('priced', 'free') AND _list IS NULL THEN 'overflow' ELSE _state END AS price_status,
    CASE WHEN _state IN ('priced', 'free') THEN _price_id END AS price_id,
    CASE WHEN _state IN ('priced', 'free') THEN _price_source
        WHEN _state = 'provider_reported' THEN 'provider' END AS price_source,
    CASE WHEN _state = 'unpriced' THEN {_usd(_bound("low"))} END AS unpriced_low_usd,
    CASE WHEN _state = 'unpriced' AND {_bounded()} THEN {_usd(_bound("high"))} END AS unpriced_high_usd
FROM summed"""


def _usd(pico: str) -> str:
    """Whole pico-dollars as DECIMAL(18,12); NULL where they do not fit."""
    return f"try(cast(cast({pico} AS DECIMAL(18,0)) * 0.000000000001 AS DECIMAL(18,12)))"


def _plain(cell: str) -> str:
    """True where the row has nothing but text tokens with a known rate each."""
    rare = ", ".join(f"u.{unit.column}" for unit in _RARE)
    known = " AND ".join(f"({cell}.n_{name} IS NOT NULL OR u.{name}_tokens = 0)" for name in PLAIN_UNITS)
    return f"coalesce(greatest({rare}), 0) = 0 AND {known}"


def _plain_sum() -> str:
    return " + ".join(f"coalesce({name}_tokens * _n_{name}, 0)" for name in PLAIN_UNITS)


def _count(unit: Unit) -> str:
    return f"coalesce({unit.column}, 0)::HUGEINT"


def _billed(unit: Unit) -> str:
    """Units billed as this one: less the parts with a price of their own, at least the minimum of a request."""
    own = " - ".join((_count(unit), *(f"CASE WHEN n_{part.name} IS NULL THEN 0 ELSE {_count(part)} END"
                                      for part in parts_of(unit.name))))
    if unit.name == "audio_second":
        return f"CASE WHEN audio_seconds > 0 THEN greatest(({own}), minimum_seconds * requests::HUGEINT) ELSE 0 END"
    return f"({own})"


def _cold(unit: Unit, side: str) -> str:
    """Pico-dollars of one unit, rounded half up where the rate is no whole number."""
    return f"((2 * {_billed(unit)} * {side}_{unit.name} + den) // (2 * den::HUGEINT))"


def _cold_sum(side: str) -> str:
    return " + ".join(f"coalesce({_cold(unit, side)}, 0)" for unit in UNITS)


def _unit_cost(unit: Unit) -> str:
    plain = "NULL"
    if unit.name in PLAIN_UNITS:
        plain = _usd(f"{unit.column} * _n_{unit.name}")
    return f"""CASE WHEN _list IS NULL OR {unit.column} IS NULL THEN NULL WHEN _plain THEN {plain}
        ELSE {_usd(_cold(unit, "n"))} END"""


def _lacks() -> str:
    """True where a unit was used that has no rate and is not included in another."""
    tests = []
    for bit, unit in enumerate(UNITS):
        if unit.name != "request":
            tests.append(f"({unit.column} > 0 AND n_{unit.name} IS NULL AND included & {1 << bit} = 0)")
    return "coalesce(" + " OR ".join(tests) + ", false)"


def _contradiction() -> str:
    """True where parts with a price of their own are more than the whole."""
    tests = [f"{_billed(unit)} < 0" for unit in _PARENTS if parts_of(unit.name)]
    return "coalesce(" + " OR ".join(tests) + ", false)"


def _bound(side: str) -> str:
    """Pico-dollars at one end of the siblings' range; a part adds what it costs beyond its parent."""
    terms = [f"coalesce({_count(unit)} * {side}_{unit.name}, 0)" for unit in _PARENTS]
    terms += [f"coalesce({_count(unit)} * ({side}_{unit.name} - coalesce({side}_{unit.part_of}, 0)), 0)"
              for unit in UNITS if unit.part_of]
    return "greatest(" + " + ".join(terms) + ", 0)"


def _bounded() -> str:
    """True where every unit used has a dearest sibling."""
    return " AND ".join(f"(coalesce({unit.column}, 0) = 0 OR high_{unit.name} IS NOT NULL)"
                        for unit in _PARENTS if unit.name != "request")
