"""What must hold for any bill: sums, order, batches, splitting a bucket, another currency's scale."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from costops.transforms.billing.bill import Input, Options
from costops.transforms.billing.snapshot import content_id
from costops.transforms.billing.text import EXACT, added, amounts
from tests.unit.billing.bills import batches, rows, total

MONEY = st.decimals(min_value=Decimal("-99999999"), max_value=Decimal("99999999"), places=18).map(lambda d: f"{d:f}")
LINE = st.tuples(st.sampled_from(["2026-10-01", "2026-10-31", "2026-11-01"]), st.sampled_from(["m-1", "m-2"]),
                 st.sampled_from(["input", "output", "cache_read", "wonder"]), MONEY)


def _bill(lines: Sequence[tuple[str, ...]], batch_bytes: int = 1 << 22) -> tuple[pl.DataFrame, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bill.csv"
        path.write_text("day,model,meter,amount_usd\n" + "".join(",".join(line) + "\n" for line in lines))
        made = batches("generic.bill", [Input("bill.csv", path)], Options("s", issuer="groq", batch_bytes=batch_bytes))
    return pl.concat([batch.rows for batch in made]) if made else pl.DataFrame(), total(made).kept


@settings(max_examples=25, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=30), st.integers())
def test_sums_and_content_do_not_hang_on_order(lines: list[tuple[str, ...]], seed: int) -> None:
    made, kept = _bill(lines)
    mixed = list(lines)
    random.Random(seed).shuffle(mixed)
    other, _ = _bill(mixed)
    assert kept == len(lines)
    assert made["BilledCost"].sum() == added(Decimal(line[3]) for line in lines)
    assert made["x_SourceRowId"].is_unique().all()
    assert content_id(made) == content_id(other)


@settings(max_examples=15, deadline=None)
@given(st.lists(LINE, min_size=20, max_size=60))
def test_batches_of_any_size_are_the_same_bill(lines: list[tuple[str, ...]]) -> None:
    whole, _ = _bill(lines)
    parts, _ = _bill(lines, batch_bytes=512)
    assert content_id(whole) == content_id(parts)
    assert parts["x_SourceRowId"].is_unique().all()


@settings(max_examples=30, deadline=None)
@given(st.lists(LINE, min_size=1, max_size=10))
def test_a_line_split_in_two_halves_leaves_the_sums(lines: list[tuple[str, ...]]) -> None:
    halves = []
    for day, model, meter, money in lines:
        half = EXACT.divide(Decimal(money), Decimal(2)).quantize(Decimal(1).scaleb(-18), context=EXACT)
        halves += [(day, model, meter, f"{half:f}"), (day, model, meter, f"{EXACT.subtract(Decimal(money), half):f}")]
    keys = ["billing_period", "x_ModelId", "x_UnitName", "x_MappingStatus"]
    one, two = (made.group_by(keys).agg(pl.col("BilledCost").sum()).sort(keys, nulls_last=True)
                for made in (_bill(lines)[0], _bill(halves)[0]))
    assert one.equals(two)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-10**19, max_value=10**19), max_size=6))
def test_every_amount_and_what_was_cut_of_it_is_the_amount(values: list[Decimal]) -> None:
    made, cut = amounts(pl.Series([str(value) for value in values], dtype=pl.String))
    assert made.null_count() == 0
    assert EXACT.add(added(made.to_list()), cut) == added(values)


def test_rows_of_helpers_agree(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_text("day,model,meter,amount_usd\n2026-10-01,m,input,1\n")
    assert rows(batches("generic.bill", [Input("bill.csv", path)])).height == 1
