"""The vocabulary of billable units: what is counted, how it is priced, and what it is a part of.

Usage columns are disjoint leaves with two kinds of exception that the contract asks for: `input_tokens`
is the sum of the input leaves, and a unit with a `part_of` (reasoning, audio, image ...) says how much of
its parent is of that kind. So the billable count of a parent is its column less its parts with a price of
their own, and a sum over units without `part_of` is never double.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which way the unit flows."""

    INPUT = "input"
    OUTPUT = "output"
    NONE = "none"


class Cache(StrEnum):
    """What the prompt cache did with it."""

    UNCACHED = "uncached"
    READ = "read"
    WRITE_5M = "write_5m"
    WRITE_1H = "write_1h"
    WRITE_12H = "write_12h"
    NONE = "none"


@dataclass(frozen=True)
class Unit:
    """One billable unit.

    `column` counts it on a usage row; `cost_column` carries its cost on a charge row; `per` is the number of
    units to which a published price refers (a million tokens, a thousand searches, an hour of audio).
    """

    name: str
    column: str
    direction: Direction
    cache: Cache
    modality: str
    per: int
    part_of: str | None = None
    doc: str = ""

    @property
    def cost_column(self) -> str:
        """Name of the column with this unit's list cost."""
        return f"{self.name}_cost_usd"


def _tokens(name: str, direction: Direction, cache: Cache, doc: str, *, modality: str = "text",
            part_of: str | None = None) -> Unit:
    return Unit(name, f"{name}_tokens", direction, cache, modality, 1_000_000, part_of, doc)


_IN, _OUT, _NO = Direction.INPUT, Direction.OUTPUT, Direction.NONE

UNITS: tuple[Unit, ...] = (
    _tokens("uncached_input", _IN, Cache.UNCACHED, "input neither read from nor written to a cache"),
    _tokens("cache_read", _IN, Cache.READ, "input read from a prompt cache"),
    _tokens("cache_write_5m", _IN, Cache.WRITE_5M,
            "input written to a cache of the short lifetime (5 minutes; 30 at OpenAI)"),
    _tokens("cache_write_1h", _IN, Cache.WRITE_1H, "input written to a cache of one hour"),
    _tokens("cache_write_12h", _IN, Cache.WRITE_12H, "input written to a cache of twelve hours (OpenAI)"),
    _tokens("output", _OUT, Cache.NONE, "everything generated, reasoning included"),
    _tokens("reasoning", _OUT, Cache.NONE, "output not shown to the caller", part_of="output"),
    _tokens("audio_input", _IN, Cache.UNCACHED, "uncached audio input", modality="audio",
            part_of="uncached_input"),
    _tokens("audio_cache_read", _IN, Cache.READ, "audio input read from a cache", modality="audio",
            part_of="cache_read"),
    _tokens("audio_output", _OUT, Cache.NONE, "generated audio", modality="audio", part_of="output"),
    _tokens("image_input", _IN, Cache.UNCACHED, "uncached image input", modality="image",
            part_of="uncached_input"),
    _tokens("image_cache_read", _IN, Cache.READ, "image input read from a cache", modality="image",
            part_of="cache_read"),
    _tokens("image_output", _OUT, Cache.NONE, "generated images, as tokens", modality="image", part_of="output"),
    _tokens("video_input", _IN, Cache.UNCACHED, "uncached video input", modality="video",
            part_of="uncached_input"),
    _tokens("citation", _OUT, Cache.NONE, "citation tokens (Perplexity)", part_of="output"),
    Unit("request", "requests", _NO, Cache.NONE, "request", 1_000, None, "a fee per request"),
    Unit("web_search", "web_searches", _NO, Cache.NONE, "search", 1_000, None, "web or grounding searches"),
    Unit("image", "images", _NO, Cache.NONE, "image", 1, None, "images, where they are billed by the piece"),
    Unit("audio_second", "audio_seconds", _NO, Cache.NONE, "audio", 3_600, None,
         "seconds of audio, where they are billed by time"),
    Unit("character", "characters", _NO, Cache.NONE, "text", 1_000_000, None, "characters of speech input"),
    Unit("page", "pages", _NO, Cache.NONE, "page", 1_000, None, "document pages"),
    Unit("code_session", "code_sessions", _NO, Cache.NONE, "session", 1, None,
         "code interpreter sessions or container hours"),
)

UNIT: dict[str, Unit] = {unit.name: unit for unit in UNITS}

INPUT_LEAVES: tuple[str, ...] = tuple(u.column for u in UNITS if u.direction is _IN and u.part_of is None)
"""Disjoint input columns; their sum is `input_tokens`."""


def parts_of(name: str) -> tuple[Unit, ...]:
    """The units that are counted inside `name`."""
    return tuple(unit for unit in UNITS if unit.part_of == name)
