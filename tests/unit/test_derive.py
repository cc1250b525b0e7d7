from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costops.transforms import query
from costops.transforms.allocate import Rule, allocate, split
from costops.transforms.billing.lint import lint
from costops.transforms.check import check, conform
from costops.transforms.economics import unit_economics
from costops.transforms.errors import Usage
from costops.transforms.focus_daily import focus_rows
from costops.transforms.recommend import price_keys, recommend, usage
from costops.transforms.tables import (
    CORE_BUSINESS_METRIC,
    CORE_CHARGE,
    OUT_ALLOCATION,
    OUT_FOCUS_DAILY,
    OUT_SPEND_DAILY,
)
from costops.transforms.units import UNITS
from tests.unit.flows.conftest import NOON, Workspace, body

DAY = date(2026, 10, 29)
TEAMS = st.sampled_from(["search", "support", "growth", None])
AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=12, allow_nan=False)


def charges(*rows: dict[str, Any]) -> pl.DataFrame:
    common = {"source": "s", "granularity": "request", "used_at": datetime(2026, 10, 29, 12), "day": DAY,
              "provider": "openai", "model_id": "gpt-x", "service_tier": "standard", "requests": 1, "input_tokens": 0,
              "uncached_input_tokens": 0, "output_tokens": 0, "status": "ok", "price_status": "priced",
              "price_id": "p", "counted": True}
    made = [{**common, "record_id": str(at), **row} for at, row in enumerate(rows)]
    return conform(pl.DataFrame(made, infer_schema_length=None), CORE_CHARGE)


def focus(rows: pl.DataFrame) -> pl.DataFrame:
    con = query.connect()
    con.register("core_charge", rows.to_arrow())
    return check(focus_rows(query.frame(con, query.statement("out_focus_daily"))), OUT_FOCUS_DAILY)


def units(rows: pl.DataFrame) -> dict[str | None, tuple[Decimal, Decimal]]:
    return {name: (count, cost) for name, count, cost in
            rows.select("x_UnitName", "PricingQuantity", "EffectiveCost").iter_rows()}


# -- FOCUS rows ---------------------------------------------------------------------------------------------------

def test_every_unit_is_summed_for_focus() -> None:
    text = query.statement("out_focus_daily")
    assert [name for unit in UNITS for name in (unit.column, unit.cost_column) if f"AS {name}" not in text] == []


def test_a_part_with_a_price_of_its_own_is_not_in_its_whole() -> None:
    rows = focus(charges({"output_tokens": 100, "audio_output_tokens": 30, "output_cost_usd": Decimal("0.7"),
                          "audio_output_cost_usd": Decimal("0.9"), "list_cost_usd": Decimal("1.6"),
                          "effective_cost_usd": Decimal("1.6")}))
    assert units(rows) == {"output": (Decimal("0.00007"), Decimal("0.7")),
                           "audio_output": (Decimal("0.00003"), Decimal("0.9"))}


def test_a_part_without_a_price_of_its_own_has_no_row() -> None:
    rows = focus(charges({"output_tokens": 100, "reasoning_tokens": 90, "output_cost_usd": Decimal("0.7"),
                          "list_cost_usd": Decimal("0.7"), "effective_cost_usd": Decimal("0.7")}))
    assert units(rows) == {"output": (Decimal("0.0001"), Decimal("0.7"))}


def test_a_contract_is_divided_over_units_to_the_last_digit() -> None:
    third = Decimal("0.333333333333")
    rows = focus(charges({"uncached_input_tokens": 1, "output_tokens": 1, "uncached_input_cost_usd": third,
                          "output_cost_usd": third, "list_cost_usd": third * 2, "effective_cost_usd": Decimal("0.5") +
                          Decimal("0.000000000001")}))
    assert rows["EffectiveCost"].sum() == Decimal("0.500000000001")
    assert rows["ListCost"].sum() == third * 2
    assert rows["BilledCost"].equals(rows["EffectiveCost"])


