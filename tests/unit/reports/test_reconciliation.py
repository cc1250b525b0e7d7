"""The reconciliation report: sums that meet, causes that are named, nothing that a name could break."""

from __future__ import annotations

import io
import json
import re
import zipfile
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
from tests.unit.reports.month import causes, month
from tests.unit.reports.night import HOSTILE

from costops.transforms.reports.causes import CAUSE
from costops.transforms.reports.reconciliation import (
    reconciliation_json,
    reconciliation_report,
    reconciliation_workbook,
)
from costops.transforms.reports.reconciliation_lines import by_issuer, largest, steps


def whole(frame: pl.DataFrame) -> dict[str, Any]:
    return frame.select(pl.col("computed_usd", "billed_usd", "gap_usd").sum()).row(0, named=True)


def test_a_line_with_two_causes_counts_once() -> None:
    frame = by_issuer(causes())
    openai = frame.filter(pl.col("issuer") == "OpenAI, LLC").row(0, named=True)
    assert openai["lines"] == 3
    assert openai["gap_usd"] == Decimal("-56.5341")
    sums = whole(frame)
    assert sums["billed_usd"] - sums["computed_usd"] == sums["gap_usd"]


def test_the_waterfall_goes_from_computed_to_billed_without_a_break() -> None:
    frame = by_issuer(causes())
    sums = whole(frame)
    found = steps(causes(), sums["computed_usd"], sums["billed_usd"])
    assert found[0][3] == sums["computed_usd"]
    assert found[-1][3] == sums["billed_usd"]
    for (_, _, _, end), (name, _, start, _) in pairwise(found[:-1]):
        assert end == start, name
    assert found[-2][3] == found[-1][3]


def test_what_no_cause_accounts_for_is_a_step_of_its_own() -> None:
    found = steps(causes().head(0), Decimal(10), Decimal(12))
    assert ("no cause named", "up", Decimal(10), Decimal(12)) in found


def test_unexplained_amounts_of_opposite_sign_do_not_cancel() -> None:
    two = causes().filter(pl.col("cause") == "unexplained")
    less = two.with_columns(unit=pl.lit("x"), cause_usd=-pl.col("cause_usd"), gap_usd=-pl.col("gap_usd"))
    two = pl.concat([two, less])
    assert by_issuer(two)["unexplained_usd"].sum() == Decimal("7.5")


def test_lines_without_a_gap_are_counted_where_all_lines_are_given() -> None:
    base = causes().select("month", "issuer", "computed_usd", "billed_usd", "gap_usd").head(2)
    equal = base.with_columns(billed_usd=pl.col("computed_usd"), gap_usd=pl.lit(0).cast(pl.Decimal(38, 18)))
    told = json.loads(reconciliation_json(month(lines=pl.concat([base, equal]))))
    assert told["total"]["lines"] == 4
    assert told["total"]["equal_lines"] == 2


def test_every_cause_of_the_contract_has_a_name_and_a_next_step() -> None:
    contract = (  # noqa: SIM905
        "missing_usage, extra_usage, quantity, model_mapping, tier, price_change, price_book, region, discount, "
        "commitment, credit, tax, fx, rounding, timing, tool_fee, unmapped_line, unexplained").split(", ")
    assert set(CAUSE) == set(contract)


def test_the_page_has_all_its_parts_and_the_lock() -> None:
    html = reconciliation_report(month())
    for name in ("summary", "waterfall", "causes", "largest", "coverage", "prices", "unmatched", "invoices", "next",
                 "sign-off"):
        assert f'<section id="{name}"' in html
    assert month().lock_hash in html
    assert "not locked" in reconciliation_report(month(lock_hash="", locked_at=None))
    assert html == reconciliation_report(month())
    assert len(html.encode()) < 1_300_000


def test_changes_after_the_lock_are_told_as_dated_differences() -> None:
    odd = causes().head(1).with_columns(corrected_on=pl.lit("2026-11-20").str.to_date(), correction_of=pl.lit("9f2c"))
    html = reconciliation_report(month(corrections=odd))
    assert "Changes since the lock" in html
    assert "20 Nov 2026" in html


def test_a_month_without_bills_says_so() -> None:
    html = reconciliation_report(month(causes=causes().head(0), coverage=None, learnings=None, invoices=None))
    assert "nothing to reconcile" in html


