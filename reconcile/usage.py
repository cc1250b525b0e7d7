"""Computed lines: what the logs say a month costs, per source, account, project, model, tier, region, day and unit.

One aggregate over `core_charge`; only its few thousand result rows are cut into units. Rows of aggregated feeds
(usage reports of the provider) count as computed where a source has no requests, else they are evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import polars as pl

from costops.reconcile.exact import COUNT, USD, share
from costops.reconcile.scope import CALENDARS, Pairing, month_span, named, region_of
from costops.transforms import query
from costops.transforms.billing.issuers import issuer_of
from costops.transforms.units import UNITS, Unit, parts_of

PLAIN = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
"""Units that nearly every request has; the others are looked for, and only summed where there are any."""

KEYS = ("source", "provider", "model_id", "service_tier", "region", "account_id", "project_id")
_GROUP = (*KEYS, "granularity", "price_status", "price_id", "day")
_WHOLE = ("list_cost_usd", "effective_cost_usd", "unpriced_low_usd", "unpriced_high_usd")
_RARE = tuple(u for u in UNITS if u.name not in PLAIN and u.name != "request")

LINE_SCHEMA: dict[str, pl.DataType] = {
    "scope": pl.String(), **{name: pl.String() for name in KEYS}, "day": pl.Date(), "granularity": pl.String(),
    "price_status": pl.String(), "price_id": pl.String(), "unit": pl.String(), "quantity": COUNT,
    "list_usd": USD, "effective_usd": USD, "requests": pl.Int64(), "low_usd": USD, "high_usd": USD,
}


def computed_lines(connection: query.Connection, charges: str, month: str, pairing: Pairing, *,
                   rare: set[Unit] | None = None, contracts: bool = True) -> pl.DataFrame:
    """The computed lines of a month: `LINE_SCHEMA`, one row per key, day, price and unit.

    `charges` is a relation (a view, a table, `read_parquet(...)`) with the columns of `core_charge`; it may hold
    more than the month. A row belongs to the month in which its issuer bills it, by the issuer's calendar. `rare`
    are the units besides the plain ones that occur, where that is known; without `contracts` the effective cost is
    the list cost. In no particular order.
    """
    params, where = spans(month), counted_where()

    def rows_of(units: Sequence[Unit], *, bounds: bool = True) -> pl.DataFrame:
        by, sums = ", ".join(_GROUP), ",\n    ".join(_sums(units, bounds=bounds, contracts=contracts))
        return query.frame(
            connection, f"SELECT {by},\n    {sums}\nFROM {charges}\nWHERE {where}\nGROUP BY {by}", params)

    units = _units(rare or set())
    rows = rows_of(units, bounds=rare is not None)
    if rare is None and _more(rows, units):
        # most months hold text at a price only: the other columns are read where a cost is none of text
        rare = _present(connection, charges, where, params)
        units = _units(rare)
        rows = rows_of(units)
    return _cut(rows, units, pairing)


def _units(rare: set[Unit]) -> tuple[Unit, ...]:
    return tuple(u for u in UNITS if u.name in PLAIN or u in rare or u.name == "request")


def _more(rows: pl.DataFrame, units: Sequence[Unit]) -> bool:
    """True where some cost is not that of these units, or usage has no price and may hold others."""
    known = pl.sum_horizontal(pl.col(f"c_{u.name}").fill_null(0).cast(USD) for u in units)
    odd = (pl.col("list_usd").fill_null(0).cast(USD) != known) | (pl.col("price_status") != "priced")
    return bool(rows.select(odd.any()).item())


def computed_of(frame: pl.DataFrame, month: str, pairing: Pairing) -> pl.DataFrame:
    """The same over a frame of `core_charge` rows."""
    rare = {u for u in _RARE if frame[u.column].null_count() < frame.height}
    used = _units(rare)
    needed = dict.fromkeys((*_GROUP, "used_at", "counted", *_WHOLE, *(u.column for u in used),
                            *(u.cost_column for u in used)))
    connection = query.connect()
    connection.register("charges_frame", frame.select(list(needed)).to_arrow())
    try:
        return computed_lines(connection, "charges_frame", month, pairing, rare=rare)
    finally:
        connection.close()


def inputs_of(connection: query.Connection, charges: str, days: Sequence[tuple[str, str, str]]) -> pl.DataFrame:
    """The input files behind some (source, model_id, day): up to five ids each, as evidence."""
    wanted = pl.DataFrame(days, schema=["source", "model_id", "day"], orient="row").with_columns(
        pl.col("day").cast(pl.Date))
    connection.register("wanted_days", wanted.to_arrow())
    return query.frame(connection, f"""SELECT c.source, c.model_id, c.day,
        array_to_string(list_sort(list(DISTINCT c.input_id))[1:5], ' ') AS inputs
    FROM {charges} AS c JOIN wanted_days AS w USING (source, model_id, day)
    GROUP BY ALL ORDER BY ALL""")


def spans(month: str) -> dict[str, datetime]:
    """The parameters of `counted_where`: where a month begins and ends on each calendar."""
    params = dict(zip(("s_utc", "e_utc"), month_span(month), strict=True))
    for scope, zone in CALENDARS.items():
        params[f"s_{scope}"], params[f"e_{scope}"] = month_span(month, zone)
    return params


def counted_where() -> str:
    """True for a row that counts and lies in its issuer's month."""
    starts = " ".join(f"WHEN provider LIKE '{scope}.%' THEN $s_{scope}" for scope in CALENDARS)
    ends = " ".join(f"WHEN provider LIKE '{scope}.%' THEN $e_{scope}" for scope in CALENDARS)
    first = ", ".join(f"$s_{name}" for name in ("utc", *CALENDARS))
    last = ", ".join(f"$e_{name}" for name in ("utc", *CALENDARS))
    return (f"(counted OR granularity <> 'request') AND used_at >= least({first}) AND used_at < greatest({last})\n"
            # only the hours around the ends of a month ask whose calendar it is
            f"    AND (used_at >= greatest({first}) AND used_at < least({last})\n"
            f"    OR used_at >= CASE {starts} ELSE $s_utc END AND used_at < CASE {ends} ELSE $e_utc END)")


