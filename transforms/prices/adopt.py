"""Catalogues into the book: what a seller states of its own sales stands above the collected feeds, below a review.

A cloud that resells another's models (`azure` of OpenAI's, `vertex` of Gemini's) gets an entry of its own channel on
the maker's list: the catalogue's figures, completed by the list where the catalogue says nothing. So a tier, a range
of context or a unit that it does not mention keeps the price that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import polars as pl

from costops.transforms.prices.book import Key, key_of, replaced, row_price
from costops.transforms.prices.cells import shelf_of
from costops.transforms.prices.entry import GLOBAL, NEVER, NO_LIMIT, Price
from costops.transforms.prices.feeds.listing import Line, Listing
from costops.transforms.prices.models import Catalogue
from costops.transforms.prices.providers import SELLER
from costops.transforms.units import UNIT

RANK = 15
LARGEST_JUMP = 3
LARGEST_LOSS = Decimal("0.02")


@dataclass(frozen=True)
class Place:
    """Where a line belongs: its key in the book, the unit, its side of the context bound, and the model it is of."""

    key: Key
    unit: str
    context: str
    model: tuple[str, str] | None


@dataclass(frozen=True)
class Adopted:
    """A book with catalogues in it, how often a line could not enter and why, and figures that look wrong."""

    book: pl.DataFrame
    left_out: dict[str, int]
    jumps: list[str]


def adopt(base: pl.DataFrame, listings: Sequence[Listing], *, recorded_at: datetime) -> Adopted:
    """The book after the listings, older ones first: a newer figure ends the older one from its day on."""
    left_out: dict[str, int] = {}
    told = _told(listings, shelf_of(base).models, left_out)
    if not told:
        return Adopted(base, left_out, [])
    models = {place.model for place in told if place.model} | {place.key[:2] for place in told}
    held: dict[Key, list[Price]] = {}
    named = pl.DataFrame(sorted(models), schema={"provider": pl.String, "model_id": pl.String}, orient="row")
    live = base.filter(pl.col("retracted_at").is_null()).join(named, on=["provider", "model_id"], how="semi")
    for row in live.iter_rows(named=True):
        price = row_price(row)
        price = replace(price, rank=10 if price.source.startswith("reviewed") else price.rank)
        held.setdefault(key_of(price), []).append(price)
    by_key: dict[Key, list[Place]] = {}
    for place in told:
        by_key.setdefault(place.key, []).append(place)
    made: list[Price] = []
    jumps: list[str] = []
    for key, places in by_key.items():
        before = _before(key, places[0].model, held)
        own = [price for place in places for price in _prices(place, told[place], before, left_out)]
        made += [*own, *before, *_other_ranges(own, before)]
        jumps += _jumps(own, before)
    return Adopted(replaced(base, set(by_key), made, recorded_at=recorded_at), left_out, sorted(jumps))


def _told(listings: Sequence[Listing], models: Catalogue, left_out: dict[str, int]) -> dict[
        Place, list[tuple[datetime, datetime, Decimal, Line, str]]]:
    """Each place with its windows in the order in which they were told; contradictions of one listing are left out."""
    found: dict[Place, list[tuple[datetime, datetime, Decimal, Line, str]]] = {}
    for listing in listings:
        mine: dict[Place, dict[datetime, set[Decimal]]] = {}
        lines: dict[tuple[Place, datetime], Line] = {}
        for line in listing.lines:
            place = place_of(line, models)
            price = line.price_usd * UNIT[line.unit].per / line.per
            mine.setdefault(place, {}).setdefault(line.valid_from, set()).add(price)
            lines[place, line.valid_from] = line
        for place, starts in mine.items():
            for start in sorted(starts):
                if len(starts[start]) > 1:
                    left_out["contradictory"] = left_out.get("contradictory", 0) + len(starts[start])
                    continue
                line = lines[place, start]
                found.setdefault(place, []).append((start, line.valid_to, min(starts[start]), line, listing.source))
    return found


def place_of(line: Line, models: Catalogue) -> Place:
    """Where a line belongs in a book with these models."""
    match = models.find(line.provider, line.model_id, line.region)
    model = (match.provider, match.model_id) if match.provider else None
    provider, name, region = match.provider or line.provider, match.model_id if model else line.model_id, match.region
    if match.provider is not None and match.provider != line.provider and region == GLOBAL:
        region = SELLER[line.provider].channel or GLOBAL
    if line.model_id.startswith("global.") and not name.startswith("global."):
        name = line.model_id  # a global profile with a price of its own, beside the in-region one
    return Place((provider, name, region, line.service_tier, ""), line.unit, line.context, model)


def _before(key: Key, model: tuple[str, str] | None, held: dict[Key, list[Price]]) -> list[Price]:
    """What held for this key so far, as prices of the key: its own entry, else the one that stood in for it."""
    if key in held:
        return held[key]
    provider, name, region, tier, mode = key
    for stands_in in ((*(model or ()), region, tier, mode), (*(model or ()), GLOBAL, tier, mode)):
        if model and stands_in in held:
            return [replace(price, provider=provider, model_id=name, region=region)
                    for price in held[stands_in] if not price.schedule]
    return []


def _prices(place: Place, told: Iterable[tuple[datetime, datetime, Decimal, Line, str]], before: Sequence[Price],
            left_out: dict[str, int]) -> list[Price]:
    """The prices of one place over time."""
    starts = sorted({p.min_input for p in before if p.valid_to == NEVER and not p.schedule})
    if place.context and len(starts) < 2:
        left_out["long_without_bound"] = left_out.get("long_without_bound", 0) + 1
        return []
    low = starts[-1] if place.context else 0
    high = starts[1] if len(starts) > 1 and not place.context else NO_LIMIT
    windows: list[tuple[datetime, datetime, Decimal, Line, str]] = []
    for one in told:
        while windows and windows[-1][0] >= one[0]:
            windows.pop()
        if not windows or windows[-1][2] != one[2]:
            windows.append(one)
    provider, model, region, tier, mode = place.key
    ends = [one[0] for one in windows[1:]] + [NEVER]
    return [Price(provider, model, place.unit, usd.normalize(), UNIT[place.unit].per, source, region, tier, mode, low,
                  high, valid_from=start, valid_to=min(end, stated), date_basis="stated", rank=RANK,
                  note=f"SKU {line.sku}: {line.text}"[:300])
            for (start, stated, usd, line, source), end in zip(windows, ends, strict=True) if start < min(end, stated)]


def _other_ranges(own: Sequence[Price], before: Sequence[Price]) -> list[Price]:
    """Ranges of context that the catalogue leaves out, as they were: the best feed wins a unit whole."""
    found: list[Price] = []
    for unit in {price.unit for price in own}:
        mine = [price for price in own if price.unit == unit]
        edges = sorted({price.valid_from for price in mine} | {price.valid_to for price in mine})
        for price in before:
            if price.unit != unit or price.rank < RANK:
                continue
            for start, end in pairwise(edges):
                live = [one for one in mine if one.valid_from <= start and one.valid_to >= end]
                over = any(one.min_input < price.max_input and price.min_input < one.max_input for one in live)
                first, last = max(start, price.valid_from), min(end, price.valid_to)
                if live and not over and first < last:
                    found.append(replace(price, rank=RANK, valid_from=first, valid_to=last))
    return found


def _jumps(own: Sequence[Price], before: Sequence[Price]) -> list[str]:
    """Figures that are many times what holds today: a slip of units more often than a price."""
    now = {(price.unit, price.min_input): price for price in before if price.valid_to == NEVER and price.price_usd}
    found = []
    for price in own:
        held = now.get((price.unit, price.min_input))
        if price.valid_to != NEVER or held is None:
            continue
        mine, theirs = price.price_usd * held.per, held.price_usd * price.per
        if mine > theirs * LARGEST_JUMP or theirs > mine * LARGEST_JUMP:
            found.append(f"{price.provider}/{price.model_id} {price.region} {price.service_tier} {price.unit} would go "
                         f"from {held.price_usd.normalize():f} to {price.price_usd:f} dollars per {price.per}")
    return found


def listing_refusals(old: Listing | None, new: Listing) -> list[str]:
    """Why a telling of a catalogue must not replace the one before: it is older, it shrinks, or a price jumps."""
    if old is None:
        return []
    found = []
    if new.published < old.published:
        found.append(f"it was published {new.published:%Y-%m-%d %H:%M}, before the one in use "
                     f"({old.published:%Y-%m-%d %H:%M})")
    had, has = ({(line.provider, line.model_id) for line in one.lines} for one in (old, new))
    gone = sorted(had - has)
    if len(gone) > LARGEST_LOSS * len(had):
        found.append(f"it lacks {len(gone)} of {len(had)} models ({', '.join(f'{p}/{m}' for p, m in gone[:5])} ...)")
    was, now = ({line.sku: line for line in one.lines} for one in (old, new))
    for sku in sorted(was.keys() & now.keys()):
        before, after = was[sku].price_usd / was[sku].per, now[sku].price_usd / now[sku].per
        if after > before * LARGEST_JUMP or before > after * LARGEST_JUMP:
            found.append(f"{now[sku].model_id} {now[sku].unit} goes from {was[sku].price_usd:f} per {was[sku].per:,} to "
                         f"{now[sku].price_usd:f} per {now[sku].per:,} (SKU {sku})")
    return found


def opinion(listing: Listing, models: Catalogue) -> list[Price]:
    """The listing as a feed to compare with others: each figure beside that of the list which it stands against."""
    found = []
    for line in listing.lines:
        place = place_of(line, models)
        provider, model, region, tier, mode = place.key
        channel = SELLER[line.provider].channel if line.provider in SELLER else ""
        sold = "" if provider == line.provider else f" ({line.provider})"
        if not line.context:
            found.append(Price(provider, model, line.unit, line.price_usd * UNIT[line.unit].per / line.per,
                               UNIT[line.unit].per, listing.source + sold, GLOBAL if region == channel else region,
                               tier, mode, valid_from=line.valid_from, valid_to=line.valid_to, rank=RANK))
    return found
