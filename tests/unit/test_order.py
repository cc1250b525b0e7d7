"""The order of a partition's rows is that of a plain sort, whole or in stretches."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costops.transforms.order import in_order, stretches

START = datetime(2026, 9, 30, 22)

ROWS = st.lists(st.tuples(st.integers(0, 5 * 3600), st.integers(0, 3), st.text("abé", max_size=3)), max_size=60)


def table(told: list[tuple[int, int, str]], ranks: int = 1) -> pa.Table:
    """Rows by seconds from the start, rank, id; ids are made unique."""
    return pl.DataFrame(
        [(START + timedelta(seconds=seconds // 60 * 60), rank * ranks, f"{text}{number}")
         for number, (seconds, rank, text) in enumerate(told)],
        schema={"used_at": pl.Datetime("us"), "_rank": pl.Int32, "record_id": pl.String}, orient="row").to_arrow()


def plainly(rows: pa.Table) -> list[str]:
    """The ids in order, by another's sort; text by its bytes."""
    return pl.DataFrame(rows).sort(pl.col("used_at").dt.date(), "_rank", "used_at", "record_id")["record_id"].to_list()


@pytest.mark.parametrize("ranks", [1, 500_000_000], ids=["one_number", "too_many_ranks_for_one_number"])
@given(told=ROWS)
def test_order_is_that_of_a_sort(told: list[tuple[int, int, str]], ranks: int) -> None:
    rows = table(told, ranks)
    assert rows.take(in_order(rows)).column("record_id").to_pylist() == plainly(rows)


@given(told=ROWS.filter(bool), most=st.integers(1, 9))
def test_stretches_one_after_the_other_are_the_order(told: list[tuple[int, int, str]], most: int) -> None:
    rows = table(told)
    places = (pl.DataFrame(rows).group_by(
        (pl.col("used_at").dt.epoch("d")).cast(pl.Int64).alias("day"), pl.col("_rank").cast(pl.Int64),
        pl.col("used_at").dt.hour().cast(pl.Int64).alias("hour")).agg(pl.len()).sort("day", "_rank", "hour").rows())
    cut = stretches(places, most)
    dealt = {number: rows.take(place) for number, place in cut.split(rows)}
    assert [dealt[number].num_rows for number in range(len(cut.sizes))] == cut.sizes
    assert all(size <= most or size in {count for *_, count in places} for size in cut.sizes)
    ordered = pa.concat_tables(dealt[number].take(in_order(dealt[number])) for number in sorted(dealt))
    assert ordered.column("record_id").to_pylist() == plainly(rows)