def test_a_cost_that_the_source_told_is_one_row_of_the_request() -> None:
    rows = focus(charges({"output_tokens": 5, "price_status": "provider_reported", "price_id": None,
                          "list_cost_usd": Decimal("0.2"), "effective_cost_usd": Decimal("0.2")}))
    assert rows.select("SkuMeter", "EffectiveCost", "x_CostBasis", "PricingUnit").rows() == [
        ("Requests As Reported", Decimal("0.2"), "provider_estimated", "Requests")]
    assert lint(rows).is_empty()


def test_covered_usage_costs_nothing_and_is_committed() -> None:
    rows = focus(charges({"output_tokens": 5, "price_status": "covered", "price_id": None,
                          "list_cost_usd": Decimal(0), "effective_cost_usd": Decimal(0)}))
    assert rows.select("PricingCategory", "EffectiveCost", "ConsumedQuantity").rows() == [
        ("Committed", Decimal(0), Decimal(5))]
    assert lint(rows).is_empty()


def test_usage_without_a_price_or_that_does_not_count_has_no_row() -> None:
    assert focus(charges({"output_tokens": 5, "price_status": "unpriced", "price_id": None},
                         {"output_tokens": 5, "list_cost_usd": Decimal(1), "effective_cost_usd": Decimal(1),
                          "output_cost_usd": Decimal(1), "counted": False})).is_empty()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 10**13), st.integers(0, 10**13),
                          st.integers(50, 100), TEAMS), min_size=1, max_size=8))
def test_focus_rows_add_up_to_the_charges_and_are_clean(drawn: list[tuple[Any, ...]]) -> None:
    made = []
    for taken, answered, first, second, percent, team in drawn:
        listed = Decimal(first + second).scaleb(-12)
        made.append({"uncached_input_tokens": taken, "output_tokens": answered, "team": team,
                     "uncached_input_cost_usd": Decimal(first).scaleb(-12),
                     "output_cost_usd": Decimal(second).scaleb(-12), "list_cost_usd": listed,
                     "effective_cost_usd": (listed * percent / 100).quantize(Decimal("1e-12"))})
    rows = charges(*made)
    told = focus(rows)
    assert told["ListCost"].sum() == rows["list_cost_usd"].cast(pl.Decimal(38, 18)).sum()
    assert told["EffectiveCost"].sum() == rows["effective_cost_usd"].cast(pl.Decimal(38, 18)).sum()
    assert lint(told).is_empty()


# -- allocation ---------------------------------------------------------------------------------------------------

@given(AMOUNTS, st.lists(st.decimals(min_value=0, max_value=1000, places=4), min_size=1, max_size=9).filter(any))
def test_what_is_split_adds_up(amount: Decimal, weights: list[Decimal]) -> None:
    parts = split(amount, weights)
    assert sum(parts) == amount
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["2026-09", "2026-10"]), TEAMS, AMOUNTS), min_size=1, max_size=12),
       st.sampled_from(["even", "proportional", "fixed"]), TEAMS)
def test_an_allocation_adds_up_to_what_its_team_spent(
        spent: list[tuple[str, str | None, Decimal]], method: str, team: str | None) -> None:
    shares = {"search": Decimal("0.333"), "other": Decimal("0.5")} if method == "fixed" else {}
    rows = check(allocate(spend(spent), [Rule("a", method, team, shares)]), OUT_ALLOCATION)
    for month in ("2026-09", "2026-10"):
        due = sum((amount for m, t, amount in spent if (m, t) == (month, team)), Decimal(0))
        assert sum(rows.filter(pl.col("month") == month)["amount_usd"], Decimal(0)) == due


def spend(rows: list[tuple[str, str | None, Decimal]]) -> pl.DataFrame:
    return pl.DataFrame(rows, orient="row", schema={
        "month": pl.String(), "team": pl.String(), "effective_cost_usd": pl.Decimal(38, 12)})


def given_to(rule: Rule) -> dict[str | None, Decimal]:
    rows = allocate(spend([("2026-10", None, Decimal(10)), ("2026-10", "a", Decimal(1)), ("2026-10", "b", Decimal(3)),
                           ("2026-10", "c", Decimal(0))]), [rule])
    return dict(rows.select("to_team", "amount_usd").iter_rows())


