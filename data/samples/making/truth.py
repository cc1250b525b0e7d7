"""What has to come out: sums over the requests themselves, never over the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from decimal import Decimal
from typing import Any

from making.bills import Bills
from making.call import DAYS, FIRST_DAY, LAST_DAY, Call
from making.prices import BILLED_ONLY, PRICES, UNPRICED_MODEL, billed, cost
from making.tally import Tally
from making.text import plain
from making.traffic import ODD_TEAMS, RUNAWAY_DAYS, RUNAWAY_TEAM, SEED

Rows = list[dict[str, Any]]
BILL_OF = {"openai": "openai-costs", "openai-batch": "openai-costs", "anthropic": "anthropic-costs",
           "anthropic-batch": "anthropic-costs", "claude-code": "anthropic-costs", "bedrock": "bedrock-cur",
           "vertex": "vertex-billing", "gemini": "gemini-billing", "azure": "azure-costs", "litellm": "litellm-bill",
           "otel": "otel-bill", "grok-csv": "grok-bill", "grok-jsonl": "grok-bill"}


def measures(calls: Iterable[Call]) -> dict[str, int | str]:
    """Requests, tokens and USD of some requests; what has no price adds nothing to the USD and is counted apart."""
    some = list(calls)
    costs = [cost(call) for call in some]
    known = [one for one in costs if one is not None]
    return {
        "requests": len(some), "input_tokens": sum(call.total for call in some),
        "uncached_input_tokens": sum(call.uncached for call in some),
        "cache_read_tokens": sum(call.read for call in some),
        "cache_write_5m_tokens": sum(call.write_5m for call in some),
        "cache_write_1h_tokens": sum(call.write_1h for call in some),
        "output_tokens": sum(call.output for call in some), "reasoning_tokens": sum(call.reasoning for call in some),
        "unpriced_requests": costs.count(None), "cost_usd": plain(sum(known, Decimal(0))),
    }


def grouped(calls: Iterable[Call], names: tuple[str, ...], key: Callable[[Call], tuple[Any, ...]]) -> Rows:
    """One row of measures per group, in the order of the keys."""
    groups: dict[tuple[Hashable, ...], list[Call]] = defaultdict(list)
    for call in calls:
        groups[key(call)].append(call)
    order = sorted(groups, key=lambda values: tuple((value is not None, str(value)) for value in values))
    return [{**dict(zip(names, (None if value is None else str(value) for value in values), strict=True)),
             **measures(groups[values])} for values in order]


def truth(usage: dict[str, list[Call]], tallies: dict[str, Tally], made: Bills, cut: str) -> dict[str, Any]:
    """The whole of `truth.json` but for the hashes of the files."""
    calls = [call for some in usage.values() for call in some]
    tiered = {price.model for price in PRICES if price.above}
    return {
        "seed": SEED, "first_day": str(FIRST_DAY), "last_day": str(LAST_DAY), "days": DAYS,
        "prices_usd_per_million": [_price(price) for price in PRICES],
        "billed_only_usd_per_million": [_price(BILLED_ONLY)],
        "total": measures(calls),
        "by_source": grouped(calls, ("source", "provider"), lambda call: (call.source, call.provider)),
        "by_month": grouped(calls, ("month",), lambda call: (f"{call.day:%Y-%m}",)),
        "by_source_month": grouped(calls, ("source", "month"), lambda call: (call.source, f"{call.day:%Y-%m}")),
        "by_day": grouped(calls, ("day",), lambda call: (call.day,)),
        "by_team": grouped(calls, ("team",), lambda call: (call.team,)),
        "by_team_month": grouped(calls, ("team", "month"), lambda call: (call.team, f"{call.day:%Y-%m}")),
        "by_source_model_tier_day": grouped(
            calls, ("source", "provider", "model", "tier", "day"),
            lambda call: (call.source, call.provider, call.model, call.tier, call.day)),
        "above_200k_requests": sum(call.total > 200_000 and call.model in tiered for call in calls),
        "unpriced": {"model": UNPRICED_MODEL, "requests": sum(cost(call) is None for call in calls),
                     "billed_usd": plain(sum((billed(call) for call in calls if cost(call) is None), Decimal(0)))},
        "anomaly": {"source": "openai-batch", "team": RUNAWAY_TEAM, "days": [str(day) for day in RUNAWAY_DAYS]},
        "odd_teams": sorted(ODD_TEAMS),
        "lines_by_source": {source: tally.as_dict() for source, tally in tallies.items()},
        "cut_archive": {"path": f"logs/{cut}", "sent_again_as": f"logs/{cut.removesuffix('.json.gz')}_resent.json.gz"},
        "bill_of_source": BILL_OF,
        "bills": [{"source": source, "as_of": str(as_of), "month": month, "final": final, "total_usd": plain(usd),
                   "wrong_day": None if wrong is None else str(wrong)}
                  for source, as_of, month, final, usd, wrong in made.sums],
        "expected_variance_usd": _variance(usage, made),
    }


def _price(price: Any) -> dict[str, Any]:
    rates = {name: None if rate is None else plain(rate) for name, rate in price.rates().items()}
    return {"provider": price.provider, "model": price.model, "tier": price.tier, "from": str(price.start),
            "above_input_tokens": price.above, **rates}


def _variance(usage: dict[str, list[Call]], made: Bills) -> list[dict[str, str]]:
    """Newest bill less priced log by bill and month (the log by UTC month), where they differ."""
    logged: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for source, calls in usage.items():
        for call in calls:
            logged[BILL_OF[source], f"{call.day:%Y-%m}"] += cost(call) or Decimal(0)
    newest: dict[tuple[str, str], Decimal] = {(source, month): usd for source, _, month, _, usd, _ in made.sums}
    keys = sorted(newest.keys() | logged.keys())
    return [{"source": source, "month": month, "variance_usd": plain(gap)} for source, month in keys
            if (gap := newest.get((source, month), Decimal(0)) - logged[source, month])]
