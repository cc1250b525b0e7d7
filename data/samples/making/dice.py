"""Draws that come out alike on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Whole-number draws from one Mersenne Twister: no float on the way, so nothing depends on a maths library."""

    def __init__(self, seed: str) -> None:
        self._bits = Random(int.from_bytes(sha256(seed.encode()).digest(), "big")).getrandbits

    def below(self, count: int) -> int:
        """A number from 0 to count - 1."""
        return self._bits(64) * count >> 64

    def between(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, per_mille: int) -> bool:
        """True so many times in a thousand."""
        return self.below(1000) < per_mille

    def pick(self, items: Sequence[T]) -> T:
        """One of the items, all alike."""
        return items[self.below(len(items))]

    def weighted(self, table: Sequence[tuple[T, int]]) -> T:
        """One item, each as often as its weight says."""
        left = self.below(sum(weight for _, weight in table))
        for item, weight in table:
            left -= weight
            if left < 0:
                return item
        raise AssertionError("weights add up to what was drawn from")

    def quantile(self, table: Sequence[tuple[int, int]]) -> int:
        """A draw from a distribution given as (ten-thousandths, value), straight lines between."""
        at = self.below(10_000)
        for (low, start), (high, end) in pairwise(table):
            if at < high:
                return start + (end - start) * (at - low) // (high - low)
        return table[-1][1]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in another order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(len(rest))]
