"""Provisional, settled, locked; what changes afterwards; reopening."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costops.reconcile.close import (
    Basis,
    causes_hash,
    closed_periods,
    corrections,
    lock_document,
    reopened,
    stale,
    status_of,
    verified,
)
from costops.transforms.check import conform
from costops.transforms.errors import Refused, Usage
from costops.transforms.tables import OUT_RECONCILIATION

AT = datetime(2026, 11, 20, 8, tzinfo=UTC)


def causes(*rows: tuple[str, str]) -> pl.DataFrame:
    made = [{"month": "2026-10", "issuer": "OpenAI", "source": "costs", "model_id": model, "unit": "output",
             "day": date(2026, 10, 3), "computed_usd": Decimal(1), "billed_usd": 1 + Decimal(cost),
             "gap_usd": Decimal(cost), "cause": "quantity", "cause_usd": Decimal(cost), "status": "locked"}
            for model, cost in rows]
    return conform(pl.DataFrame(made, schema_overrides={n: pl.Decimal(38, 18) for n in (
        "computed_usd", "billed_usd", "gap_usd", "cause_usd")}), OUT_RECONCILIATION)


def lock(rows: pl.DataFrame) -> dict[str, Any]:
    return lock_document("2026-10", rows, Basis({"costs": "abc"}, "b00c", {"gap_usd": "2"}),
                         signed_by="A. Controller", at=AT)


def bills(*rows: tuple[datetime | None, bool]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"as_of": pl.Datetime("us"), "missing": pl.Boolean()}, orient="row")


@pytest.mark.parametrize(("today", "as_of", "missing", "status"), [
    (date(2026, 10, 31), datetime(2026, 10, 30), False, "provisional"),
    (date(2026, 11, 2), datetime(2026, 11, 1), False, "provisional"),
    (date(2026, 11, 5), datetime(2026, 11, 1), False, "settled"),
    (date(2026, 11, 5), datetime(2026, 10, 20), False, "provisional"),
    (date(2026, 11, 5), None, True, "provisional"),
])
def test_a_month_settles_when_its_bills_rest(today: date, as_of: datetime | None, status: str, *, missing: bool
                                             ) -> None:
    assert status_of("2026-10", bills((as_of, missing)), today) == status


def test_a_lock_keeps_a_month_locked_whatever_the_bills_do() -> None:
    assert status_of("2026-10", bills((None, True)), date(2026, 12, 1), lock=lock(causes(("m", "2")))) == "locked"


def test_a_lock_names_what_it_rests_on_and_verifies() -> None:
    made = lock(causes(("m", "2")))
    assert verified(made) is made
    assert made["snapshots"] == {"costs": "abc"}
    assert made["causes_sha256"] == causes_hash(causes(("m", "2")))
    assert closed_periods(made) == {"costs": {"2026-10": "abc"}}


def test_a_lock_that_was_edited_is_refused() -> None:
    made = lock(causes(("m", "2"))) | {"signed_by": "somebody else"}
    with pytest.raises(Refused, match="changed by hand"):
        verified(made)


def test_nobody_locks_without_a_name() -> None:
    with pytest.raises(Usage, match="name that signs"):
        lock_document("2026-10", causes(), Basis({}, "", {}), signed_by=" ", at=AT)


def test_a_bill_that_changed_since_the_lock_is_stale() -> None:
    assert stale(lock(causes()), {"costs": "abc"}) == []
    assert stale(lock(causes()), {"costs": "def", "new": "x"}) == ["costs", "new"]


def test_later_changes_become_dated_rows_that_sum_to_the_difference() -> None:
    before, after = causes(("m", "2"), ("gone", "1"), ("same", "3")), causes(("m", "5"), ("new", "4"), ("same", "3"))
    made = corrections(lock(before), before, after, date(2026, 11, 21))
    assert made.changed
    assert made.rows.select("model_id", "cause_usd").rows() == [
        ("gone", Decimal(-1)), ("m", Decimal(3)), ("new", Decimal(4))]
    assert made.rows["corrected_on"].unique().to_list() == [date(2026, 11, 21)]
    assert made.rows["correction_of"].unique().to_list() == [lock(before)["sha256"]]
    assert made.before_usd + Decimal(made.rows["cause_usd"].sum()) == made.after_usd


def test_nothing_changed_makes_no_row() -> None:
    rows = causes(("m", "2"))
    assert not corrections(lock(rows), rows, rows, date(2026, 11, 21)).changed


def test_reopening_is_recorded_with_name_reason_and_the_old_hash() -> None:
    made = lock(causes(("m", "2")))
    opened = reopened(made, by="B. Auditor", reason="credit note 17", at=AT)
    assert opened["status"] == "provisional"
    assert opened["history"][-1]["sha256_before"] == made["sha256"]
    assert verified(opened) is opened
    assert closed_periods(opened) == {}
    again = lock_document("2026-10", causes(("m", "3")), Basis({"costs": "def"}, "b00c", {}),
                          signed_by="A. Controller", at=AT, history=opened["history"])
    assert again["history"] == opened["history"]


def test_reopening_needs_a_reason() -> None:
    with pytest.raises(Usage, match="needs a name and a reason"):
        reopened(lock(causes()), by="B", reason="", at=AT)


def test_a_second_change_is_dated_by_itself_and_the_first_stands() -> None:
    before, first, second = causes(("m", "2")), causes(("m", "5")), causes(("m", "4"))
    one = corrections(lock(before), before, first, date(2026, 11, 21)).rows
    again = corrections(lock(before), before, first, date(2026, 11, 22), one).rows
    two = corrections(lock(before), before, second, date(2026, 11, 23), again).rows
    assert again.equals(one)
    assert two.select("corrected_on", "cause_usd").rows() == [
        (date(2026, 11, 21), Decimal(3)), (date(2026, 11, 23), Decimal(-1))]


def test_a_change_of_today_is_told_once_however_often_it_is_looked_at() -> None:
    before = causes(("m", "2"))
    one = corrections(lock(before), before, causes(("m", "5")), date(2026, 11, 21)).rows
    two = corrections(lock(before), before, causes(("m", "6")), date(2026, 11, 21), one).rows
    assert two.select("corrected_on", "cause_usd").rows() == [(date(2026, 11, 21), Decimal(4))]
