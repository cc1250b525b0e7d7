"""Keys, projects and models that only the bill, or only the logs know: named, and ranked by the money behind them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import polars as pl

from costops.reconcile.month import Options, Reconciled, reconcile_month
from tests.unit.reconcile.world import MONTH, World, bills, charges, clean, small_book


def reconciled(world: World) -> Reconciled:
    return reconcile_month(MONTH, charges(world), bills(world), options=Options(price_book=small_book()))


def told(made: Reconciled, *kinds: str) -> list[tuple[str, str, Decimal]]:
    rows = made.learnings.filter(pl.col("kind").is_in(kinds))
    return [(kind, subject, amount) for kind, subject, amount in rows.select("kind", "subject", "amount_usd").iter_rows()]


def keyed(world: World) -> World:
    """OpenAI's usage and bill by key: each project has its own, as the bill of `proj_b` has two more."""
    names = {"proj_a": "key_a", "proj_b": "key_b"}
    here = pl.col("scope") == "openai"
    key = pl.when(here).then(pl.col("project").replace_strict(names, default=None, return_dtype=pl.String))
    return replace(world, usage=world.usage.with_columns(key=key), bill=world.bill.with_columns(key=key))


def cost(world: World, project: str) -> Decimal:
    return Decimal(world.bill.filter(pl.col("project") == project)["billed_usd"].sum())


def test_keys_that_both_sides_know_are_no_news() -> None:
    made = reconciled(keyed(clean(400, 12, 7)))
    assert made.causes.is_empty()
    assert told(made, "key_only_billed", "key_only_logged", "project_only_billed", "project_only_logged") == []


def test_a_key_that_only_the_bill_knows_and_one_that_only_the_logs_know() -> None:
    world = keyed(clean(400, 12, 7))
    strange = pl.when(pl.col("key") == "key_b").then(pl.lit("key_x")).otherwise("key")
    made = reconciled(world.with_bill(world.bill.with_columns(key=strange)))
    amount = cost(world, "proj_b")
    assert sorted(told(made, "key_only_billed", "key_only_logged")) == [
        ("key_only_billed", "key_x", amount), ("key_only_logged", "key_b", -amount)]


def test_usage_under_no_key_on_a_bill_with_keys_is_named() -> None:
    world = keyed(clean(400, 12, 7))
    none = pl.when(pl.col("key") == "key_b").then(pl.lit(None)).otherwise("key")
    made = reconciled(world.with_bill(world.bill.with_columns(key=none)))
    assert ("key_only_billed", "(no key: console, playground or agent)", cost(world, "proj_b")) in told(
        made, "key_only_billed")


def test_a_bill_without_keys_says_nothing_about_keys() -> None:
    world = keyed(clean(400, 12, 7))
    made = reconciled(world.with_bill(world.bill.drop("key")))
    assert told(made, "key_only_billed", "key_only_logged") == []


def test_what_is_seen_on_one_side_only_is_ranked_by_money() -> None:
    world = keyed(clean(400, 12, 7))
    gone = replace(world, usage=world.usage.filter((pl.col("project") != "proj_b") | (pl.col("project").is_null())))
    made = reconciled(gone)
    rows = told(made, "key_only_billed", "project_only_billed", "unlogged_usage")
    assert {(kind, subject) for kind, subject, _ in rows} >= {("key_only_billed", "key_b"),
                                                              ("project_only_billed", "proj_b")}
    sizes = [abs(amount) for *_, amount in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(amount for kind, _, amount in rows if kind == "unlogged_usage") == cost(world, "proj_b")
