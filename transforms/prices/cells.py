"""Price cells: for each price-deciding combination in a batch, its rates by time and context, as integers.

A cell carries numerators `n_<unit>` over one denominator `den`, in pico-dollars of a single unit; `den` is 1
unless a published price is no whole number of pico-dollars (an hour of audio, a third of a cent).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from math import lcm
from typing import Any

import polars as pl

from costops.transforms.errors import Usage
from costops.transforms.prices import bounds, reviewed
from costops.transforms.prices.book import aliases as stated_aliases
from costops.transforms.prices.entry import EVER, GLOBAL, NEVER, NO_LIMIT, rate
from costops.transforms.prices.models import Alias, Catalogue, Match, catalogue
from costops.transforms.prices.providers import SELLER, provider_name
from costops.transforms.prices.schedule import intervals
from costops.transforms.units import UNITS

PRICE_KEYS: tuple[str, ...] = ("provider", "model_id", "service_tier", "region", "account_id")
"""The columns of `core_usage` that decide a price, besides time and context."""

_SPOT = ("provider", "model_id", "service_tier", "region")

PLAIN_UNITS: tuple[str, ...] = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
"""What nearly every request consists of: priced by plain 64-bit products."""

_INCLUDED = frozenset({"reasoning", "image_input", "image_cache_read", "video_input", "citation", "request"})
"""Parts billed at their parent's rate where the book has no price of their own; and a fee that is not charged."""

_INCLUDED_AT = {"gcp.gemini": frozenset({"audio_input", "audio_cache_read"}),
                "gcp.vertex_ai": frozenset({"audio_input", "audio_cache_read"})}
"""Google states one price for all input kinds of a model where it states none for audio."""

SCHEMA: dict[str, pl.DataType] = {
    **{name: pl.String() for name in PRICE_KEYS},
    "cell": pl.Int64(), "used_from": pl.Datetime("us"), "used_to": pl.Datetime("us"),
    "min_input": pl.Int64(), "max_input": pl.Int64(), "min_reasoning": pl.Int64(), "max_reasoning": pl.Int64(),
    "price_status": pl.String(), "price_id": pl.String(), "price_source": pl.String(), "path": pl.String(),
    "plain": pl.Boolean(), "reports_cost": pl.Boolean(), "multiplier": pl.Decimal(18, 12), "contract": pl.String(),
    "den": pl.Int64(), "included": pl.Int64(), "minimum_seconds": pl.Int64(),
    **{f"n_{u.name}": pl.Int64() for u in UNITS},
    **{f"low_{u.name}": pl.Int64() for u in UNITS}, **{f"high_{u.name}": pl.Int64() for u in UNITS},
}

_BOUGHT_AHEAD = frozenset({("anthropic", "priority")})
"""Tiers that are commitments: Anthropic's Priority Tier is paid by contract and is in no cost report."""

_TIER_SPELLINGS = {"default": "standard", "auto": "standard", "on_demand": "standard",
                   "flex_discount": "flex", "performance": "standard", "ptu": "provisioned", "scale": "provisioned"}


@dataclass(frozen=True)
class Entry:
    """One `price_id` of the book, its units side by side."""

    price_id: str
    source: str
    mode: str
    schedule: str
    in_schedule: bool
    low: int
    high: int
    start: datetime
    end: datetime
    minimum: int
    rates: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Shelf:
    """A book opened for look-up."""

    entries: Mapping[tuple[str, str], Mapping[tuple[str, str], list[Entry]]]
    models: Catalogue
    family: bounds.Families
    cached: frozenset[tuple[str, str]]


