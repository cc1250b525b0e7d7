"""The price book: what every feed says, merged by precedence into entries that never overlap.

An entry is one `price_id`: a model in a tier, a region, a mode, a window of time and a range of context, with
the prices of all its units. Per unit and instant the highest feed wins whole; lower ones fill what it leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

import polars as pl

from costops.transforms.errors import Usage
from costops.transforms.prices import reviewed
from costops.transforms.prices.entry import EVER, Price, instant, problem
from costops.transforms.prices.feeds import genai, litellm
from costops.transforms.prices.models import Alias, catalogue
from costops.transforms.tables import CORE_PRICE

RECORDED_AT = instant("2026-11-23T12:00+00:00")
"""When the feeds that ship with this version were taken."""

Key = tuple[str, str, str, str, str]
_COLUMNS = CORE_PRICE.columns


@lru_cache(maxsize=1)
def book() -> pl.DataFrame:
    """The shipped book: `core_price` rows of all feeds, sorted, without overlaps."""
    return build(shipped())


@lru_cache(maxsize=1)
def shipped() -> tuple[Price, ...]:
    """All prices of the feeds that ship, reviewed corrections first."""
    return assemble(litellm.prices())


def assemble(filler: Sequence[Price]) -> tuple[Price, ...]:
    """All prices of a book: reviewed, genai-prices, what an undated feed adds to them, and the regions that follow.

    `filler` is that feed, as `litellm.read` tells it: so a newer map becomes a book, to be compared and let in.
    """
    dated = (*reviewed.prices(), *genai.prices())
    models = catalogue({(p.provider, p.model_id) for p in dated}, aliases())
    found = (*dated, *litellm.fill(filler, models, dated))
    return (*found, *reviewed.uplifted(found))


@lru_cache(maxsize=1)
def aliases() -> tuple[Alias, ...]:
    """All spellings of models that the feeds state."""
    return (*reviewed.aliases(), *genai.aliases())


def with_overrides(base: pl.DataFrame, overrides: Iterable[Price], *, recorded_at: datetime) -> pl.DataFrame:
    """A book in which the user's own prices come first; everything else stays as in `base`.

    Prices that may not enter are refused by name. The user's own need rank above every feed's: they get it here.
    """
    own = list(overrides)
    keys = {key_of(price) for price in own}
    told = [row_price(row) for row in base.iter_rows(named=True) if _row_key(row) in keys and row["retracted_at"] is None]
    return replaced(base, keys, [*(_ranked(price) for price in own), *told], recorded_at=recorded_at)


def replaced(base: pl.DataFrame, keys: set[Key], prices: Iterable[Price], *, recorded_at: datetime) -> pl.DataFrame:
    """A book in which the entries of `keys` are those that `prices` make; everything else stays as in `base`."""
    merged = build(prices, recorded_at=recorded_at)
    touched = pl.DataFrame(sorted(keys), schema=dict.fromkeys(_KEY, pl.String), orient="row")
    kept = base.join(touched, on=list(_KEY), how="anti")
    return pl.concat([kept, merged]).sort((*CORE_PRICE.sort, "unit"))


_KEY = ("provider", "model_id", "region", "service_tier", "mode")


def build(prices: Iterable[Price], *, recorded_at: datetime = RECORDED_AT) -> pl.DataFrame:
    """`core_price` rows of any prices. Refuses a price that is wrong and feeds that contradict themselves."""
    groups: dict[Key, list[Price]] = {}
    for price in prices:
        wrong = problem(price)
        if wrong:
            raise Usage(f"price book: {price.source}: {price.provider}/{price.model_id} {price.unit}: {wrong}")
        groups.setdefault(key_of(price), []).append(price)
    columns: dict[str, list[Any]] = {name: [] for name in CORE_PRICE.columns}
    for key in sorted(groups):
        for start, end, schedule, inside, low, high, chosen in _entries(groups[key]):
            _append(columns, key, (start, end, schedule, inside, low, high), chosen, recorded_at)
    return pl.DataFrame(columns, schema=CORE_PRICE.schema)


def overlaps(rows: pl.DataFrame) -> pl.DataFrame:
    """Pairs of live rows that price the same unit at the same instant and context: empty in any sound book."""
    same = [*_KEY, "unit", "schedule", "in_schedule"]
    live = rows.filter(pl.col("retracted_at").is_null()).sort([*same, "min_input", "valid_from"])
    cross = live.join(live, on=same, suffix="_other")
    return cross.filter(
        (pl.col("price_id") < pl.col("price_id_other"))
        & (pl.col("valid_from") < pl.col("valid_to_other")) & (pl.col("valid_from_other") < pl.col("valid_to"))
        & (pl.col("min_input") < pl.col("max_input_other")) & (pl.col("min_input_other") < pl.col("max_input")),
    )


def _entries(prices: list[Price]) -> list[tuple[datetime, datetime, str, bool, int, int, list[Price]]]:
    """Entries of one key: every unit's winner, cut where any of them changes; equal neighbours are joined."""
    if len({(p.valid_from, p.valid_to) for p in prices}) == 1 and len({p.rank for p in prices}) == 1:
        return _segment(prices[0].valid_from, prices[0].valid_to, prices)
    edges = sorted({p.valid_from for p in prices} | {p.valid_to for p in prices})
    done: list[list[tuple[datetime, datetime, str, bool, int, int, list[Price]]]] = []
    for start, end in pairwise(edges):
        live = [p for p in prices if p.valid_from <= start and p.valid_to >= end]
        best: dict[str, int] = {}
        for price in live:
            best[price.unit] = min(best.get(price.unit, price.rank), price.rank)
        chosen = [p for p in live if p.rank == best[p.unit]]
        if not chosen:
            continue
        segment = _segment(start, end, chosen)
        if done and done[-1][0][1] == start and [e[2:] for e in done[-1]] == [e[2:] for e in segment]:
            done[-1] = [(old[0], end, *old[2:]) for old in done[-1]]
        else:
            done.append(segment)
    return [entry for segment in done for entry in segment]


