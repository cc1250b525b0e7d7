"""Shared cost given to those who caused it: exact, so that what is given adds up to what there was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

from costops.transforms.check import conform
from costops.transforms.errors import Usage
from costops.transforms.money import PICO, usd
from costops.transforms.tables import OUT_ALLOCATION


@dataclass(frozen=True)
class Rule:
    """One `[[allocations]]` block. Without `source_team` it splits what belongs to no team."""

    name: str
    method: str
    source_team: str | None = None
    shares: Mapping[str, Decimal] = field(default_factory=dict)


def allocate(spend: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """Rows of `out_allocation` for each rule and each month of `spend` (month, team, effective_cost_usd).

    What no one can be given stays where it is, as a row of its own; the rows of a rule and month always add up to
    what its team spent. Each rule looks at direct spend: rules do not feed each other.
    """
    if twice := {rule.name for rule in rules if sum(other.name == rule.name for other in rules) > 1}:
        raise Usage(f"allocations: {', '.join(sorted(twice))}: the name stands twice; give each block its own.")
    amounts: dict[str, dict[str | None, Decimal]] = {}
    for month, team, amount in spend.select("month", "team", "effective_cost_usd").iter_rows():
        teams = amounts.setdefault(month, {})
        teams[team] = teams.get(team, Decimal(0)) + (amount or Decimal(0))
    rows = [row for rule in rules for month, teams in sorted(amounts.items()) if rule.source_team in teams
            for row in _month(rule, month, teams)]
    return conform(pl.DataFrame(rows, infer_schema_length=None), OUT_ALLOCATION)


def _month(rule: Rule, month: str, teams: Mapping[str | None, Decimal]) -> list[dict[str, object]]:
    amount = teams[rule.source_team]
    weights = _weights(rule, teams)
    given = split(amount, list(weights.values()))
    whole = sum(weights.values(), Decimal(0))
    return [{"month": month, "allocation": rule.name, "method": rule.method, "from_team": rule.source_team,
             "to_team": team, "share": float(weight / whole), "amount_usd": part}
            for (team, weight), part in zip(weights.items(), given, strict=True)]


def _weights(rule: Rule, teams: Mapping[str | None, Decimal]) -> dict[str | None, Decimal]:
    """What each team weighs; the giving team weighs what is not given."""
    others = sorted(team for team in teams if team is not None and team != rule.source_team)
    if rule.method == "fixed":
        weights: dict[str | None, Decimal] = {team: share for team, share in sorted(rule.shares.items()) if share}
        whole = sum(weights.values(), Decimal(0))
        if whole > 1 or any(share < 0 for share in weights.values()):
            raise Usage(f"allocations.{rule.name}.shares: they add up to {whole}; write shares from 0 to 1 that add up "
                        "to 1 at most. What they leave stays with the team.")
        if whole < 1:
            weights[rule.source_team] = weights.get(rule.source_team, Decimal(0)) + 1 - whole
        return weights
    named = [team for team in others if not rule.shares or team in rule.shares]
    if rule.method == "even":
        weights = dict.fromkeys(named if not rule.shares else sorted(rule.shares), Decimal(1))
    else:
        weights = {team: teams[team] for team in named if teams[team] > 0}
    return weights or {rule.source_team: Decimal(1)}


def split(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """An amount in whole pico-dollars in proportion to weights, the largest remainders rounded up; adds up exactly.

    Among equal remainders the earlier one is rounded up. Weights are not negative and not all zero.
    """
    pico = int(amount * PICO)
    scale = 10 ** max((max(0, -int(weight.as_tuple().exponent)) for weight in weights), default=0)
    counts = [int(weight * scale) for weight in weights]
    return [usd(part) for part in shared(pico, counts)]


def shared(whole: int, weights: Sequence[int]) -> list[int]:
    """A whole number in proportion to whole weights, by largest remainder."""
    total = sum(weights)
    if total <= 0:
        raise ValueError("weights must not be all zero")
    sign, size = (-1, -whole) if whole < 0 else (1, whole)
    parts = [size * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda at: (-(size * weights[at] % total), at))
    for at in order[:size - sum(parts)]:
        parts[at] += 1
    return [sign * part for part in parts]
