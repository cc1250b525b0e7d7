"""Both trees of provider-native logs and bills, against the truth that was worked out apart from them."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

import polars as pl

from costops.reconcile.month import Options, Reconciled, reconcile_month
from costops.transforms.check import check
from costops.transforms.prices.book import book
from costops.transforms.tables import OUT_RECONCILIATION, OUT_RECONCILIATION_LINE
from tests.unit.reconcile.conftest import Month
from tests.unit.reconcile.test_causes import sums_hold

SCOPE = {"openai": "openai", "anthropic": "anthropic", "bedrock": "aws", "vertex": "gcp", "azure": "azure",
         "litellm": "mistral_ai", "otel": "groq"}


@cache
def options() -> Options:
    return Options(price_book=book())


def months(tree: Month, *wanted: str) -> list[Reconciled]:
    return [reconcile_month(month, tree.charges, tree.bills.billing, tree.invoices, options=options())
            for month in wanted]


def by_scope(made: list[Reconciled], column: str) -> dict[str, Decimal]:
    rows = pl.concat([one.summary.select("scope", column) for one in made]).group_by("scope").agg(pl.col(column).sum())
    return dict(rows.iter_rows())


def test_a_clean_month_reconciles_to_nothing_at_every_provider(october: Month) -> None:
    made = months(october, "2026-09", "2026-10")
    assert all(one.causes.is_empty() for one in made)
    assert all(one.gate.passed for one in made)
    billed = {SCOPE[bill["source"]]: Decimal(bill["total_usd"]) for bill in october.truth["bills"]}
    logged = {SCOPE[row["source"]]: Decimal(row["cost_usd"]) for row in october.truth["log_totals"]}
    assert by_scope(made, "billed_usd") == billed
    assert by_scope(made, "computed_usd") == logged
    assert set(by_scope(made, "gap_usd").values()) == {Decimal(0)}
    assert made[1].summary["matched_lines"].to_list() == made[1].summary["lines"].to_list()


def test_the_gaps_of_the_faulty_fortnight_are_the_expected_ones_with_their_causes(fortnight: Month) -> None:
    made = months(fortnight, "2026-10", "2026-11")
    expected = {SCOPE[source]: Decimal(amount) for source, amount in fortnight.truth["expected_variance_usd"].items()}
    assert {scope: gap for scope, gap in by_scope(made, "gap_usd").items() if gap} == expected
    causes = pl.concat([one.evidence for one in made]).group_by("scope", "cause").agg(pl.col("cause_usd").sum())
    assert {(scope, cause): amount for scope, cause, amount in causes.iter_rows()} == {
        ("openai", "price_book"): expected["openai"], ("gcp", "missing_usage"): expected["gcp"]}
    days = made[0].causes.filter(pl.col("cause") == "missing_usage")["day"].cast(pl.String).unique().to_list()
    assert days == [fortnight.truth["missing_days"]["vertex"]]
    assert all(sums_hold(one) and one.gate.passed for one in made)


def test_a_restated_bill_supersedes_the_one_before(fortnight: Month) -> None:
    made = months(fortnight, "2026-10", "2026-11")
    final = {SCOPE[bill["source"]]: Decimal(bill["total_usd"]) for bill in fortnight.truth["bills"] if bill["final"]}
    assert by_scope(made, "billed_usd") == final
    assert fortnight.bills.snapshots.filter(pl.col("status") == "superseded")["source"].unique().sort().to_list() == [
        "anthropic-costs", "bedrock-cur"]


def test_the_unknown_model_is_learned_with_the_price_that_the_bill_implies(fortnight: Month) -> None:
    told = months(fortnight, "2026-10")[0].learnings.filter(pl.col("kind") == "unpriced_model")
    assert told.select("model_id", "unit", "billed_usd_per_million").sort("unit").rows() == [
        ("gpt-exp-0000", "output", 4.0), ("gpt-exp-0000", "uncached_input", 1.0)]
    assert "add to the price book: 4.0 USD per million output of gpt-exp-0000" in told["action"].sort().to_list()[1]


def test_the_lost_day_is_told_as_usage_that_nobody_logged(fortnight: Month) -> None:
    made = months(fortnight, "2026-10")[0]
    told = made.learnings.filter(pl.col("kind") == "unlogged_usage")
    assert set(told["model_id"].to_list()) == {"gemini-2.5-flash", "gemini-2.5-flash-lite"}
    assert told["amount_usd"].sum() == Decimal("0.02070674")
    short = made.coverage.filter((pl.col("scope") == "gcp") & (pl.col("coverage") < 1))
    assert short.height == 6


def test_invoices_agree_with_the_bills_within_focus_tolerance(october: Month) -> None:
    told = pl.concat([one.invoices for one in months(october, "2026-09", "2026-10")])
    assert told.filter(pl.col("outcome") == "differs").is_empty()
    assert set(told.filter(pl.col("outcome") == "agrees")["issuer"].to_list()) == {
        "OpenAI", "Anthropic", "AWS", "Google Cloud", "Microsoft", "Mistral AI", "Groq"}


def test_the_rows_pass_the_checks_of_their_tables(fortnight: Month) -> None:
    made = months(fortnight, "2026-10")[0]
    check(made.causes, OUT_RECONCILIATION)
    check(made.lines, OUT_RECONCILIATION_LINE)