def _segment(start: datetime, end: datetime, prices: list[Price]) -> list[
        tuple[datetime, datetime, str, bool, int, int, list[Price]]]:
    """One stretch of time: an entry for each part of the schedule and each range of context."""
    schedules = {p.schedule for p in prices if p.schedule}
    if len(schedules) > 1:
        raise Usage(f"price book: {key_of(prices[0])} has two schedules at once: {sorted(schedules)}")
    schedule = next(iter(schedules), "")
    edges = sorted({p.min_input for p in prices} | {p.max_input for p in prices})
    found = []
    for inside in ((True, False) if schedule else (False,)):
        for low, high in pairwise(edges):
            chosen: dict[str, Price] = {}
            for price in prices:
                if price.min_input > low or price.max_input < high or (
                        price.schedule and price.in_schedule is not inside):
                    continue
                if price.unit in chosen:
                    raise Usage(f"price book: {price.source}: {'/'.join(key_of(price))} has two prices of "
                                f"{price.unit} from {start} at {low} tokens")
                chosen[price.unit] = price
            if chosen:
                found.append((start, end, schedule, inside, low, high,
                              [chosen[unit] for unit in sorted(chosen)]))
    return found


def _append(columns: dict[str, list[Any]], key: Key, where: tuple[datetime, datetime, str, bool, int, int],
            chosen: list[Price], recorded_at: datetime) -> None:
    start, end, schedule, inside, low, high = where
    told = "|".join(f"{p.unit}={p.price_usd.normalize():f}/{p.per}/{p.minimum}" for p in chosen)
    place = "|".join((*key, schedule, str(inside), str(low), str(high), start.isoformat()))
    price_id = hashlib.sha256(f"{place}|{told}".encode()).hexdigest()[:12]
    for price in chosen:
        begin = price.date_basis if price.valid_from == start or price.date_basis == "carried back" else "stated"
        row = (price_id, *key[:4], key[4], price.unit, price.price_usd, price.per, price.minimum, low, high,
               schedule, inside, start, end, begin if start > EVER else "open", price.source, price.zone,
               recorded_at, None, _hash(price.source, told), price.note or None)
        for name, value in zip(_COLUMNS, row, strict=True):
            columns[name].append(value)


def _hash(source: str, told: str) -> str:
    return hashlib.sha256(f"{source}|{told}".encode()).hexdigest()[:12]


def key_of(price: Price) -> Key:
    """What an entry of the book is told by."""
    return (price.provider, price.model_id, price.region, price.service_tier, price.mode)


def _row_key(row: dict[str, Any]) -> Key:
    return (row["provider"], row["model_id"], row["region"], row["service_tier"], row["mode"])


def _ranked(price: Price) -> Price:
    return replace(price, rank=0)


def row_price(row: dict[str, Any]) -> Price:
    """A price of the book as a feed's price, below the user's own."""
    return Price(row["provider"], row["model_id"], row["unit"], row["price_usd"], row["per"], row["price_source"],
                 row["region"], row["service_tier"], row["mode"], row["min_input"], row["max_input"],
                 row["schedule"], row["in_schedule"], row["minimum"], row["valid_from"], row["valid_to"],
                 row["date_basis"], row["zone"], row["note"] or "", 50)

