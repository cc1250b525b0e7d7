"""The genai-prices package as a feed: its prices and its ways to spell a model.

Dates there are UTC days. A tier's price carries the day on which it was looked up, not the day on which it
began; it is carried back to the start of the standard price that it was looked up beside, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from costops.transforms.prices.entry import EVER, GLOBAL, NEVER, NO_LIMIT, Price, clean
from costops.transforms.prices.models import Alias
from costops.transforms.prices.providers import GENAI_NAMES, provider_name
from costops.transforms.units import UNIT

RANK = 20

UNITS: dict[str, tuple[str, int]] = {
    "input_mtok": ("uncached_input", 10**6), "output_mtok": ("output", 10**6),
    "cache_read_mtok": ("cache_read", 10**6), "cache_write_mtok": ("cache_write_5m", 10**6),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6), "output_reasoning_mtok": ("reasoning", 10**6),
    "output_citation_mtok": ("citation", 10**6), "input_audio_mtok": ("audio_input", 10**6),
    "cache_audio_read_mtok": ("audio_cache_read", 10**6), "output_audio_mtok": ("audio_output", 10**6),
    "input_image_mtok": ("image_input", 10**6), "cache_image_read_mtok": ("image_cache_read", 10**6),
    "output_image_mtok": ("image_output", 10**6), "input_video_mtok": ("video_input", 10**6),
    "web_searches_kcount": ("web_search", 10**3), "requests_kcount": ("request", 10**3),
    "input_audio_hours": ("audio_second", 3600), "audio_hours": ("audio_second", 3600),
    "input_mchars": ("character", 10**6), "input_document_kpages": ("page", 10**3),
}
"""Their price key: our unit and the number of units that the price is for."""

NOT_COUNTED = frozenset({"storage_searches_kcount", "input_annotated_document_kpages",
                         "input_text_messages_kcount", "output_video_mtok"})
"""Their keys for things that no source counts on a usage row."""

_TIERS: dict[tuple[str, str], tuple[str, str]] = {
    ("processing", "batch"): ("batch", GLOBAL), ("service_tier", "flex"): ("flex", GLOBAL),
    ("service_tier", "priority"): ("priority", GLOBAL), ("service_tier", "fast"): ("fast", GLOBAL),
    ("speed", "fast"): ("fast", GLOBAL), ("route", "mistral/eu"): ("standard", "eu"),
}
_MINIMUM = {("groq", "whisper-large-v3"): 10, ("groq", "whisper-large-v3-turbo"): 10}

Bands = dict[str, list[tuple[int, int, Decimal]]]
Window = tuple[time, time]


@lru_cache(maxsize=1)
def source() -> str:
    """Name and version of the feed."""
    return f"genai-prices {version('genai-prices')}"


@lru_cache(maxsize=1)
def prices() -> tuple[Price, ...]:
    """Every price in the package, in the order of its file."""
    return tuple(price for provider in _providers() for model in provider.models
                 for price in model_prices(provider.id, model))


@lru_cache(maxsize=1)
def aliases() -> tuple[Alias, ...]:
    """Every way in which the package lets a model be spelled."""
    return tuple(alias for provider in _providers() for model in provider.models
                 for alias in _spellings(_name(provider.id), model.id, model.match))


def model_prices(provider_id: str, model: Any) -> Iterator[Price]:
    """The prices of one of their models: standard, then each tier over it."""
    name, feed = _name(provider_id), source()
    minimum = _MINIMUM.get((provider_id, model.id), 0)
    standard = _standard(model.prices)
    for start, end, schedule, inside, bands in standard:
        yield from _priced(name, model.id, bands, feed, valid_from=start, valid_to=end, schedule=schedule,
                           in_schedule=inside, minimum=minimum, date_basis="stated" if start > EVER else "open",
                           note=_note(model))
    for tier, region, start, end, schedule, inside, bands, basis in _tiers(model, standard):
        yield from _priced(name, model.id, bands, feed, service_tier=tier, region=region, valid_from=start,
                           valid_to=end, schedule=schedule, in_schedule=inside, minimum=minimum, date_basis=basis,
                           note=_note(model))


def _priced(provider: str, model_id: str, bands: Bands, feed: str, **context: Any) -> Iterator[Price]:
    minimum = context.pop("minimum")
    for key, steps in bands.items():
        unit, per = UNITS[key]
        for low, high, figure in steps:
            yield Price(provider, model_id, unit, figure, per, feed, min_input=low, max_input=high, rank=RANK,
                        minimum=minimum if unit == "audio_second" else 0, **context)


def _standard(stated: Any) -> list[tuple[datetime, datetime, str, bool, Bands]]:
    """(from, to, schedule, inside, prices): the last of their conditions that holds wins."""
    conditions = stated if isinstance(stated, list) else None
    if conditions is None:
        return [(EVER, NEVER, "", False, _bands(stated))]
    starts = sorted({_start(c.constraint) for c in conditions if _is_date(c.constraint)} | {EVER})
    found = []
    for start, end in zip(starts, [*starts[1:], NEVER], strict=True):
        dated = [c for c in conditions if c.constraint is None or
                 (_is_date(c.constraint) and _start(c.constraint) <= start)]
        timed = [c for c in conditions if c.constraint is not None and not _is_date(c.constraint)]
        base = _bands(dated[-1].prices if dated else conditions[0].prices)
        # a daily window states no date: it holds for the newest dated price, beside which it was written
        if timed and (end == NEVER or len(starts) == 1):
            schedule = "UTC " + ",".join(_window(c.constraint) for c in timed)
            found.append((start, end, schedule, True, _bands(timed[-1].prices)))
            found.append((start, end, schedule, False, base))
        else:
            found.append((start, end, "", False, base))
    return found


def _tiers(model: Any, standard: list[tuple[datetime, datetime, str, bool, Bands]]) -> Iterator[
        tuple[str, str, datetime, datetime, str, bool, Bands, str]]:
    """Each tier's full price list, the standard one where the tier names no price of its own."""
    variants: dict[tuple[str, str], list[Any]] = {}
    for variant in model.price_variants or ():
        for condition in variant.when.items():
            if len(variant.when) == 1 and condition in _TIERS:
                variants.setdefault(_TIERS[condition], []).append(variant)
    for (tier, region), stated in variants.items():
        starts = sorted({_start(v.constraint) for v in stated})
        for start, end, schedule, inside, bands in standard:
            cuts = [s for s in starts if start < s < end]
            known = any(s <= start for s in starts)
            pieces = [*([start] if known else []), *cuts]
            for i, begin in enumerate(pieces):
                finish = pieces[i + 1] if i + 1 < len(pieces) else end
                carried = i == 0 and not known
                basis = "carried back" if carried else ("stated" if begin > EVER else "open")
                yield (tier, region, start if carried else begin, finish, schedule, inside,
                       bands | _own(stated, begin), basis)


