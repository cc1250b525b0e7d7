"""Seeded cost-like series with injected events, and the score of alarms against them, event by event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """One injected event of one series; `sigmas` is its size in units of the noise."""

    row: int
    start: int
    days: int
    kind: str
    sigmas: float


def clean_series(rng: np.random.Generator, days: int, bursty: float) -> tuple[Array, Array]:
    """Return a cost series and the noise sigma of each day, in logs."""
    sigma = float(np.exp(rng.uniform(np.log(0.04), np.log(0.25))))
    weekend = rng.uniform(0.3, 1.1)
    profile = np.concatenate([1 + rng.normal(0, 0.05, 5), weekend * np.ones(2)])
    place = np.arange(days) % 7
    noise = sigma * np.where(place >= 5, rng.uniform(1.0, 1.8), 1.0)
    carry = rng.uniform(0, 0.4)
    shock = rng.normal(size=days)
    if rng.random() < bursty:
        shock = rng.standard_t(6, size=days) / np.sqrt(1.5)
    walk = np.empty(days)
    last = 0.0
    for i in range(days):
        last = carry * last + np.sqrt(1 - carry**2) * shock[i]
        walk[i] = last
    growth = np.log1p(rng.uniform(-0.2, 1.2)) * np.arange(days) / 365
    level = 10 ** rng.uniform(0, 4)
    return level * profile[place] * np.exp(growth + noise * walk), noise


def inject(rng: np.random.Generator, y: Array, noise: Array, row: int, most: int = 4) -> tuple[Array, list[Event]]:
    """Return the series with up to `most` events in it, three weeks apart and away from the ends."""
    out = y.copy()
    events: list[Event] = []
    shifts = 0
    for _ in range(int(rng.integers(1, most + 1))):
        kind = str(rng.choice(["spike", "drop", "level_up", "level_down"], p=[0.35, 0.25, 0.2, 0.2]))
        if kind.startswith("level"):
            shifts += 1
            if shifts > 2:
                continue
        start = int(rng.integers(42, y.size - 28))
        if any(abs(start - e.start) < 21 for e in events):
            continue
        length = int(rng.integers(1, 4)) if kind in ("spike", "drop") else 7
        sigmas = rng.uniform(4, 12) if kind in ("spike", "drop") else rng.uniform(2.5, 8)
        sign = 1.0 if kind in ("spike", "level_up") else -1.0
        stop = start + length if kind in ("spike", "drop") else y.size
        typical = float(np.median(noise))
        size = sigmas * (noise[start:stop] if kind in ("spike", "drop") else np.full(stop - start, typical))
        out[start:stop] *= np.exp(sign * size)
        events.append(Event(row, start, length, kind, float(sigmas)))
    return out, events


def synthetic(count: int, days: int = 400, seed: int = 0, *, bursty: float = 0.0) -> tuple[Array, list[Event]]:
    """Return a matrix of series, three quarters of them with events, a share with heavy-tailed noise."""
    rng = np.random.default_rng(seed)
    rows, events = [], []
    for row in range(count):
        y, noise = clean_series(rng, days, bursty)
        if rng.random() < 0.75:
            y, found = inject(rng, y, noise, row)
            events += found
        rows.append(y)
    return np.vstack(rows), events


@dataclass(frozen=True)
class Score:
    """Event-level counts; `days` is what the false alarm rate is measured on."""

    hits: int
    misses: int
    false: int
    false_days: int
    days: int
    right_kind: int

    @property
    def precision(self) -> float:
        return self.hits / max(self.hits + self.false, 1)

    @property
    def recall(self) -> float:
        return self.hits / max(self.hits + self.misses, 1)

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def false_rate(self) -> float:
        return self.false_days / max(self.days, 1)

    @property
    def kind_accuracy(self) -> float:
        return self.right_kind / max(self.hits, 1)


def expected_kind(event: Event) -> str:
    return "level_shift" if event.kind.startswith("level") else event.kind


def runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the half-open stretches of flagged days."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def score(
    flags: NDArray[np.bool_], kinds: dict[tuple[int, int], str], events: list[Event], *, strongest: float = 0.0
) -> Score:
    """Return the score of flagged days; runs of flagged days are one alarm, events below `strongest` do not count."""
    hits = misses = false = right = false_days = 0
    by_row: dict[int, list[Event]] = {}
    for event in events:
        by_row.setdefault(event.row, []).append(event)
    for row in range(flags.shape[0]):
        own = by_row.get(row, [])
        covered = np.zeros(flags.shape[1], dtype=bool)
        for event in own:
            # one day of tolerance either way
            lo, hi = max(event.start - 1, 0), event.start + event.days + 1
            covered[lo:hi] = True
            if event.sigmas < strongest:
                continue
            found = np.flatnonzero(flags[row, lo:hi])
            if found.size:
                hits += 1
                names = [kinds.get((row, lo + int(i)), "") for i in found]
                right += expected_kind(event) in names
            else:
                misses += 1
        wrong = flags[row] & ~covered
        false_days += int(wrong.sum())
        for start, stop in runs(flags[row]):
            # an alarm that touches an event is about that event, even if it begins a day early
            false += not covered[start:stop].any()
    return Score(hits, misses, false, false_days, int(flags.size), right)
