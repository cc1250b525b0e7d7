"""Exports keep every digit, are the same bytes each time, and hold nothing that a spreadsheet would run."""

import csv
import io
import json
import re
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costops.transforms.reports.export import csv_bytes, harmless, json_bytes, json_document, xlsx_bytes

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u3000=1", "\uff1d1", "\uff0b1", "\uff0d1",
            "\uff20x", "=cmd|' /C calc'!A0")


def frame() -> pl.DataFrame:
    return pl.DataFrame({
        "team": ["=cmd|' /C calc'!A0", 'say "hi", <b>', None],
        "cost_usd": [Decimal("-1.000000000001"), Decimal(2), None],
        "requests": [1, -2, 3], "day": [date(2026, 10, 1)] * 3, "used_at": [datetime(2026, 10, 1, 12, 0, 0, 5)] * 3,
        "days": [[date(2026, 10, 1)], [], None]})


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_gets_a_leading_quote(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "search", "a=b", "5", "'=1", "gpt-5", "(none)", "a\n=b"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


def test_numbers_of_a_csv_stay_numbers_with_every_digit() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_bytes(frame()).decode())))
    assert [row["cost_usd"] for row in rows] == ["-1.000000000001", "2.000000000000", ""]
    assert [row["requests"] for row in rows] == ["1", "-2", "3"]
    assert rows[0]["team"] == "'=cmd|' /C calc'!A0"
    assert rows[1]["team"] == 'say "hi", <b>'
    assert rows[0]["day"] == "2026-10-01"
    assert rows[0]["used_at"] == "2026-10-01T12:00:00.000005Z"
    assert rows[0]["days"] == '["2026-10-01"]'


def test_a_raw_csv_leaves_text_alone() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_bytes(frame(), raw=True).decode())))
    assert rows[0]["team"] == "=cmd|' /C calc'!A0"


def test_headings_are_text_as_well() -> None:
    assert csv_bytes(pl.DataFrame({"=1": [1]})) == b"'=1\n1\n"


_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@given(st.lists(st.one_of(st.none(), _TEXT), max_size=8))
def test_no_cell_of_any_csv_begins_like_a_formula(texts: list[str | None]) -> None:
    made = csv_bytes(pl.DataFrame({"id": range(len(texts)), "text": pl.Series(texts, dtype=pl.String)})).decode()
    for row in csv.DictReader(io.StringIO(made, newline="")):
        assert not row["text"].lstrip(" \u00a0\u3000").startswith(("=", "+", "-", "@", "\t", "\uff1d", "\uff0b"))


def test_json_tells_decimals_as_strings_and_days_in_iso() -> None:
    rows = json.loads(json_bytes(frame()))
    assert rows[0]["cost_usd"] == "-1.000000000001"
    assert rows[2]["cost_usd"] is None
    assert rows[0]["day"] == "2026-10-01"
    assert rows[0]["used_at"] == "2026-10-01T12:00:00.000005Z"
    assert rows[0]["days"] == ["2026-10-01"]


def test_json_has_no_nan_and_no_exponent() -> None:
    made = json_document({"a": float("nan"), "b": Decimal("1E-12"), "c": (1, 2),
                          "at": datetime(2026, 1, 1, tzinfo=UTC)})
    assert json.loads(made) == {"a": None, "b": "0.000000000001", "c": [1, 2], "at": "2026-01-01T00:00:00.000000Z"}


def test_a_workbook_holds_text_as_text_and_money_as_numbers() -> None:
    made = xlsx_bytes({"spend": frame(), "a/b:c*?": frame().head(0),
                       "spend ": pl.DataFrame({"x": ["https://x.example"]})})
    book = zipfile.ZipFile(io.BytesIO(made))
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "<v>-1.000000000001</v>" in sheet
    assert "=cmd" in book.read("xl/sharedStrings.xml").decode()
    assert "hyperlink" not in book.read("xl/worksheets/sheet3.xml").decode()
    assert re.findall(r'sheet name="([^"]*)"', book.read("xl/workbook.xml").decode()) == ["spend", "a_b_c__", "spend "]


def test_two_sheets_of_one_name_are_told_apart() -> None:
    made = xlsx_bytes({"Lines": frame(), "lines": frame()})
    names = re.findall(r'sheet name="([^"]*)"', zipfile.ZipFile(io.BytesIO(made)).read("xl/workbook.xml").decode())
    assert names == ["Lines", "lines (2)"]


def test_the_same_frames_give_the_same_workbook() -> None:
    assert xlsx_bytes({"a": frame()}, title="t") == xlsx_bytes({"a": frame()}, title="t")


def test_a_workbook_survives_what_a_cell_cannot_hold() -> None:
    odd = pl.DataFrame({"t": ["\x00\x1b" + "x" * 40_000], "n": [10**18], "f": [float("inf")], "d": [date(1800, 1, 1)]})
    strings = zipfile.ZipFile(io.BytesIO(xlsx_bytes({"a": odd}))).read("xl/sharedStrings.xml").decode()
    assert "\x1b" not in strings
    assert "1000000000000000000" in strings
