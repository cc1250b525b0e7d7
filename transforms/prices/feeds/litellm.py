"""litellm's price map as a feed: a reader for its JSON, and the figures of one version in our own form.

The map states today's prices only, without dates. So it never speaks against a dated feed: `fill` keeps of it
what no other feed prices, and where another feed knows a model's last change, not from before that change.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Any

from costops.transforms.errors import Usage
from costops.transforms.prices.entry import EVER, GLOBAL, NEVER, NO_LIMIT, Price, clean
from costops.transforms.prices.models import Catalogue, is_geography
from costops.transforms.prices.providers import LITELLM_NAMES

RANK = 30

TOKENS: dict[str, str] = {
    "input_cost_per_token": "uncached_input", "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read", "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_creation_input_token_cost_above_12hr": "cache_write_12h",
    "output_cost_per_reasoning_token": "reasoning", "citation_cost_per_token": "citation",
    "input_cost_per_audio_token": "audio_input", "cache_read_input_audio_token_cost": "audio_cache_read",
    "output_cost_per_audio_token": "audio_output", "input_cost_per_image_token": "image_input",
    "cache_read_input_image_token_cost": "image_cache_read", "output_cost_per_image_token": "image_output",
    "input_cost_per_video_token": "video_input",
}
PIECES: dict[str, tuple[str, int]] = {
    "output_cost_per_image": ("image", 1), "input_cost_per_second": ("audio_second", 1),
    "input_cost_per_audio_per_second": ("audio_second", 1), "input_cost_per_character": ("character", 1),
    "ocr_cost_per_page": ("page", 1), "input_cost_per_request": ("request", 1),
    "input_cost_per_query": ("request", 1), "code_interpreter_cost_per_session": ("code_session", 1),
}
_TIERS = {"": "standard", "_batches": "batch", "_priority": "priority", "_flex": "flex", "_ultrafast": "ultrafast",
          "_balanced": "balanced"}
_KEY = re.compile(r"^(?P<base>.+?)(?:_above_(?P<k>\d+)k_tokens)?"
                  r"(?P<tier>_batches|_priority|_flex|_ultrafast|_balanced)?$")
_INCLUSIVE = frozenset({"x_ai"})
"""Whose threshold belongs to the dearer range."""

_NEVER_FILLED = frozenset({"uncached_input", "output", "reasoning", "request", "image", "audio_second"})
"""What a dated feed leaves out on purpose: it prices the model in another way."""

COLUMNS = ("provider", "model_id", "region", "service_tier", "mode", "unit", "min_input", "max_input", "usd", "per")


def read(data: bytes, *, version: str) -> Iterator[Price]:
    """Every price of the map that our vocabulary can say, for the providers that we name."""
    source = f"litellm {version}"
    for key, entry in _opened(data).items():
        provider = LITELLM_NAMES.get(str(entry.get("litellm_provider")))
        if provider is None or "commitment" in key or "-steps/" in key:
            continue
        model, region = _place(provider, key)
        base = Price(provider, model, "output", Decimal(0), 1, source, region=region, rank=RANK,
                     date_basis="snapshot", note=str(entry.get("source", "")))
        found = list(_entry(base, entry))
        if any(price.price_usd for price in found):  # all zero may be free or unknown: the map does not say
            yield from found


def unread(data: bytes) -> dict[str, int]:
    """Keys of the map that look like a price and that we do not understand, with how many entries have them."""
    found: dict[str, int] = {}
    for entry in _opened(data).values():
        for key, value in entry.items():
            parsed = _KEY.match(key)
            known = key in PIECES or (parsed is not None and parsed["base"] in TOKENS)
            if ("cost" in key or "price" in key) and isinstance(value, Decimal) and not known:
                found[key] = found.get(key, 0) + 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _opened(data: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(data, parse_float=Decimal, parse_int=Decimal)
    except ValueError as error:
        raise Usage(f"price book: litellm's map is no JSON: {error}") from None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise Usage("price book: litellm's map is no JSON object of models")
    return entries


def _place(provider: str, key: str) -> tuple[str, str]:
    """Model and region of one of their keys: `azure/eu/gpt-4o`, `bedrock/us-east-1/meta.llama3-8b`."""
    parts = key.split("/")
    if parts[0] in {"azure", "azure_ai", "bedrock", "bedrock_converse", "bedrock_mantle", "vertex_ai", "gemini", "xai",
                    "groq", "mistral", "deepseek", "perplexity", "openrouter", "together_ai", "fireworks_ai",
                    "moonshot", "minimax", "dashscope", "voyage", "cerebras", "sambanova", "deepinfra", "nebius",
                    "databricks", "cloudflare", "zai", "elevenlabs", "deepgram", "assemblyai", "hyperbolic",
                    "lambda_ai", "watsonx", "github_copilot", "vercel_ai_gateway", "openai", "anthropic", "codestral",
                    "text-completion-codestral"} and len(parts) > 1:
        parts = parts[1:]
    region = GLOBAL
    if provider.startswith("azure") and len(parts) > 1 and parts[0] in {"eu", "us", "global", "global-standard"}:
        region = parts.pop(0)
        region = GLOBAL if region.startswith("global") else region
    elif provider == "aws.bedrock" and len(parts) > 1 and re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", parts[0]):
        region = parts.pop(0)
    return "/".join(parts), region


def _entry(base: Price, entry: Mapping[str, Any]) -> Iterator[Price]:
    """The prices of one entry: token prices by tier and context, then pieces and fees."""
    tiered = entry.get("tiered_pricing")
    figures: dict[tuple[str, str], dict[int, Decimal]] = {}
    for key, value in entry.items():
        parsed = _KEY.match(key)
        if parsed and parsed["base"] in TOKENS and isinstance(value, Decimal):
            unit = TOKENS[parsed["base"]]
            start = int(parsed["k"] or 0) * 1000
            if start and base.provider not in _INCLUSIVE:
                start += 1
            figures.setdefault((_TIERS[parsed["tier"] or ""], unit), {})[start] = value
    for step in tiered or ():
        low = int(Decimal(step.get("range", [0])[0]))
        for key, value in step.items():
            if key in TOKENS:
                figures.setdefault(("standard", TOKENS[key]), {})[low + 1 if low else 0] = Decimal(value)
    thinking = base.provider == "dashscope" and ("standard", "reasoning") in figures
    reasoning = figures.pop(("standard", "reasoning"), {}) if thinking else {}
    for (tier, unit), steps in figures.items():
        yield from _steps(replace(base, service_tier=tier, unit=unit), steps)
        if thinking:
            mine = reasoning if unit == "output" else steps
            yield from _steps(replace(base, service_tier=tier, unit=unit, mode="thinking"), mine)
    yield from _pieces(base, entry, {tier for tier, _ in figures} or {"standard"})


def _pieces(base: Price, entry: Mapping[str, Any], tiers: Iterable[str]) -> Iterator[Price]:
    """Prices by the piece; a search costs what a search of medium context costs, in every tier."""
    seen: set[str] = set()
    for key, (unit, per) in PIECES.items():
        value = entry.get(key)
        if isinstance(value, Decimal) and unit not in seen:
            seen.add(unit)
            yield replace(base, unit=unit, price_usd=clean(value), per=per)
    search = entry.get("search_context_cost_per_query")
    if isinstance(search, Mapping) and "search_context_size_medium" in search:
        for tier in tiers:
            yield replace(base, unit="web_search", price_usd=clean(Decimal(search["search_context_size_medium"])),
                          per=1, service_tier=tier)


def _steps(base: Price, steps: Mapping[int, Decimal]) -> Iterator[Price]:
    """One price per range of context. A unit without a base price has none below its first threshold."""
    starts = sorted(steps)
    for start, end in zip(starts, [*starts[1:], NO_LIMIT], strict=True):
        yield replace(base, min_input=start, max_input=end, price_usd=clean(steps[start]) * 10**6, per=10**6)


def compact(prices: Iterable[Price]) -> str:
    """Prices as the CSV that ships: our columns, dollars for `per` units, sorted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = {(p.provider, p.model_id, p.region, p.service_tier, p.mode, p.unit, p.min_input,
             "" if p.max_input == NO_LIMIT else p.max_input): (f"{_plain(p.price_usd)}", p.per) for p in prices}
    for place in sorted(rows, key=lambda key: tuple(str(part) if not isinstance(part, int) else f"{part:020}"
                                                    for part in key)):
        writer.writerow([*place, *rows[place]])
    return out.getvalue()