def test_hostile_names_are_inert_and_the_json_keeps_them() -> None:
    text = HOSTILE[1] + HOSTILE[0]
    odd = causes().with_columns(issuer=pl.lit(text), model_id=pl.lit(HOSTILE[4]), account_id=pl.lit(text))
    data = month(causes=odd, notes=(text,), lock_hash=text, snapshots=(text,), prepared_by=text, status=text)
    page = re.sub(r"<script.*?</script>", "", reconciliation_report(data), flags=re.DOTALL)
    assert "<img" not in page
    assert json.loads(reconciliation_json(data))["by_issuer"][0]["issuer"] == text


def test_the_workbook_has_its_five_sheets_and_the_same_bytes_each_time() -> None:
    made = reconciliation_workbook(month())
    names = re.findall(r'sheet name="([^"]*)"', zipfile.ZipFile(io.BytesIO(made)).read("xl/workbook.xml").decode())
    assert names == ["summary", "lines", "causes", "unmatched", "evidence", "sign-off"]
    assert made == reconciliation_workbook(month())


def test_json_amounts_are_strings_with_every_digit() -> None:
    told = json.loads(reconciliation_json(month()))
    assert told["total"]["gap_usd"] == "-57.911300000000000000"
    assert sum(Decimal(row["cause_usd"]) for row in told["causes"]) == Decimal(told["total"]["gap_usd"])


def test_days_of_one_model_and_cause_are_one_row_with_their_sum() -> None:
    one = causes().filter(pl.col("cause") == "price_book")
    days = pl.concat([one.with_columns(day=pl.lit(f"2026-10-0{day}").str.to_date()) for day in (3, 4, 5)])
    row = largest(days, 25).row(0, named=True)
    assert (row["lines"], row["cause_usd"], row["first"].day, row["last"].day) == (3, Decimal("54.183"), 3, 5)
    page = reconciliation_report(month(causes=days))
    assert "3\u20135 Oct 2026" in page
    assert "cached input" in page


def test_coverage_names_what_lacks_and_counts_what_is_whole() -> None:
    page = reconciliation_report(month())
    assert "81,220,113" in page
    assert "55,120,887" not in page
    assert "Of 1 model and unit every token that is billed is logged." in page


def test_the_workbook_is_signed_with_the_hash_of_the_lock() -> None:
    data = month()
    with zipfile.ZipFile(io.BytesIO(reconciliation_workbook(data))) as book:
        texts = book.read("xl/sharedStrings.xml").decode()
    assert data.lock_hash in texts
    assert "Approved by" in texts
    assert "Total" in texts


def test_what_was_agreed_asks_for_nothing() -> None:
    mixed = causes().with_columns(agreed=pl.col("cause") == "discount")
    page = reconciliation_report(month(causes=mixed))
    assert page.count("nothing to do: a contract says so") == 1


def test_the_cost_after_contracts_is_shown_where_it_is_another() -> None:
    lines = causes().select("month", "issuer", "computed_usd", "billed_usd", "gap_usd").with_columns(
        computed_effective_usd=pl.col("computed_usd"))
    assert "After contracts" not in reconciliation_report(month(lines=lines))
    less = lines.with_columns(computed_effective_usd=(pl.col("computed_usd") / 2).cast(pl.Decimal(38, 18)))
    assert "After contracts (USD)" in reconciliation_report(month(lines=less))


def test_a_bill_without_logs_says_what_cannot_be_checked() -> None:
    lines = causes().select("month", "issuer", "computed_usd", "billed_usd", "gap_usd").with_columns(
        bill_rows=pl.lit(1), requests=pl.lit(None, dtype=pl.Int64), matched=pl.lit(value=False))
    nothing = pl.DataFrame(schema={"kind": pl.String(), "amount_usd": pl.Decimal(38, 18)})
    page = reconciliation_report(month(lines=lines, learnings=nothing))
    assert "no usage log of it has been read" in page
    assert "No price could be checked" in page


def test_what_a_contract_makes_another_amount_of_points_to_the_contract() -> None:
    short = causes().with_columns(agreed=pl.lit(value=False), contract=pl.when(pl.col("cause") == "credit").then(
        pl.lit("grant")))
    page = reconciliation_report(month(causes=short))
    assert page.count("the contract makes it another amount") == 1