def test_shared_cost_goes_to_teams_evenly_or_as_they_spend_or_as_agreed() -> None:
    assert given_to(Rule("r", "proportional")) == {"a": Decimal("2.5"), "b": Decimal("7.5")}
    assert given_to(Rule("r", "even")) == {
        "a": Decimal("3.333333333334"), "b": Decimal("3.333333333333"), "c": Decimal("3.333333333333")}
    assert given_to(Rule("r", "fixed", shares={"b": Decimal("0.6")})) == {"b": Decimal(6), None: Decimal(4)}


def test_shares_of_more_than_one_are_refused() -> None:
    with pytest.raises(Usage, match=r"add up to 1\.2"):
        given_to(Rule("r", "fixed", shares={"a": Decimal("0.6"), "b": Decimal("0.6")}))


# -- unit economics -----------------------------------------------------------------------------------------------

def daily(**row: Any) -> pl.DataFrame:
    common = {"month": "2026-10", "day": DAY, "source": "s", "provider": "openai", "model_id": "gpt-x",
              "team": "search", "requests": 4, "effective_cost_usd": Decimal(6), "unpriced_requests": 0}
    return conform(pl.DataFrame([common | row]), OUT_SPEND_DAILY)


@pytest.mark.parametrize(("keys", "value", "row", "told"), [
    ('{"team": "search"}', "4", {}, ("joined", Decimal("1.5"))),
    ("{}", "3", {}, ("joined", Decimal(2))),
    ('{"team": "support"}', "4", {}, ("no_spend", None)),
    ('{"country": "DE"}', "4", {}, ("unknown_key", None)),
    ('{"team": "search"}', "0", {}, ("no_value", None)),
    ('{"team": "search"}', "4", {"effective_cost_usd": None, "unpriced_requests": 4}, ("unpriced", None)),
])
def test_cost_per_unit_is_told_or_why_not(keys: str, value: str, row: dict[str, Any], told: tuple[str, Any]) -> None:
    metrics = conform(pl.DataFrame([{"source": "m", "day": DAY, "keys": keys, "metric": "orders",
                                     "value": Decimal(value)}]), CORE_BUSINESS_METRIC)
    assert unit_economics(metrics, daily(**row)).select("status", "cost_usd").row(0) == told


# -- recommendations ----------------------------------------------------------------------------------------------

def month_of_use(team: str, **counts: Any) -> Iterator[dict[str, Any]]:
    for at in range(30):
        yield {"month": "2026-10", "day": date(2026, 10, 1) + timedelta(days=at), "source": "s", "team": team,
               "provider": "anthropic", "model_id": "claude-sonnet-4-5-20250929", "service_tier": "standard",
               "operation": "chat", "requests": 100, "input_tokens": 1_000_000, "uncached_input_tokens": 1_000_000,
               "cache_read_tokens": 0, "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0, "output_tokens": 10_000,
               "effective_cost_usd": Decimal(3), "list_cost_usd": Decimal(3), "unpriced_requests": 0, **counts}


@pytest.fixture(scope="module")
def book() -> pl.DataFrame:
    from costops.transforms.prices.book import book

    return book()


def advice(book: pl.DataFrame, rows: list[dict[str, Any]], hours: dict[str, int] | None = None) -> pl.DataFrame:
    from costops.transforms.prices.cells import price_cells

    used, last = usage(conform(pl.DataFrame(rows, infer_schema_length=None), OUT_SPEND_DAILY)), date(2026, 10, 30)
    hourly = pl.DataFrame([{**{name: row.get(name) for name in ("provider", "model_id", "team", "application", "day")},
                            "hour": (hours or {}).get(row["team"], at % 24), "requests": row["requests"]}
                           for at, row in enumerate(rows)], schema_overrides={"application": pl.String()})
    return recommend(used, hourly, price_cells(price_keys(used, last), book), day=date(2026, 10, 31), last=last)


def test_a_prompt_that_is_hardly_cached_is_told_what_the_median_would_save(book: pl.DataFrame) -> None:
    warm = {"uncached_input_tokens": 500_000, "cache_read_tokens": 500_000}
    rows = [row for team in ("a", "b", "c") for row in month_of_use(team, **warm)]
    made = advice(book, [*rows, *month_of_use("cold")])
    # the median of the three and of nobody else: half of 30 million tokens at 3.00 less 0.30 a million
    assert made.select("kind", "team", "saving_usd_month").rows() == [("cache", "cold", Decimal("40.50"))]


