"""Discounts with dates, commitments, credits with expiry, provisioned throughput."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from costops.reconcile.contracts import agreed, contracts
from costops.reconcile.drawdown import SPEND_SCHEMA, commitments, prepaid, provisioned
from costops.transforms.errors import Usage

USD = pl.Decimal(38, 18)


def deal(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "provider": "openai", "valid_from": date(2026, 1, 1), "period": "month",
            "discount_pct": Decimal(0), "amount_usd": Decimal(0), **more}


def spend(*rows: tuple[int, str]) -> pl.DataFrame:
    return pl.DataFrame([("openai", "gpt-5", date(2026, 10, day), Decimal(cost)) for day, cost in rows],
                        schema=SPEND_SCHEMA, orient="row")


def lines(*rows: Mapping[str, object]) -> pl.DataFrame:
    full = [{"line_id": n, "provider": "openai", "model_id": "gpt-5", "unit": "output", "account_id": None,
             "day": date(2026, 10, 10), **row} for n, row in enumerate(rows)]
    return pl.DataFrame(full, schema={"line_id": pl.UInt32(), "provider": pl.String(), "model_id": pl.String(),
                                      "unit": pl.String(), "account_id": pl.String(), "day": pl.Date()})


def test_a_discount_holds_from_its_first_day_until_before_its_last() -> None:
    deals = contracts([deal("ten", "discount", discount_pct=Decimal(10), valid_from=date(2026, 10, 10),
                            valid_to=date(2026, 10, 12))])
    told = agreed(lines(*({"day": date(2026, 10, day)} for day in (9, 10, 11, 12))), deals, "2026-10")
    assert told.select("line_id", "agreed_factor").rows() == [(1, 0.9), (2, 0.9)]


def test_the_discount_that_names_most_wins() -> None:
    deals = contracts([deal("all", "discount", discount_pct=Decimal(5)),
                       deal("model", "discount", discount_pct=Decimal(20), model_id="gpt-5"),
                       deal("sku", "discount", discount_pct=Decimal(30), model_id="gpt-5", unit="output")])
    told = agreed(lines({}, {"unit": "uncached_input"}, {"model_id": "gpt-4o"}, {"provider": "anthropic"}), deals,
                  "2026-10")
    assert told.select("line_id", "contract").rows() == [(0, "sku"), (1, "model"), (2, "all")]


def test_a_line_without_a_day_is_discounted_where_the_whole_month_is() -> None:
    whole = contracts([deal("ten", "discount", discount_pct=Decimal(10))])
    part = contracts([deal("ten", "discount", discount_pct=Decimal(10), valid_from=date(2026, 10, 2))])
    assert agreed(lines({"day": None}), whole, "2026-10").height == 1
    assert agreed(lines({"day": None}), part, "2026-10").height == 0


def test_a_discount_of_more_than_everything_is_refused_by_name() -> None:
    with pytest.raises(Usage, match=r"contracts\.wrong"):
        contracts([deal("wrong", "discount", discount_pct=Decimal(101))])


def test_a_monthly_commitment_that_is_not_drawn_falls_short() -> None:
    deals = contracts([deal("spend", "commitment", amount_usd=Decimal(100))])
    row = commitments(spend((1, "30"), (31, "45.5")), deals, "2026-10").row(0, named=True)
    assert (row["drawn_usd"], row["remaining_usd"], row["shortfall_usd"]) == (
        Decimal("75.5"), Decimal("24.5"), Decimal("24.5"))


def test_a_yearly_commitment_falls_short_only_when_its_year_ends() -> None:
    early = contracts([deal("year", "commitment", amount_usd=Decimal(1000), period="year",
                            valid_from=date(2026, 3, 1))])
    last = contracts([deal("year", "commitment", amount_usd=Decimal(1000), period="year",
                           valid_from=date(2025, 11, 1), valid_to=date(2026, 11, 1))])
    assert commitments(spend((1, "100")), early, "2026-10", {("year", date(2026, 3, 1)): Decimal(700)})[
        "shortfall_usd"].to_list() == [Decimal(0)]
    ended = commitments(spend((1, "100")), last, "2026-10", {("year", date(2025, 11, 1)): Decimal(700)}).row(
        0, named=True)
    assert (ended["remaining_usd"], ended["shortfall_usd"]) == (Decimal(200), Decimal(200))


def test_spend_beyond_a_commitment_leaves_nothing_to_pay_for() -> None:
    deals = contracts([deal("spend", "commitment", amount_usd=Decimal(100))])
    assert commitments(spend((1, "130")), deals, "2026-10")["shortfall_usd"].to_list() == [Decimal(0)]


def test_the_credit_that_expires_first_is_drawn_first_and_the_rest_of_it_is_lost() -> None:
    deals = contracts([
        deal("late", "credit", amount_usd=Decimal(50), period="once", valid_to=date(2027, 1, 1)),
        deal("soon", "credit", amount_usd=Decimal(40), period="once", valid_to=date(2026, 10, 16))])
    told = prepaid(spend((10, "25"), (20, "30")), deals, "2026-10")
    rows = {row["contract"]: row for row in told.iter_rows(named=True)}
    assert (rows["soon"]["drawn_usd"], rows["soon"]["expired_usd"], rows["soon"]["remaining_usd"]) == (
        Decimal(25), Decimal(15), Decimal(0))
    assert (rows["late"]["drawn_usd"], rows["late"]["expired_usd"], rows["late"]["remaining_usd"]) == (
        Decimal(30), Decimal(0), Decimal(20))


def test_a_credit_is_never_drawn_below_zero() -> None:
    deals = contracts([deal("once", "credit", amount_usd=Decimal(10), period="once")])
    row = prepaid(spend((1, "7"), (2, "7")), deals, "2026-10",
                        {("once", date(2026, 1, 1)): Decimal(1)}).row(0, named=True)
    assert (row["drawn_usd"], row["remaining_usd"]) == (Decimal(9), Decimal(0))


def test_a_year_that_turns_in_the_month_is_two_periods() -> None:
    deals = contracts([deal("year", "commitment", amount_usd=Decimal(100), period="year",
                            valid_from=date(2025, 10, 16), drawn_usd=Decimal(20))])
    told = commitments(spend((10, "30"), (20, "7")), deals, "2026-10", {("year", date(2025, 10, 16)): Decimal(40)})
    assert told.select("period_start", "drawn_before_usd", "drawn_usd", "shortfall_usd").rows() == [
        (date(2025, 10, 16), Decimal(60), Decimal(30), Decimal(10)),
        (date(2026, 10, 16), Decimal(0), Decimal(7), Decimal(0))]


def test_a_contract_for_one_model_is_drawn_by_that_model_alone() -> None:
    other = contracts([deal("spend", "commitment", amount_usd=Decimal(100), model_id="gpt-4o")])
    assert commitments(spend((1, "30")), other, "2026-10")["drawn_usd"].to_list() == [Decimal(0)]
    grant = contracts([deal("grant", "credit", amount_usd=Decimal(100), model_id="gpt-4o")])
    assert prepaid(spend((1, "30")), grant, "2026-10")["drawn_usd"].to_list() == [Decimal(0)]


def served(*rows: tuple[str, int, str]) -> pl.DataFrame:
    return pl.DataFrame([(n, "openai", m, Decimal(q), Decimal(w)) for n, (m, q, w) in enumerate(rows)],
                        schema={"line_id": pl.UInt32(), "scope": pl.String(), "model_id": pl.String(),
                                "quantity": pl.Decimal(38, 6), "weight_usd": USD}, orient="row")


def test_provisioned_throughput_is_spread_over_what_it_served_to_the_last_digit() -> None:
    deals = contracts([deal("ptu", "provisioned", amount_usd=Decimal(100))])
    told = provisioned(served(("m", 10, "1"), ("m", 10, "1"), ("n", 10, "1")), deals, "2026-10")
    assert sum(told["effective_usd"].to_list()) == Decimal(100)
    assert told["effective_usd"].round(2).to_list() == [Decimal("33.33"), Decimal("33.33"), Decimal("33.33")]
    assert told["line_id"].to_list() == [0, 1, 2]


def test_throughput_that_began_in_the_month_costs_its_days() -> None:
    deals = contracts([deal("ptu", "provisioned", amount_usd=Decimal(3100), valid_from=date(2026, 10, 22))])
    assert provisioned(served(("m", 10, "1")), deals, "2026-10")["effective_usd"].to_list() == [Decimal(1000)]


def test_throughput_that_served_nothing_is_unused() -> None:
    deals = contracts([deal("ptu", "provisioned", amount_usd=Decimal(100), model_id="other")])
    told = provisioned(served(("m", 10, "1")), deals, "2026-10")
    assert told.select("unused", "effective_usd").rows() == [(True, Decimal(100))]
