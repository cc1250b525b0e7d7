"""Who asks what, when: sixty days of requests per source.

The shape follows facts of public traces, never their rows: quantiles of token counts, hours and weekdays of
ServeGen m-large (Alibaba, Apache-2.0), and its concentration on few clients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta

from making.call import DAYS, FIRST_DAY, Call, hexed, start_us
from making.dice import Dice
from making.prices import BATCH_KNOWN, TIERS_KNOWN, UNPRICED_MODEL

SEED = "llm-costops samples 1"

TEAMS = (("search", 300), ("support", 190), ("data-platform", 130), ("growth", 100), ("payments", 80),
         ("research", 70), ("mobile", 50), ("legal", 45), ("docs", 35))
FEW_TEAMS = TEAMS[:3]
ODD_TEAMS = ("<script>alert(1)</script>", "=cmd|' /C calc'!A0", 'O\'Brien "R&D"', "équipe-données ☕ 日本",
             "../../etc/passwd")

# ServeGen m-large: share of a uniform hour in percent, hour 0 to 23.
SERVICE_HOURS = (99, 100, 99, 94, 91, 88, 85, 82, 79, 87, 105, 111, 97, 98, 105, 105, 111, 108, 104, 114, 113, 107, 110,
                 109)
OFFICE_HOURS = (2, 1, 1, 1, 2, 5, 14, 40, 88, 120, 126, 118, 82, 98, 122, 118, 102, 74, 40, 26, 18, 12, 6, 3)
STUDIO_HOURS = tuple(weight if hour > 7 else 0 for hour, weight in enumerate(OFFICE_HOURS))
ONCE_A_DAY = tuple(100 if hour == 15 else 0 for hour in range(24))
TWICE_A_DAY = tuple(100 if hour in (9, 15) else 0 for hour in range(24))
WEEKDAYS = (106, 104, 105, 109, 100, 66, 60)          # Monday to Sunday, percent; ServeGen's quiet days: 54 to 68

INPUT_TOKENS = ((0, 9), (100, 16), (1000, 108), (2500, 273), (5000, 723), (7500, 1348), (9000, 2450), (9900, 9107),
                (9990, 23246), (10000, 41000))
OUTPUT_TOKENS = ((0, 1), (1000, 2), (2500, 17), (5000, 59), (7500, 154), (9000, 464), (9900, 1619), (9990, 4714),
                 (10000, 7600))

RUNAWAY_TEAM = "data-platform"
RUNAWAY_DAYS = (date(2026, 10, 21), date(2026, 10, 22))
RUNAWAY_CALLS = 140


@dataclass(frozen=True)
class Plan:
    """How much a source carries and of which models. `cached` is the chance of a cache hit in thousandths."""

    source: str
    provider: str
    per_day: int
    models: tuple[tuple[str, int], ...]
    hours: tuple[int, ...] = SERVICE_HOURS
    teams: tuple[tuple[str, int], ...] = TEAMS
    start: date = FIRST_DAY
    tier: str = "standard"
    cached: int = 300
    odd_teams: bool = False


PLANS: tuple[Plan, ...] = (
    Plan("openai", "openai", 38, (("gpt-4o-2024-08-06", 40), ("gpt-4o-mini-2024-07-18", 25),
                                  ("gpt-5-mini-2025-08-07", 60), ("gpt-5.2-2025-12-11", 22), (UNPRICED_MODEL, 4)),
         odd_teams=True),
    Plan("openai-batch", "openai", 20, (("gpt-5-mini-2025-08-07", 60), ("gpt-4o-mini-2024-07-18", 40)),
         start=BATCH_KNOWN, tier="batch"),
    Plan("anthropic", "anthropic", 20, (("claude-haiku-4-5-20251001", 45), ("claude-sonnet-4-5-20250929", 30),
                                        ("claude-opus-4-5-20251101", 25)), teams=FEW_TEAMS),
    Plan("anthropic-batch", "anthropic", 18, (("claude-haiku-4-5-20251001", 70), ("claude-opus-4-5-20251101", 30)),
         teams=FEW_TEAMS, start=BATCH_KNOWN, tier="batch"),
    Plan("bedrock", "aws.bedrock", 15, (("global.anthropic.claude-haiku-4-5-20251001-v1:0", 55),
                                        ("amazon.nova-lite-v1:0", 45)), hours=ONCE_A_DAY),
    Plan("gemini", "gcp.gemini", 20, (("gemini-2.5-flash", 60), ("gemini-2.5-pro", 40)), hours=STUDIO_HOURS),
    Plan("vertex", "gcp.vertex_ai", 15, (("gemini-2.5-flash", 55), ("gemini-2.5-flash-lite", 45))),
    Plan("azure", "azure.ai.openai", 10, (("gpt-4o-2024-11-20", 50), ("gpt-4o-mini-2024-07-18", 50)),
         hours=TWICE_A_DAY, cached=0),
    Plan("litellm", "mistral_ai", 9, (("mistral-large-4", 60), ("mistral-large-2512", 40)), odd_teams=True),
    Plan("otel", "groq", 9, (("openai/gpt-oss-120b", 55), ("llama-3.3-70b-versatile", 45)), odd_teams=True),
    Plan("grok-csv", "x_ai", 40, (("grok-3", 30), ("grok-code-fast-1", 70)), hours=OFFICE_HOURS, teams=FEW_TEAMS),
    Plan("grok-jsonl", "x_ai", 6, (("grok-3", 40), ("grok-code-fast-1", 60)), hours=OFFICE_HOURS, odd_teams=True),
)


def calls_of(plan: Plan) -> list[Call]:
    """Every billed request of a source in order of time."""
    dice = Dice(f"{SEED}/{plan.source}/traffic")
    made: list[Call] = []
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        if day < plan.start:
            continue
        growth = 85 + 40 * number // DAYS
        expected = plan.per_day * WEEKDAYS[day.weekday()] * growth * dice.between(85, 115)
        count = expected // 1_000_000 + (1 if dice.below(1_000_000) < expected % 1_000_000 else 0)
        made += [_call(plan, dice, day) for _ in range(count)]
        if plan.source == "openai-batch" and day in RUNAWAY_DAYS:
            made += [_runaway(plan, dice, day) for _ in range(RUNAWAY_CALLS)]
    made.sort(key=lambda call: (call.at_us, call.key))
    return _edges(plan, made)


def _call(plan: Plan, dice: Dice, day: date) -> Call:
    hour = dice.weighted(tuple(enumerate(plan.hours)))
    at_us = start_us(day) + hour * 3_600_000_000 + dice.below(3_600_000_000)
    if plan.source.startswith(("openai", "grok")):            # their clocks: seconds, and milliseconds
        at_us -= at_us % (1_000_000 if plan.provider == "openai" else 1_000)
    model = dice.weighted(plan.models)
    if model == UNPRICED_MODEL and day < date(2026, 10, 5):
        model = plan.models[0][0]
    team = dice.pick(ODD_TEAMS) if plan.odd_teams and dice.chance(8) else dice.weighted(plan.teams)
    total, output = dice.quantile(INPUT_TOKENS), dice.quantile(OUTPUT_TOKENS)
    if model in {"gemini-2.5-pro", "claude-sonnet-4-5-20250929"} and dice.chance(22):
        total = dice.between(180_000, 420_000)                # whole repositories and contracts: across the 200k step
    read, write_5m, write_1h = _cache(plan, dice, model, total)
    thinks = model.startswith(("gpt-5", "gemini-2.5", "grok-3"))
    return Call(
        source=plan.source, key=hexed(SEED, plan.source, at_us, dice.below(1 << 62)), at_us=at_us,
        provider=plan.provider, model=model, tier=_tier(plan, dice, model, day),
        team=None if plan.source == "gemini" else team, uncached=total - read - write_5m - write_1h, read=read,
        write_5m=write_5m, write_1h=write_1h, output=output,
        reasoning=output * dice.below(800) // 1000 if thinks and dice.chance(700) else 0,
    )


def _cache(plan: Plan, dice: Dice, model: str, total: int) -> tuple[int, int, int]:
    """Cache reads and the writes of both lifetimes, as parts of the input, in blocks as the providers count them."""
    claude = "claude" in model
    unsold = model == "llama-3.3-70b-versatile" or (plan.tier == "batch" and model.startswith("gpt-4o"))
    read = total * dice.between(200, 930) // 1000 // 128 * 128 if dice.chance(plan.cached) and not unsold else 0
    if not claude:
        return read, 0, 0
    left = total - read
    write = left * dice.between(300, 980) // 1000 if dice.chance(260) else 0
    return (read, 0, write) if plan.provider == "anthropic" and dice.chance(250) else (read, write, 0)


def _tier(plan: Plan, dice: Dice, model: str, day: date) -> str:
    if plan.source == "openai" and day >= TIERS_KNOWN:
        if model.startswith("gpt-5-mini") and dice.chance(150):
            return "flex"
        if model.startswith("gpt-5.2") and dice.chance(200):
            return "priority"
    return plan.tier


def _runaway(plan: Plan, dice: Dice, day: date) -> Call:
    """One request of a batch job that nobody stopped: long prompts, long answers, again and again."""
    at_us = start_us(day) + dice.below(86_400) * 1_000_000
    total, output = dice.between(24_000, 60_000), dice.between(2_000, 6_000)
    read = total * dice.between(0, 300) // 1000 // 128 * 128
    return Call(source=plan.source, key=hexed(SEED, "runaway", at_us, dice.below(1 << 62)), at_us=at_us,
                provider=plan.provider, model="gpt-5.2-2025-12-11", tier=plan.tier, team=RUNAWAY_TEAM,
                uncached=total - read, read=read, write_5m=0, write_1h=0, output=output,
                reasoning=output * dice.below(700) // 1000)


def _edges(plan: Plan, calls: list[Call]) -> list[Call]:
    """Two requests on the two sides of the 200k step: 200,000 tokens are below it, 200,001 above."""
    if plan.source != "gemini":
        return calls
    pros = [at for at, call in enumerate(calls) if call.model == "gemini-2.5-pro"][:2]
    for at, total in zip(pros, (200_000, 200_001), strict=True):
        calls[at] = replace(calls[at], uncached=total - 1_024, read=1_024)
    return calls