def _plain(figure: Decimal) -> str:
    text = f"{figure.normalize():f}"
    return text if text != "-0" else "0"


@lru_cache(maxsize=1)
def prices() -> tuple[Price, ...]:
    """The figures that ship: `data/reference/prices/litellm-<version>.csv`."""
    item = next(i for i in (files("costops.data") / "prices").iterdir() if i.name.startswith("litellm-"))
    source = f"litellm {item.name.removeprefix('litellm-').removesuffix('.csv')}"
    rows = csv.reader(io.StringIO(item.read_text(encoding="utf-8")))
    next(rows)
    return tuple(
        Price(provider, model, unit, Decimal(usd), int(per), source, region, tier, mode, int(low),
              int(high) if high else NO_LIMIT, date_basis="snapshot", rank=RANK)
        for provider, model, region, tier, mode, unit, low, high, usd, per in rows
    )


def fill(found: Sequence[Price], models: Catalogue, known: Sequence[Price]) -> list[Price]:
    """Of the feed's prices those that the dated feeds leave open, under the dated feeds' model ids.

    A model that the seller's own list or the list it resells from prices elsewhere stays there. A tier is taken
    whole or not at all, but for units that no one else prices.
    """
    last: dict[tuple[str, str], datetime] = {}
    units: set[tuple[str, ...]] = set()
    for price in known:
        spot = (price.provider, price.model_id)
        last[spot] = max(last.get(spot, EVER), price.valid_from)
        units |= {(*spot, price.service_tier), (*spot, price.service_tier, price.unit)}
    own = {(p.provider, p.model_id) for p in found}
    apart = _differently_priced(found, models, known)
    home: dict[tuple[str, str], tuple[str, str] | None] = {}
    claimed: dict[tuple[str, str], tuple[str, str]] = {}
    taken: list[Price] = []
    for price in found:
        spot = (price.provider, price.model_id) if price.region == GLOBAL else (
            price.provider, f"{price.region}/{price.model_id}")
        if spot not in home:
            place = spot if spot in apart else _home(spot, models, own, regional=price.region != GLOBAL)
            first = claimed.setdefault(place, spot) if place else spot
            home[spot] = place if first == spot else None  # the first of several spellings speaks
        model = home[spot]
        if model is None:
            continue
        if model not in last or (price.region != GLOBAL and price.provider == "aws.bedrock"):
            taken.append(replace(price, model_id=model[1]))
        elif price.region == GLOBAL and ((*model, price.service_tier) not in units or (
                price.unit not in _NEVER_FILLED and (*model, price.service_tier, price.unit) not in units)):
            taken.append(replace(price, model_id=model[1], valid_from=last[model],
                                 date_basis="snapshot" if last[model] > EVER else "open"))
    return _whole(taken, known)


