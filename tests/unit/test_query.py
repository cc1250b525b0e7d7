"""The door to DuckDB: macros that never stop a batch, and queries of people that change nothing."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costops.transforms import query
from costops.transforms.errors import Usage

CON = query.connect(threads=1)


def value(expression: str, text: str | None) -> Any:
    return query.scalar(CON, f"SELECT {expression}", {"x": text})


@pytest.mark.parametrize(("text", "want"), [
    ("2026-10-01T00:00:00Z", datetime(2026, 10, 1)),
    ("2026-10-01T00:00:00.123456Z", datetime(2026, 10, 1, 0, 0, 0, 123456)),
    ("2026-10-01T02:00:00+02:00", datetime(2026, 10, 1)),
    ("2026-10-01T05:30:00+05:30", datetime(2026, 10, 1)),
    ("2026-09-30T20:00:00-04:00", datetime(2026, 10, 1)),
    ("2026-10-01 00:00:00", datetime(2026, 10, 1)),
    ("2026-10-01T00:00:00", datetime(2026, 10, 1)),
    ("2026-10-25T02:30:00+02:00", datetime(2026, 10, 25, 0, 30)),
    ("2026-10-25T02:30:00+01:00", datetime(2026, 10, 25, 1, 30)),
    ("2026-13-01T00:00:00Z", None), ("2026-02-30T00:00:00Z", None), ("yesterday", None), ("", None), (None, None),
])
def test_an_instant_is_utc_whatever_its_offset(text: str | None, want: datetime | None) -> None:
    assert value("utc($x)", text) == want


@pytest.mark.parametrize(("text", "want"), [
    ("1793275200", datetime(2026, 10, 29, 12)),
    ("1793275200.25", datetime(2026, 10, 29, 12, 0, 0, 250000)),
    ("1.7932752e9", datetime(2026, 10, 29, 12)),
    ("1793275200000", None),            # milliseconds: no year that anyone uses
    ("1793275200000000", None),         # microseconds
    ("17932752000000000000000", None), ("99999999999999.5", None), ("1e300", None),
    ("Infinity", None), ("nan", None), ("x", None), ("", None), (None, None),
])
def test_seconds_since_1970_whole_or_with_a_fraction(text: str | None, want: datetime | None) -> None:
    assert value("epoch($x)", text) == want


@pytest.mark.parametrize(("text", "want"), [
    ("7", 7), (" 7 ", 7), ("-3", -3), ("99999999999999999999", None), ("x", None), ("", None), (None, None)])
def test_a_count(text: str | None, want: int | None) -> None:
    assert value("n($x)", text) == want


@pytest.mark.parametrize(("text", "want"), [
    ("0.000000000001", Decimal("0.000000000001")), ("1e-5", Decimal("0.00001")), ("999999.999999999999",
     Decimal("999999.999999999999")), ("1000000", None), ("NaN", None), ("1,5", None), (None, None)])
def test_an_amount_is_exact_or_unknown(text: str | None, want: Decimal | None) -> None:
    assert value("usd($x)", text) == want


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=30), st.integers().map(str), st.floats().map(repr), st.decimals().map(str),
                 st.datetimes().map(str), st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{0,9})?([eE]-?[0-9]{1,3})?Z?",
                                                        fullmatch=True)))
def test_no_text_makes_a_macro_fail(text: str) -> None:
    if "\x00" in text or any(0xD800 <= ord(char) < 0xE000 for char in text):
        return
    for macro in ("n", "utc", "epoch", "nanos", "usd"):
        query.run(CON, f"SELECT cast({macro}($x) AS VARCHAR)", {"x": text})


@pytest.mark.parametrize("sql", [
    "CREATE TABLE x AS SELECT 1", "COPY (SELECT 1) TO 'x.csv'", "SELECT 1; SELECT 2", "SET threads = 1", "", "-- x",
    "ATTACH 'x.db'", "INSTALL httpfs", "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'", "SELEC 1", "SELECT nothing",
    "SELECT 1 AS a, 2 AS a", "SELECT INTERVAL 1 DAY", "PRAGMA database_list",
])
def test_a_query_is_one_select_or_a_sentence(sql: str) -> None:
    with pytest.raises(Usage) as refused:
        query.ask(query.connect(threads=1), sql)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sql", ["SELECT 1 AS a", "FROM range(3)", "VALUES (1)", "DESCRIBE SELECT 1",
                                 "SUMMARIZE SELECT 1 AS a", "WITH x AS (SELECT 1 AS a) FROM x", "SHOW TABLES",
                                 "SELECT uuid(), MAP {'a': 1.5}, TIME '10:00', 'a'::BLOB, [1, 2], {'a': 1}"])
def test_what_only_reads_is_answered(sql: str) -> None:
    assert isinstance(query.ask(query.connect(threads=1), sql), pl.DataFrame)


def test_no_extension_is_loaded_behind_our_back(tmp_path: Path) -> None:
    con = query.connect(scratch=tmp_path)
    assert query.scalar(con, "SELECT current_setting('autoinstall_known_extensions')") is False
    assert query.scalar(con, "SELECT current_setting('TimeZone')") == "UTC"