def _own(stated: list[Any], at: datetime) -> Bands:
    """The prices that a tier names itself; the first that names one wins."""
    own: Bands = {}
    for variant in stated:
        if _start(variant.constraint) <= at:
            for key, steps in _bands(variant.prices).items():
                own.setdefault(key, steps)
    return own


def _bands(stated: Any) -> Bands:
    """Their price keys as (from tokens, to tokens, dollars); a tier starts above its figure."""
    found: Bands = {}
    for key, value in stated.__dict__.items():
        if value is None or key in NOT_COUNTED:
            continue
        if key == "audio_hours" and stated.__dict__.get("input_audio_hours") is not None:
            continue
        if isinstance(value, Decimal):
            found[key] = [(0, NO_LIMIT, clean(value))]
            continue
        edges = [0, *(tier.start + 1 for tier in value.tiers), NO_LIMIT]
        figures = [value.base, *(tier.price for tier in value.tiers)]
        found[key] = [(edges[i], edges[i + 1], clean(figure)) for i, figure in enumerate(figures)]
    return found


def _spellings(provider: str, model_id: str, clause: Any) -> Iterator[Alias]:
    yield Alias(provider, "equals", model_id.lower(), model_id)
    yield from _clause(provider, model_id, clause)


def _clause(provider: str, model_id: str, clause: Any) -> Iterator[Alias]:
    parts = getattr(clause, "or_", None)
    if parts is not None:
        for part in parts:
            yield from _clause(provider, model_id, part)
    for kind in ("equals", "starts_with", "contains", "ends_with", "regex"):
        text = getattr(clause, kind, None)
        if isinstance(text, str):
            yield Alias(provider, kind, text if kind == "regex" else text.lower(), model_id)
    both = getattr(clause, "and_", None)
    if both is not None:
        first = next((part for part in both if hasattr(part, "starts_with")), None)
        if first is not None:
            yield Alias(provider, "starts_with", first.starts_with.lower(), model_id)


def _providers() -> Iterable[Any]:
    from genai_prices.data import providers  # half a second: only when prices are needed

    return list(providers)


def _name(provider_id: str) -> str:
    return GENAI_NAMES.get(provider_id) or provider_name(provider_id)


def _is_date(constraint: Any) -> bool:
    return hasattr(constraint, "start_date")


def _start(constraint: Any) -> datetime:
    if constraint is None or not _is_date(constraint):
        return EVER
    day: date = constraint.start_date
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001  their days are UTC days


def _window(constraint: Any) -> str:
    return f"{_hhmm(constraint.start_time)}-{_hhmm(constraint.end_time)}"


def _hhmm(moment: time) -> str:
    shift = moment.utcoffset() or timedelta(0)
    whole = datetime(2000, 1, 1, moment.hour, moment.minute) - shift  # noqa: DTZ001
    return f"{whole:%H:%M}"


def _note(model: Any) -> str:
    return (model.price_comments or "")[:300]


assert all(unit in UNIT for unit, _ in UNITS.values())  # noqa: S101  a typo must not wait for a feed