def aligned(found: Iterable[Price], models: Catalogue) -> list[Price]:
    """The feed's prices under the dated feeds' providers and model ids; what those do not know is left out."""
    seen: dict[tuple[str, str], tuple[str, str, str] | None] = {}
    made = []
    for price in found:
        spot = (price.provider, price.model_id)
        if spot not in seen:
            match = models.find(*spot)
            sold = "" if match.provider == price.provider else f" ({price.provider})"
            seen[spot] = (match.provider, match.model_id, sold) if match.provider else None
        place = seen[spot]
        if place is not None:
            made.append(replace(price, provider=place[0], model_id=place[1], source=price.source + place[2]))
    return made


def _differently_priced(found: Sequence[Price], models: Catalogue, known: Sequence[Price]) -> set[tuple[str, str]]:
    """Bedrock geographies (us-gov, eu, apac ...) whose price is neither the global nor the usual regional one."""
    dated = {(p.provider, p.model_id, p.unit, p.min_input): p.price_usd / p.per for p in known
             if p.service_tier == "standard" and p.region == GLOBAL and p.valid_to == NEVER}
    apart = set()
    for price in found:
        if price.provider == "aws.bedrock" and price.service_tier == "standard" and price.region == GLOBAL and (
                is_geography(price.model_id)):
            match = models.find(price.provider, price.model_id)
            told = dated.get((match.provider or "", match.model_id, price.unit, price.min_input))
            mine = price.price_usd / price.per
            if told and abs(mine - told) > told / 1000:
                apart.add((price.provider, price.model_id))
    return apart


def _home(spot: tuple[str, str], models: Catalogue, own: set[tuple[str, str]], *,
          regional: bool) -> tuple[str, str] | None:
    """Where the price belongs: the model in a dated feed, itself, or nowhere (priced elsewhere, or twice)."""
    provider, model = spot
    region, model = model.split("/", 1) if regional else ("", model)
    match = models.find(provider, model)
    stays = match.model_id if match.provider == provider else model
    place: tuple[str, str] | None = (provider, stays)
    if match.provider is None:
        place = (provider, model)
    elif regional:
        # in-region Claude costs what its geography does, which the dated feed says; elsewhere regions have own prices
        if provider != "aws.bedrock" or ("anthropic" in model and "gov" not in region):
            place = None
    elif match.provider != provider:
        # a cloud charges the list of OpenAI, Anthropic and Google; for others' models it has prices of its own
        if match.provider in {"openai", "anthropic", "gcp.gemini"} and "gpt-oss" not in model:
            place = None
    elif match.model_id.lower() != model.lower() and (
            provider == "aws.bedrock" or (provider, match.model_id) in own):
        place = None  # a bare Bedrock id there carries the global price; a dated twin says the same again
    return place


def _whole(taken: list[Price], known: Sequence[Price]) -> list[Price]:
    """New tiers of known models, completed by the standard prices of things that no tier changes."""
    fees = {"web_search", "request", "code_session", "page", "character"}
    told = {(p.provider, p.model_id, p.service_tier, p.unit) for p in taken}
    added: dict[tuple[str, str, str, str, datetime], Price] = {}
    new_tiers = {(p.provider, p.model_id, p.service_tier) for p in taken if p.service_tier != "standard"}
    by_model: dict[tuple[str, str], list[Price]] = {}
    for price in known:
        if price.service_tier == "standard" and price.unit in fees and price.region == GLOBAL:
            by_model.setdefault((price.provider, price.model_id), []).append(price)
    for provider, model, tier in new_tiers:
        for price in by_model.get((provider, model), ()):
            if (provider, model, tier, price.unit) not in told:
                added[provider, model, tier, price.unit, price.valid_from] = replace(
                    price, service_tier=tier, rank=RANK)
    return [*taken, *added.values()]