def price_cells(keys: pl.DataFrame, book: pl.DataFrame, *, known_at: datetime | None = None,
                contracts: pl.DataFrame | None = None, aliases: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per key, stretch of time and range of context, with rates, status and the path that led there.

    `keys` holds the distinct `PRICE_KEYS` with `first_used_at` and `last_used_at`; `known_at` prices by what the
    book held true then. `contracts` (provider, model_id, account_id, valid_from, valid_to, multiplier, name; NULL
    is any) gives the factor of the effective cost; `aliases` (provider, model_id, priced_as) the user's own ids.
    """
    told = {(p, m): to for p, m, to in aliases.select("provider", "model_id", "priced_as").iter_rows()} if (
        aliases is not None) else {}
    shelf = _shelf(_Book(book), known_at, tuple(sorted(told.items())))
    spots = keys.group_by(_SPOT, maintain_order=True).agg(
        pl.col("first_used_at").min(), pl.col("last_used_at").max())
    schema = {name: kind for name, kind in SCHEMA.items() if name not in {"cell", "account_id"}}
    listed = pl.DataFrame([{name: cell.get(name) for name in schema} for spot in spots.iter_rows(named=True)
                           for cell in _spot_cells(shelf, spot)], schema=schema)
    cells = keys.select(PRICE_KEYS).join(listed, on=_SPOT, nulls_equal=True, maintain_order="left_right")
    if contracts is not None and contracts.height:
        deals = list(contracts.iter_rows(named=True))
        cells = pl.DataFrame([cut for cell in cells.iter_rows(named=True) for cut in _with_contracts(cell, deals)],
                             schema=cells.schema)
    return cells.with_row_index("cell").cast({"cell": pl.Int64}).select(list(SCHEMA))


def shelf_of(book: pl.DataFrame, *, known_at: datetime | None = None,
             told: Mapping[tuple[str, str], str] | None = None) -> Shelf:
    """The book opened, as it was known at an instant. The last few are kept."""
    return _shelf(_Book(book), known_at, tuple(sorted((told or {}).items())))


class _Book:
    """A frame as a cache key: two are the same when they are the same object."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Book) and self.frame is other.frame

    def __hash__(self) -> int:
        return id(self.frame)


@lru_cache(maxsize=4)
def _shelf(book: _Book, known_at: datetime | None, told: tuple[tuple[tuple[str, str], str], ...]) -> Shelf:
    frame = book.frame
    if known_at is None:
        frame = frame.filter(pl.col("retracted_at").is_null())
    else:
        frame = frame.filter((pl.col("recorded_at") <= known_at)
                             & (pl.col("retracted_at").is_null() | (pl.col("retracted_at") > known_at)))
    entries: dict[tuple[str, str], dict[tuple[str, str], list[Entry]]] = {}
    columns = ("provider", "model_id", "region", "service_tier", "mode", "price_id", "unit", "price_usd", "per",
               "minimum", "min_input", "max_input", "schedule", "in_schedule", "valid_from", "valid_to",
               "price_source")
    open_entries: dict[tuple[str, ...], tuple[Entry, dict[str, tuple[int, int]], set[str]]] = {}
    for (provider, model, region, tier, mode, price_id, unit, price_usd, per, minimum, low, high, schedule, inside,
         start, end, source) in frame.select(columns).iter_rows():
        spot = (provider, model, region, tier, price_id)
        if spot not in open_entries:
            rates: dict[str, tuple[int, int]] = {}
            entry = Entry(price_id, source, mode, schedule, inside, low, high, start, end, minimum, rates)
            open_entries[spot] = (entry, rates, set())
            entries.setdefault((provider, model), {}).setdefault((region, tier), []).append(entry)
        held = open_entries[spot]
        if unit in held[1]:
            raise Usage(f"price book: {provider}/{model} {tier} {price_id} has two live prices of {unit}")
        held[1][unit] = rate(price_usd, per)
        held[2].add(source)
        if len(held[2]) > 1 or minimum > held[0].minimum:
            object.__setattr__(held[0], "source", " + ".join(sorted(held[2])))
            object.__setattr__(held[0], "minimum", max(minimum, held[0].minimum))
    known: Iterable[Alias] = stated_aliases()
    cached = frozenset(spot for spot, shelves in entries.items() for held in shelves.values() for e in held
                       if "cache_read" in e.rates or "cache_write_5m" in e.rates)
    return Shelf(entries, catalogue(entries, known, dict(told)), bounds.families(entries), cached)


def _spot_cells(shelf: Shelf, key: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells of one model, tier and region over the time in which it was used, without gap or overlap."""
    provider = provider_name(key["provider"] or "")
    tier = _TIER_SPELLINGS.get(key["service_tier"] or "standard", key["service_tier"] or "standard")
    match = shelf.models.find(provider, key["model_id"] or "", key["region"])
    first, last = key["first_used_at"], key["last_used_at"]
    base = {name: key[name] for name in _SPOT} | {
        "path": match.path, "reports_cost": provider in SELLER and SELLER[provider].reports_cost,
        "den": 1, "included": _included_bits(match.provider or provider), "minimum_seconds": 0,
        "min_input": -1, "max_input": NO_LIMIT, "min_reasoning": -1, "max_reasoning": NO_LIMIT,
        "used_from": EVER, "used_to": NEVER, "plain": False, "price_status": "unpriced",
        "spot": (match.provider, match.model_id), "tier": tier,
    }
    if tier == "provisioned" or (provider, tier) in _BOUGHT_AHEAD:
        return [base | {"price_status": "covered", "path": f"{match.path} > {tier}: capacity bought ahead"}]
    if match.provider is None:
        return [base | _bounds(shelf, provider, match, tier, first, last)]
    entries, how = tier_entries(shelf, provider, match, tier)
    path = f"{match.path}{how}"
    if not entries:
        return [base | {"path": path} | _bounds(shelf, provider, match, tier, first, last)]
    cells = []
    edges = sorted({EVER, NEVER, *(e.start for e in entries), *(e.end for e in entries)})
    for start, end in pairwise(edges):
        if last < start or first >= end:
            continue
        live = [e for e in entries if e.start <= start and e.end >= end]
        when = {"used_from": start, "used_to": end}
        if not live:
            cells.append(base | {"path": f"{path} > no price in force"} | when
                         | _bounds(shelf, provider, match, tier, max(first, start), last))
            continue
        parts: list[tuple[datetime, datetime, list[Entry]]] = [(start, end, live)]
        schedule = next((e.schedule for e in live if e.schedule), "")
        if schedule:
            spans = intervals(schedule, max(first, start), min(last, end - timedelta(microseconds=1)),
                              reviewed.holidays())
            parts = [(a, b, [e for e in live if not e.schedule or e.in_schedule is inside])
                     for a, b, inside in spans]
        for a, b, held in parts:
            cells += _context_cells(shelf, base | {"path": path, "used_from": a, "used_to": b}, held)
    return cells


def tier_entries(shelf: Shelf, provider: str, match: Match, tier: str) -> tuple[list[Entry], str]:
    """The entries for a tier in the region, else everywhere; and how that was decided."""
    assert match.provider is not None  # noqa: S101
    shelves = shelf.entries[match.provider, match.model_id]
    resold = match.provider != provider
    channel = SELLER[provider].channel if resold else ""
    sold = not resold or tier in SELLER[provider].list_tiers
    if sold and match.region != GLOBAL and (match.region, tier) in shelves:
        return shelves[match.region, tier], f" > {tier} in {match.region}"
    if channel and (channel, tier) in shelves:
        return shelves[channel, tier], f" > {tier} at {channel}"
    if not sold:
        return [], f" > {provider} does not sell {tier} at {match.provider}'s price"
    note = " > no regional price: the global one" if match.region != GLOBAL and any(
        region != GLOBAL for region, _ in shelves) else ""
    if (GLOBAL, tier) in shelves:
        return shelves[GLOBAL, tier], "" if tier == "standard" else f"{note} > {tier}"
    return [], f" > has no {tier} tier"


def _context_cells(shelf: Shelf, base: dict[str, Any], entries: list[Entry]) -> list[dict[str, Any]]:
    """One cell per range of context and mode; a bucket's context is unknown, so it gets bounds if it matters."""
    modes = {e.mode for e in entries}
    thinking = "thinking" in modes
    cells = []
    for entry in entries:
        cell = base | _rates(shelf, base, entry)
        # below the first bound lies -1: the context of a bucket, where only one price is possible
        cell["min_input"] = -1 if len(entries) == 1 and entry.low == 0 else entry.low
        cell["max_input"] = entry.high
        if thinking:
            cell["min_reasoning"], cell["max_reasoning"] = (1, NO_LIMIT) if entry.mode == "thinking" else (-1, 1)
        cells.append(cell)
    if len(entries) > 1 or entries[0].low > 0:
        low, high = bounds.spread([entry.rates for entry in entries])
        cells.append(base | {"min_input": -1, "max_input": 0, "path": f"{base['path']} > context of a bucket unknown"}
                     | {f"low_{u}": v for u, v in low.items()} | {f"high_{u}": v for u, v in high.items()})
    return cells


def _rates(shelf: Shelf, base: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    den = lcm(*(bottom for _, bottom in entry.rates.values()))
    tops = {unit: top * (den // bottom) for unit, (top, bottom) in entry.rates.items()}
    if den > 10**18 or max(tops.values()) > NO_LIMIT // 4:
        raise Usage(f"price book: {base['path']}: the prices have no common denominator below 10^18")
    free = not any(tops.values())
    mentions = not {"cache_read", "cache_write_5m"}.isdisjoint(tops) or (
        base["tier"] != "standard" and base["spot"] in shelf.cached)
    if "cache_read" not in tops and "uncached_input" in tops and not mentions:
        tops["cache_read"] = tops["uncached_input"]  # a list that makes no mention of caching prices all input
    if tops.get("reasoning", -1) == tops.get("output"):
        del tops["reasoning"]  # told apart by the feed, at one price: a part of output like everywhere else
    low, high = shelf.family.lacking(entry.rates)
    return {
        "price_id": entry.price_id, "price_source": entry.source, "price_status": "free" if free else "priced",
        "den": den, "minimum_seconds": entry.minimum,
        "plain": den == 1 and "reasoning" not in tops and not tops.get("request"),
        **{f"n_{unit}": top for unit, top in tops.items()},
        **{f"low_{u}": v for u, v in low.items()}, **{f"high_{u}": v for u, v in high.items()},
    }


def _bounds(shelf: Shelf, provider: str, match: Match, tier: str, first: datetime, last: datetime) -> dict[str, Any]:
    low, high, kin = shelf.family.siblings(provider, match, tier, first, last)
    return {**{f"low_{u}": v for u, v in low.items()}, **{f"high_{u}": v for u, v in high.items()},
            "price_source": None} | ({"path": f"{match.path} > {kin}"} if kin and match.provider is None else {})


def _included_bits(provider: str) -> int:
    names = _INCLUDED | _INCLUDED_AT.get(provider, frozenset())
    return sum(1 << bit for bit, unit in enumerate(UNITS) if unit.name in names)


def _covered(cell: dict[str, Any], name: str) -> dict[str, Any]:
    """The cell of usage that throughput serves which is paid by the hour: no price of its own."""
    rates = {f"{kind}_{unit.name}": None for kind in ("n", "low", "high") for unit in UNITS}
    return cell | rates | {"price_status": "covered", "price_id": None, "price_source": None, "plain": False, "den": 1,
                           "multiplier": None, "contract": name, "path": f"{cell['path']} > covered by {name}"}


def _with_contracts(cell: dict[str, Any], deals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cell, cut where a contract begins or ends. The contract that names most wins; then the later one."""
    mine = [d for d in deals if all(d.get(name) is None or d[name] == cell[name]
                                    for name in ("provider", "model_id", "account_id"))]
    if not mine:
        return [cell]
    edges = sorted({cell["used_from"], cell["used_to"]} | {
        at for d in mine for at in (d["valid_from"] or EVER, d["valid_to"] or NEVER)
        if cell["used_from"] < at < cell["used_to"]})
    found = []
    for start, end in pairwise(edges):
        live = [d for d in mine if (d["valid_from"] or EVER) <= start and (d["valid_to"] or NEVER) >= end]
        best = max(live, key=lambda d: (sum(d.get(n) is not None for n in ("provider", "model_id", "account_id")),
                                        d["valid_from"] or EVER), default=None)
        served = next((d for d in live if d.get("covers")), None)
        if served is not None:
            found.append(_covered(cell, served["name"]) | {"used_from": start, "used_to": end})
            continue
        found.append(cell | {"used_from": start, "used_to": end,
                             "multiplier": None if best is None else Decimal(best["multiplier"]),
                             "contract": None if best is None else best["name"]})
    return found