def _present(connection: query.Connection, charges: str, where: str, params: Mapping[str, datetime]) -> set[Unit]:
    """The rare units that any row of the month has."""
    tests = ", ".join(f"count(nullif({u.column}, 0)) AS {u.name}" for u in _RARE)
    row = query.frame(connection, f"SELECT {tests} FROM {charges} WHERE {where}", params).row(0, named=True)
    return {u for u in _RARE if row[u.name]}


def _sums(units: Sequence[Unit], *, bounds: bool, contracts: bool) -> list[str]:
    """Sums of costs, and of counts less those parts that have a price of their own."""
    made = ["sum(requests)::BIGINT AS requests", "sum(list_cost_usd) AS list_usd",
            "sum(effective_cost_usd) AS effective_usd" if contracts else "sum(list_cost_usd) AS effective_usd"]
    made += ["sum(unpriced_low_usd) AS low_usd", "sum(unpriced_high_usd) AS high_usd"] if bounds else [
        "NULL AS low_usd", "NULL AS high_usd"]
    for unit in units:
        if unit.name == "request":
            made.append("sum(request_cost_usd) AS c_request")
            continue
        parts = [part for part in parts_of(unit.name) if part in units]
        less = "".join(f" - CASE WHEN {part.cost_column} IS NULL THEN 0 ELSE {part.column} END" for part in parts)
        # a part without a price of its own is billed inside its parent
        own = f"CASE WHEN {unit.cost_column} IS NOT NULL THEN {unit.column} END" if unit.part_of else unit.column
        made += [f"sum({own}{less})::BIGINT AS q_{unit.name}", f"sum({unit.cost_column}) AS c_{unit.name}"]
    return made


def _cut(rows: pl.DataFrame, units: Sequence[Unit], pairing: Pairing) -> pl.DataFrame:
    """One row per unit with a count or a cost, and one without unit for cost that the source told as a whole."""
    pieces = []
    known = [f"c_{u.name}" for u in units]
    rows = rows.with_columns(
        _known=pl.sum_horizontal(pl.col(name).fill_null(0).cast(USD) for name in known),
        list_usd=pl.col("list_usd").fill_null(0).cast(USD),
        effective_usd=pl.col("effective_usd").fill_null(0).cast(USD),
        low_usd=pl.col("low_usd").cast(USD), high_usd=pl.col("high_usd").cast(USD))
    nothing = pl.lit(None, dtype=USD)
    for unit in units:
        cost = pl.col(f"c_{unit.name}").fill_null(0).cast(USD)
        count = pl.col("requests" if unit.name == "request" else f"q_{unit.name}").fill_null(0).cast(COUNT)
        held = rows.filter(cost != 0) if unit.name == "request" else rows.filter((cost != 0) | (count != 0))
        pieces.append(held.select(
            *_GROUP, "requests", unit=pl.lit(unit.name), quantity=count, list_usd=cost,
            effective_usd=pl.when(pl.col("list_usd") == pl.col("effective_usd")).then(cost).otherwise(
                share(pl.col("effective_usd"), cost, pl.col("list_usd")).fill_null(cost)),
            low_usd=nothing, high_usd=nothing))
    whole = rows.filter((pl.col("list_usd") != pl.col("_known")) | pl.col("low_usd").is_not_null())
    pieces.append(whole.select(
        *_GROUP, "requests", unit=pl.lit(None, dtype=pl.String), quantity=pl.lit(Decimal(0)).cast(COUNT),
        list_usd=pl.col("list_usd") - pl.col("_known"), effective_usd=pl.col("effective_usd") - pl.col("_known"),
        low_usd="low_usd", high_usd="high_usd"))
    lines = placed(pl.concat(pieces, how="diagonal"), pairing)
    return lines.select(pl.col(name).cast(kind) for name, kind in LINE_SCHEMA.items())


def placed(lines: pl.DataFrame, pairing: Pairing) -> pl.DataFrame:
    """Lines with their scope and with regions as prices tell them apart."""
    pairs = lines.select("source", "provider").unique().rows()
    lines = named(lines, ("source", "provider"), "scope", {p: pairing.of_usage(*p) for p in pairs})
    regions = lines.select("provider", "region").unique().rows()
    return named(lines, ("provider", "region"), "_region", {p: region_of(*p) for p in regions}).with_columns(
        region=pl.col("_region")).drop("_region")


def issuer_name(scope: str) -> str:
    """The issuer of a scope that no bill has named."""
    return issuer_of(scope)[1] or scope
