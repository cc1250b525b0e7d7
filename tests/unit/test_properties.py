"""Properties of the rules that figures rest on: which record counts, and that sums survive every grouping."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from costops.flows.tasks.stretches import repeated
from costops.transforms import merge, query
from costops.transforms.check import check, conform
from costops.transforms.tables import CORE_CHARGE, OUT_SPEND_DAILY, OUT_SPEND_HOURLY, SPEND_COSTS, SPEND_TOKENS, Table

CON = query.connect(threads=1)
NOON = datetime(2026, 10, 29, 12)

# id, input, output tokens, input tokens, minute: few values, so that records meet and tie
RECORD = st.tuples(st.sampled_from("xyz"), st.sampled_from("abcd"), st.integers(0, 2), st.integers(0, 2),
                   st.integers(0, 1))
Record = tuple[str, str, int, int, int]


def rows(records: list[Record]) -> pl.DataFrame:
    return pl.DataFrame(
        [(number, number, name, origin, made, taken, NOON + timedelta(minutes=minute), NOON.date())
         for number, (name, origin, made, taken, minute) in enumerate(records)], orient="row",
        schema={"_row": pl.Int64, "_n": pl.Int64, "record_id": pl.String, "input_id": pl.String,
                "output_tokens": pl.Int64, "input_tokens": pl.Int64, "used_at": pl.Datetime("us"), "day": pl.Date})


def winners(records: list[Record], known: pl.DataFrame | None = None) -> pl.DataFrame:
    """What is in the lake after these records, told together, on top of what it knew."""
    told = rows(records)
    CON.register("usage", told.to_arrow())
    CON.register("twice", pl.DataFrame({"h": repeated(CON)}).to_arrow())
    query.run(CON, merge.MARK_DUPLICATES)
    kept = told.filter(~pl.col("_row").is_in(query.frame(CON, "SELECT _row FROM losers")["_row"].to_list()))
    if known is None:
        return kept
    CON.register("usage", kept.to_arrow())
    CON.register("known", known.to_arrow())
    query.run(CON, merge.MARK_OLD)
    met = query.frame(CON, "SELECT _row, record_id, wins FROM met")
    beaten = met.filter("wins")["record_id"].to_list()
    lost = met.filter(~pl.col("wins"))["_row"].to_list()
    return pl.concat([known.filter(~pl.col("record_id").is_in(beaten)), kept.filter(~pl.col("_row").is_in(lost))])


def plain(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return sorted(frame.select("record_id", "input_id", "output_tokens", "input_tokens", "used_at").rows())


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORD, max_size=12), st.permutations("abcd"), st.integers(0, 4))
def test_inputs_told_in_any_order_and_any_nights_leave_the_same_records(
        records: list[Record], order: list[str], night: int) -> None:
    at_once = winners(records)
    assert at_once["record_id"].is_unique().all()
    first = [one for name in order[:night] for one in records if one[1] == name]
    second = [one for name in order[night:] for one in records if one[1] == name]
    assert plain(winners(second, winners(first))) == plain(at_once)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORD, min_size=1, max_size=12))
def test_what_is_told_again_changes_nothing(records: list[Record]) -> None:
    assert plain(winners(records, winners(records))) == plain(winners(records))


CHARGE = st.fixed_dictionaries({
    "minute": st.integers(0, 4 * 1_440), "team": st.sampled_from(["a", "b", None]),
    "model_id": st.sampled_from(["m", "n"]), "source": st.sampled_from(["s", "t"]), "counted": st.booleans(),
    "pico": st.one_of(st.none(), st.integers(0, 10**17)), "tokens": st.integers(0, 10**12)})


@settings(max_examples=60, deadline=None)
@given(st.lists(CHARGE, min_size=1, max_size=25))
def test_sums_survive_every_grouping(charges: list[dict[str, object]]) -> None:
    table = conform(pl.DataFrame([{
        "source": one["source"], "record_id": str(number), "used_at": NOON + timedelta(minutes=int(str(one["minute"]))),
        "day": (NOON + timedelta(minutes=int(str(one["minute"])))).date(), "provider": "p", "granularity": "request",
        "model_id": one["model_id"], "team": one["team"], "requests": 1, "counted": one["counted"],
        "price_status": "unpriced" if one["pico"] is None else "priced",
        "list_cost_usd": None if one["pico"] is None else Decimal(int(str(one["pico"]))).scaleb(-12),
        **dict.fromkeys(SPEND_TOKENS, one["tokens"]),
    } for number, one in enumerate(charges)], infer_schema_length=None), CORE_CHARGE)
    counted = table.filter("counted")
    hourly = grouped("core_charge", table, OUT_SPEND_HOURLY)
    daily = grouped("out_spend_hourly", hourly, OUT_SPEND_DAILY)
    for made in (hourly, daily):
        assert made["requests"].sum() == counted.height
        assert made["unpriced_requests"].sum() == counted["list_cost_usd"].null_count()
        for name in SPEND_TOKENS:
            assert made[name].sum() == counted[name].sum()
        for name in SPEND_COSTS:
            assert exact(made[name]) == exact(counted[name])
            unknown = made.filter(pl.col(name).is_null())
            assert unknown.height == 0 or name != "list_cost_usd" or (
                unknown["requests"] == unknown["unpriced_requests"]).all()


def exact(column: pl.Series) -> Decimal:
    return sum((value for value in column.to_list() if value is not None), Decimal(0))


def grouped(name: str, frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    CON.register(name, frame.to_arrow())
    columns = ", ".join(f"cast({f.name} AS {f.type.duckdb}) AS {f.name}" for f in table.fields)
    return check(conform(query.frame(CON, f"SELECT {columns} FROM ({query.statement(table.name)})"), table), table)