def test_without_others_to_compare_with_nothing_is_said_of_the_cache(book: pl.DataFrame) -> None:
    assert advice(book, [*month_of_use("cold"), *month_of_use("warm", cache_read_tokens=500_000)]).is_empty()


def test_a_nightly_job_is_told_the_batch_price(book: pl.DataFrame) -> None:
    made = advice(book, [*month_of_use("night"), *month_of_use("day")], hours={"night": 2})
    # half of 30 million tokens at 3.00 and 0.3 million at 15.00
    assert made.select("kind", "team", "saving_usd_month").rows() == [("batch", "night", Decimal("47.25"))]


def test_requests_of_the_day_are_no_batch(book: pl.DataFrame) -> None:
    assert advice(book, list(month_of_use("noon")), hours={"noon": 12}).is_empty()


def test_a_cache_of_an_hour_that_nobody_reads_is_told(book: pl.DataFrame) -> None:
    written = {"uncached_input_tokens": 0, "cache_write_1h_tokens": 1_000_000}
    made = advice(book, list(month_of_use("w", **written)))
    assert made.select("kind", "saving_usd_month").rows() == [("unread_cache", Decimal("90.00"))]
    assert advice(book, [*month_of_use("w", **written), *month_of_use("r", cache_read_tokens=1)]).is_empty()


def test_a_model_without_a_price_is_named_without_a_saving(book: pl.DataFrame) -> None:
    made = advice(book, list(month_of_use("x", model_id="claude-new-9", unpriced_requests=100,
                                          effective_cost_usd=None, list_cost_usd=None)))
    assert made.select("kind", "model_id", "saving_usd_month").rows() == [("unpriced_model", "claude-new-9", None)]


def test_a_few_days_are_no_month(book: pl.DataFrame) -> None:
    written = {"uncached_input_tokens": 0, "cache_write_1h_tokens": 1_000_000}
    assert advice(book, list(month_of_use("w", **written))[-3:]).is_empty()


# -- through the command ------------------------------------------------------------------------------------------

@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-31T06:00:00+00:00")
    made = Workspace(tmp_path)
    made.configure('[[contracts]]\nname = "c"\nprovider = "openai"\nstart = "2026-01-01"\ndiscount_pct = "7.7"\n'
                   '[[allocations]]\nname = "shared"\nsource_team = "search"\nmethod = "even"\n')
    made.log("a.jsonl", [body(1), body(2, team="support", made=333), body(3, at=NOON - 86_400)])
    return made


def test_a_run_writes_focus_rows_that_add_up_and_are_clean(workspace: Workspace) -> None:
    workspace.run()
    rows, spent = workspace.read("out_focus_daily"), workspace.read("out_spend_daily")
    assert rows["EffectiveCost"].sum() == spent["effective_cost_usd"].cast(pl.Decimal(38, 18)).sum() > 0
    assert rows["ListCost"].sum() == spent["list_cost_usd"].cast(pl.Decimal(38, 18)).sum()
    assert lint(rows).is_empty()
    assert workspace.read("out_allocation").select("from_team", "to_team").rows() == [("search", "support")]


def test_a_run_over_the_same_logs_changes_nothing(workspace: Workspace) -> None:
    workspace.run()
    before = workspace.digest()
    workspace.run()
    assert workspace.digest() == before


def test_a_new_day_leaves_the_other_days_as_they_were(workspace: Workspace) -> None:
    workspace.run()
    before = workspace.read("out_focus_daily")
    workspace.log("b.jsonl", [body(4, at=NOON + 86_400)])
    workspace.run()
    after = workspace.read("out_focus_daily")
    assert after.filter(pl.col("x_Day") <= DAY).equals(before)
    assert after.height == before.height + 2


def test_a_month_that_is_missing_is_made_again(workspace: Workspace) -> None:
    workspace.run()
    before = workspace.digest()
    (Path(workspace.lake_uri) / "out_focus_daily/billing_period=2026-10/part-0.parquet").unlink()
    workspace.run()
    assert workspace.digest() == before
