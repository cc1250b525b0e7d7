"""Causes planted into a clean month come out under their name, with their amount, and no other comes with them."""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations, product
from random import Random

import polars as pl
import pytest

from costops.reconcile.contracts import contracts
from costops.reconcile.explain import CAUSES
from costops.reconcile.month import Options, Reconciled, reconcile_month
from tests.unit.reconcile.plants import CONTRACTS, ORDER, PLANTERS, RATES
from tests.unit.reconcile.world import MONTH, bills, charges, clean, small_book

SIZES = ((60, 8), (400, 12), (2000, 28))
Case = tuple[tuple[str, ...], int, tuple[int, int]]
ALONE: list[Case] = [((name,), seed, size) for seed, name in enumerate(PLANTERS) for size in SIZES]
PAIRS: list[Case] = [(pair, seed, SIZES[(seed + 7) % 3]) for seed, pair in enumerate(combinations(PLANTERS, 2))]
AGREED: list[Case] = [((name,), seed, size) for seed, name in enumerate(CONTRACTS) for size in SIZES]
BESIDE: list[Case] = [((name, deal), seed, SIZES[seed % 2])
                      for seed, (deal, name) in enumerate(product(CONTRACTS, PLANTERS))]
EXACT, ROUNDED = Decimal("1e-9"), Decimal("0.01")


def planted(case: Case) -> tuple[dict[str, Decimal], Reconciled]:
    """What was planted, and the month reconciled."""
    names, seed, size = case
    rng, world = Random(seed + 7000), clean(*size, 7 + seed % 3)
    wanted: dict[str, Decimal] = {}
    for name, plant in ORDER.items():
        if name in names:
            world, amounts = plant(world, rng)
            for cause, amount in amounts.items():
                wanted[cause] = wanted.get(cause, Decimal(0)) + amount
    options = Options(price_book=small_book(), rates=RATES,
                      contracts=contracts(list(world.deals)) if world.deals else None)
    return wanted, reconcile_month(MONTH, charges(world), bills(world), options=options)


def verdict(case: Case) -> tuple[bool, bool]:
    """Whether the planted causes were named with their amounts and nothing else was; and whether all sums hold."""
    wanted, made = planted(case)
    found = dict(made.evidence.group_by("cause").agg(pl.col("cause_usd").sum()).iter_rows())
    slack = ROUNDED if "rounding" in case[0] else EXACT
    named = set(found) == set(wanted) and all(abs(found[cause] - wanted[cause]) <= slack for cause in wanted)
    return named, sums_hold(made)


def sums_hold(made: Reconciled) -> bool:
    """True where the causes of every line, at both grains, sum to its gap, and the gaps to billed less computed."""
    fine = made.evidence.group_by("line_id").agg(pl.col("cause_usd").sum(), pl.col("gap_usd").first())
    silent = made.lines.filter(pl.col("gap_usd") != 0).join(
        fine.with_columns(pl.col("line_id").cast(pl.Int64)), on="line_id", how="anti")
    key = ["issuer", "source", "account_id", "model_id", "unit", "day"]
    rows = made.causes.group_by(key).agg(pl.col("cause_usd").sum(), pl.col("gap_usd").first(),
                                         gaps=pl.col("gap_usd").n_unique())
    whole = Decimal(made.lines["billed_usd"].sum()) - Decimal(made.lines["computed_usd"].sum())
    return (fine.filter(pl.col("cause_usd") != pl.col("gap_usd")).is_empty() and silent.is_empty()
            and rows.filter((pl.col("cause_usd") != pl.col("gap_usd")) | (pl.col("gaps") != 1)).is_empty()
            and made.evidence["cause_usd"].sum() == whole)


def test_every_cause_of_the_contract_has_a_planter() -> None:
    assert set(PLANTERS) == set(CAUSES)


@pytest.mark.parametrize("size", SIZES)
def test_a_clean_month_has_no_cause(size: tuple[int, int]) -> None:
    made = planted(((), 1, size))[1]
    assert made.causes.is_empty()
    assert made.lines.filter(pl.col("gap_usd") != 0).is_empty()
    assert made.gate.passed


@pytest.mark.parametrize("case", ALONE[1::3], ids=lambda case: case[0][0])
def test_a_planted_cause_is_named_with_its_amount(case: Case) -> None:
    assert verdict(case) == (True, True)


@pytest.mark.parametrize("case", PAIRS[::19], ids=lambda case: "+".join(case[0]))
def test_two_planted_causes_are_told_apart(case: Case) -> None:
    assert verdict(case) == (True, True)


@pytest.mark.parametrize("case", AGREED[1::3], ids=lambda case: case[0][0])
def test_what_a_contract_accounts_for_is_agreed_under_its_name(case: Case) -> None:
    assert verdict(case) == (True, True)
    made = planted(case)[1]
    name = made.contracts["contract"].item()
    assert set(made.evidence.select("agreed", "contract").iter_rows()) == {(True, name)}
    assert made.contracts["as_agreed"].all()


@pytest.mark.parametrize("case", BESIDE[::13], ids=lambda case: "+".join(case[0]))
def test_a_contract_beside_another_cause_is_told_apart(case: Case) -> None:
    assert verdict(case) == (True, True)


@pytest.mark.slow
def test_at_least_99_of_100_planted_cases_come_out_right_and_all_sums_hold() -> None:
    verdicts = {case: verdict(case) for case in (*ALONE, *PAIRS, *AGREED, *BESIDE)}
    assert len(verdicts) >= 200
    assert all(sums for _, sums in verdicts.values())
    wrong = [case for case, (named, _) in verdicts.items() if not named]
    assert len(wrong) <= len(verdicts) // 100, wrong


def test_the_same_month_gives_the_same_bytes_whatever_the_order_of_its_rows() -> None:
    world = clean(400, 12, 8)
    rows, lines = charges(world), bills(world)
    options = Options(price_book=small_book())
    one = reconcile_month(MONTH, rows, lines, options=options)
    two = reconcile_month(MONTH, rows.sample(fraction=1, shuffle=True, seed=3), lines.reverse(), options=options)
    assert one.lines.drop("bill_line", strict=False).equals(two.lines.drop("bill_line", strict=False))
    assert one.causes.equals(two.causes)
    assert one.learnings.equals(two.learnings)
