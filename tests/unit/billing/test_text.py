"""Amounts are exact, times are UTC, and a damaged file is told from an empty one."""

from __future__ import annotations

import gzip
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from costops.transforms.billing.meaning import block_size
from costops.transforms.billing.text import Damaged, Sheet, amounts, document, instant, sheet_batches


@pytest.mark.parametrize(("text", "want"), [
    ("123.45", "123.45"), ("-0.000000000000000001", "-0.000000000000000001"), ("1.2E-7", "0.00000012"),
    (" 7 ", "7"), (".5", "0.5"), ("99999999999999999999.5", "99999999999999999999.5"),
    ("1,234.50", None), ("abc", None), ("", None), ("NaN", None), ("123456789012345678901", None), ("$5", None),
])
def test_an_amount_is_exact_or_none(text: str, want: str | None) -> None:
    made, cut = amounts(pl.Series([text]))
    assert made.to_list() == [Decimal(want) if want else None]
    assert cut == 0


def test_what_a_floats_tail_loses_is_told_to_the_last_digit() -> None:
    texts = ["0.0000000000000000012345", "2.8000000000000003e-05", "1"]
    made, cut = amounts(pl.Series(texts))
    assert sum(made.to_list()) + cut == sum(map(Decimal, texts))


@pytest.mark.parametrize(("text", "want"), [
    ("2026-10-20T00:00:00Z", datetime(2026, 10, 20)), ("2026-10-20 00:00:00 UTC", datetime(2026, 10, 20)),
    ("10/20/2026", datetime(2026, 10, 20)), ("5/1/25", datetime(2025, 5, 1)), ("20.10.2026", datetime(2026, 10, 20)),
    ("20261020", datetime(2026, 10, 20)), ("1792454400", datetime(2026, 10, 20)),
    ("2026-10-20T02:00:00+02:00", datetime(2026, 10, 20)), ("2023-11-13T10:00Z", datetime(2023, 11, 13, 10)),
    ("2026-09-15T06:10:02.1032074Z", datetime(2026, 9, 15, 6, 10, 2, 103207)),
    ("2023-02-01T30:00:00Z", None), ("soon", None), ("2026-13-01", None),
])
def test_a_time_is_read_in_every_form_that_providers_write(text: str, want: datetime | None) -> None:
    assert instant(text) == want


@pytest.mark.parametrize(("measure", "want"), [
    ("1K tokens", 1000), ("1M", 1_000_000), ("1000000 count", 1_000_000), ("1K", 1000), ("tokens", 1),
    ("1 Hour", 1), ("100 Hours", 100), (None, None), ("", None),
])
def test_the_block_of_a_measure(measure: str | None, want: int | None) -> None:
    assert block_size(measure) == want


def test_rows_with_other_cells_than_the_header_are_set_aside_by_number(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('\ufeffa,b\n1,2\n3\n"4\n4",5\n6,7,8\n9,9\n', encoding="utf-8")
    sheet = Sheet()
    frame = pl.concat(list(sheet_batches(path, sheet)))
    assert sheet.header == ("a", "b")
    assert frame["a"].to_list() == ["1", "4\n4", "9"]
    assert frame["_line"].to_list() == [1, 3, 5]
    assert [number - 1 for number, _ in sheet.bad] == [2, 4]


def test_a_file_in_latin_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("Maßeinheit;b\nStück;2\n".encode("latin-1"))
    assert pl.concat(list(sheet_batches(path, Sheet())))["Maßeinheit"].to_list() == ["Stück"]


def test_a_cut_gzip_gives_its_rows_and_then_says_that_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    whole = gzip.compress(("a,b\n" + "".join(f"{n},{n * n}\n" for n in range(50_000))).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Damaged):
        list(sheet_batches(path, Sheet(), batch_bytes=4096))
    with pytest.raises(Damaged):
        document(path)


def test_parquet_doubles_come_as_their_shortest_exact_text(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"cost": [0.1, 0.000028], "tags": pa.array([[("team", "a")], []], pa.map_(
        pa.string(), pa.string()))}), path)
    frame = pl.concat(list(sheet_batches(path, Sheet())))
    assert frame["cost"].to_list() == ["0.1", "2.8e-05"]
    assert frame["tags"].to_list() == ['{"team": "a"}', "{}"]
    assert amounts(frame["cost"])[0].to_list() == [Decimal("0.1"), Decimal("0.000028")]
