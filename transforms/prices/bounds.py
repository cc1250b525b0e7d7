"""What an unpriced request may cost: between its cheapest and its dearest known sibling."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from costops.transforms.prices.entry import GLOBAL
from costops.transforms.prices.providers import price_lists

if TYPE_CHECKING:
    from costops.transforms.prices.cells import Entry
    from costops.transforms.prices.models import Match

Rates = Mapping[str, tuple[int, int]]
Range = tuple[dict[str, int], dict[str, int]]

_LETTERS = re.compile(r"[a-z]{2,}")
_NOT_A_NAME = frozenset({"global", "regional", "us", "eu", "models", "latest", "preview", "ft", "anthropic", "amazon",
                         "openai", "google", "meta", "mistralai", "qwen"})


@dataclass(frozen=True)
class Families:
    """The book's entries by provider and family name, for bounds."""

    entries: Mapping[tuple[str, str], Mapping[tuple[str, str], list[Entry]]]
    by_family: Mapping[tuple[str, str], list[str]]
    lows: Mapping[str, int]
    highs: Mapping[str, int]

    def siblings(self, provider: str, match: Match, tier: str, first: datetime, last: datetime) -> tuple[
            dict[str, int], dict[str, int], str]:
        """Lowest and highest rate of each unit among siblings, in pico-dollars, and who they are."""
        found: list[Rates] = []
        told = ""
        if match.provider is not None:  # a tier or a time without a price: the model's own other prices
            found = [e.rates for held in self.entries[match.provider, match.model_id].values() for e in held]
        for listed in price_lists(provider):
            name = family(match.model_id)
            models = self.by_family.get((listed, name), []) or (
                [] if found else [m for p, m in self.entries if p == listed])
            if models and not told:
                told = f"bounded by {len(models)} models of {listed}" + (f" named {name}" if name else "")
            for model in models:
                shelves = self.entries[listed, model]
                held = shelves.get((GLOBAL, tier)) or shelves.get((GLOBAL, "standard")) or []
                found += [e.rates for e in held if e.start <= last and e.end > first]
            if found:
                break
        low, high = spread(found)
        if not found:
            return low, high, told
        return dict(self.lows) | low, dict(self.highs) | high, told

    def lacking(self, rates: Rates) -> Range:
        """The entry's own rates as both bounds; for units that it lacks, those of the whole book's models.

        A model without a price for audio is bounded by the audio of every model that has one.
        """
        low, high = spread([rates])
        return dict(self.lows) | low, dict(self.highs) | high


def families(entries: Mapping[tuple[str, str], Mapping[tuple[str, str], list[Entry]]]) -> Families:
    """The book by family."""
    by_family: dict[tuple[str, str], list[str]] = {}
    for provider, model in entries:
        by_family.setdefault((provider, family(model)), []).append(model)
    # only units that no request consists of alone: a missing text price is a matter of siblings
    rare = [{u: r for u, r in e.rates.items() if u not in {"uncached_input", "output", "request"}}
            for shelves in entries.values() for held in shelves.values() for e in held]
    lows, highs = spread(rare)
    return Families(entries, by_family, lows, highs)


def family(model_id: str) -> str:
    """The name in a model id: `gpt`, `claude opus`, `gemini flash`; numbers and dates aside."""
    words = [w for w in _LETTERS.findall(model_id.lower().split("/")[-1]) if w not in _NOT_A_NAME]
    return " ".join(words[:2])


def spread(found: Sequence[Rates]) -> Range:
    """Lowest and highest rate per unit, rounded outward to whole pico-dollars."""
    low: dict[str, int] = {}
    high: dict[str, int] = {}
    for rates in found:
        for unit, (top, bottom) in rates.items():
            floor, ceiling = top // bottom, -(-top // bottom)
            low[unit] = min(low.get(unit, floor), floor)
            high[unit] = max(high.get(unit, ceiling), ceiling)
    return low, high
