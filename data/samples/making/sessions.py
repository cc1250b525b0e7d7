"""Claude Code sessions as they lie under ~/.claude/projects.

The shape is that of public session logs (marot/spotter, MIT; only facts were used): one answer is written once per
content block with the same message id while its output count grows; subagents have files of their own; a resumed
session starts with a copy of the end of the former one.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from making.call import DAYS, FIRST_DAY, Call, hexed, stamp, start_us
from making.delivery import impossible
from making.dice import Dice
from making.tally import Tally
from making.text import dumps
from making.traffic import OFFICE_HOURS, OUTPUT_TOKENS, SEED

PROJECTS = ("-home-dev-checkout", "-home-dev-search-api", "-home-dev-infra")
MAIN_MODELS = (("claude-sonnet-4-5-20250929", 80), ("claude-opus-4-5-20251101", 20))
SUBAGENT_MODEL = "claude-haiku-4-5-20251001"
Answers = list[tuple[Call, int]]              # a request and the content blocks of its answer


@dataclass
class Sessions:
    """The requests of all sessions, the lines of each file and the counts."""

    calls: list[Call]
    lines: dict[str, list[str]]
    tally: Tally


def sessions() -> Sessions:
    """All sessions of the sixty days."""
    made = Sessions([], defaultdict(list), Tally())
    dice = Dice(f"{SEED}/claude-code")
    former: Answers = []
    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        count = dice.between(1, 2) if day.weekday() < 5 else int(dice.chance(200))
        for index in range(count):
            hour = dice.weighted(tuple(enumerate(OFFICE_HOURS))[7:19])
            at_us = start_us(day) + (hour * 60 + dice.below(60)) * 60_000_000 + dice.below(60_000) * 1_000
            former = _session(made, dice, f"{day}/{index}", at_us, former)
    _spoil(made, dice)
    return made


def _session(made: Sessions, dice: Dice, name: str, at_us: int, former: Answers) -> Answers:
    """One session with its subagent; what it returns are its last answers, for the next to resume from."""
    session, project = _uuid(SEED, name), dice.pick(PROJECTS)
    path = f"claude_code/projects/{project}/{session}.jsonl"
    if former and dice.chance(120):
        for call, blocks in former:
            copied = _blocks(call, blocks, session, None)
            made.lines[path] += copied
            made.tally.lines += len(copied)
            made.tally.duplicates += len(copied)
            made.tally.duplicates_in_another_file += len(copied)
    answers, end_us = _answers(dice, name, at_us, dice.weighted(MAIN_MODELS), dice.between(4, 10),
                               long_lived=dice.chance(350))
    for answer in answers:
        _write(made, dice, path, session, answer)
    if dice.chance(350):
        agent = hexed(SEED, name, "agent")[:7]
        helper, _ = _answers(dice, f"{name}/{agent}", end_us, SUBAGENT_MODEL, dice.between(2, 6), long_lived=False)
        for answer in helper:
            _write(made, dice, f"{path[:-6]}/subagents/agent-{agent}.jsonl", session, answer, agent)
    return answers[-2:]


def _answers(dice: Dice, name: str, at_us: int, model: str, count: int, *,
             long_lived: bool) -> tuple[Answers, int]:
    """The answers of one conversation: each reads what the former wrote to the cache and writes what is new."""
    made: Answers = []
    cached = 0
    for number in range(count):
        new = dice.between(9_000, 16_000) if number == 0 else dice.between(300, 4_500)
        output = 20 + dice.quantile(OUTPUT_TOKENS)
        made.append((Call(
            source="claude-code", key=hexed(SEED, "claude-code", name, number), at_us=at_us, provider="anthropic",
            model=model, tier="standard", team=None, uncached=dice.between(1, 12), read=cached,
            write_5m=0 if long_lived else new, write_1h=new if long_lived else 0, output=output, reasoning=0,
        ), dice.between(1, 3)))
        cached += new
        at_us += dice.between(4_000, 70_000) * 1_000
    return made, at_us


def _write(made: Sessions, dice: Dice, path: str, session: str, answer: tuple[Call, int],
           agent: str | None = None) -> None:
    call, blocks = answer
    if dice.chance(330):
        made.lines[path].append(dumps({**_head(call, session, agent, "user", call.at_us - 500_000),
                                       "message": {"role": "user", "content": ""}}))
        made.tally.lines += 1
        made.tally.other += 1
    lines = _blocks(call, blocks, session, agent)
    made.lines[path] += lines
    made.calls.append(call)
    made.tally.lines += len(lines)
    made.tally.requests += 1
    made.tally.duplicates += len(lines) - 1


def _blocks(call: Call, blocks: int, session: str, agent: str | None) -> list[str]:
    """The lines of one answer, one per content block; the last has the whole output."""
    return [_line(call, session, agent, index, max(1, call.output * (index + 1) // blocks) if call.output > 0
                  else call.output) for index in range(blocks)]


def _line(call: Call, session: str, agent: str | None, index: int, output: int) -> str:
    return dumps({
        **_head(call, session, agent, "assistant", call.at_us + index * 600_000), "requestId": f"req_{call.key[:24]}",
        "message": {
            "id": f"msg_{call.key[:24]}", "type": "message", "role": "assistant", "model": call.model, "content": [],
            "stop_reason": None, "usage": {
                "input_tokens": call.uncached, "cache_creation_input_tokens": call.write_5m + call.write_1h,
                "cache_read_input_tokens": call.read,
                "cache_creation": {"ephemeral_5m_input_tokens": call.write_5m,
                                   "ephemeral_1h_input_tokens": call.write_1h},
                "output_tokens": output, "service_tier": "standard", "inference_geo": "not_available",
            },
        },
    })


def _head(call: Call, session: str, agent: str | None, kind: str, at_us: int) -> dict[str, Any]:
    return {
        "parentUuid": None, "isSidechain": agent is not None, **({"agentId": agent} if agent else {}),
        "sessionId": session, "version": "2.1.39", "type": kind, "timestamp": stamp(at_us, digits=3),
        "uuid": _uuid(session, call.key, kind, at_us),
    }


def _spoil(made: Sessions, dice: Dice) -> None:
    """A line cut short and a count below nothing, at the ends of two sessions."""
    for number, path in enumerate(dice.shuffled(sorted(made.lines))[:4]):
        ghost = replace(dice.pick(made.calls), key=hexed(SEED, "claude-code", "ghost", number))
        if number < 2:
            text = _line(ghost, "0" * 8, None, 0, ghost.output)
            made.lines[path].append(text[: len(text) * dice.between(20, 80) // 100])
            made.tally.malformed += 1
        else:
            ghost = impossible(ghost, number)
            made.lines[path].append(_line(ghost, "0" * 8, None, 0, ghost.output))
            made.tally.impossible += 1
        made.tally.lines += 1


def _uuid(*parts: object) -> str:
    text = hexed(*parts)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
