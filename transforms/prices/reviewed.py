"""Prices that somebody looked up and decided: `data/reference/prices/*.yaml`, above every feed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from costops.transforms.errors import Usage
from costops.transforms.prices.entry import EVER, GLOBAL, NEVER, Price, instant
from costops.transforms.prices.models import Alias
from costops.transforms.units import UNIT

RANK = 10


@lru_cache(maxsize=1)
def documents() -> tuple[Mapping[str, Any], ...]:
    """The files, in the order of their names."""
    folder = files("costops.data") / "prices"
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return tuple(parsed(item.read_bytes()) for item in found)


def parsed(body: bytes) -> Mapping[str, Any]:
    """A file of prices; figures and instants stay text."""
    told = yaml.load(body, Loader=_Loader)  # noqa: S506  a safe loader that keeps text
    return told if isinstance(told, dict) else {}


@lru_cache(maxsize=1)
def prices() -> tuple[Price, ...]:
    """Every reviewed price."""
    return tuple(price for document in documents() for price in read(document))


@lru_cache(maxsize=1)
def aliases() -> tuple[Alias, ...]:
    """Every reviewed spelling: `aliases: {model: [spelling, ...]}`."""
    return tuple(Alias(document["provider"], "equals", text.lower(), model)
                 for document in documents()
                 for model, texts in (document.get("aliases") or {}).items() for text in texts)


@dataclass(frozen=True)
class Uplift:
    """A factor on every token price of some models in a region."""

    provider: str
    region: str
    factor: Decimal
    models: frozenset[str]
    checked: str
    note: str

    def over(self, price: Price) -> Price:
        """The price in the region."""
        return replace(price, region=self.region, price_usd=price.price_usd * self.factor,
                       source=f"{price.source} x {self.factor} reviewed {self.checked}", note=self.note)


@lru_cache(maxsize=1)
def uplifts() -> tuple[Uplift, ...]:
    """Every reviewed uplift: `uplifts: [{regions, factor, models, reason, link, checked, list}]`.

    `list` is the price list that the models stand in, where the seller uses that of another.
    """
    return tuple(
        Uplift(stated.get("list", document["provider"]), region, Decimal(stated["factor"]), frozenset(stated["models"]),
               str(stated["checked"]), f"{stated['reason']} {stated['link']}")
        for document in documents() for stated in document.get("uplifts") or () for region in stated["regions"]
    )


def uplifted(prices: Iterable[Price]) -> Iterator[Price]:
    """The regional prices that follow from global ones; fees by the piece are the same everywhere."""
    by_model: dict[tuple[str, str], list[Uplift]] = {}
    for uplift in uplifts():
        for model in uplift.models:
            by_model.setdefault((uplift.provider, model), []).append(uplift)
    for price in prices:
        if price.region == GLOBAL:
            for uplift in by_model.get((price.provider, price.model_id), ()):
                token = UNIT[price.unit].column.endswith("_tokens")
                yield uplift.over(price) if token else replace(price, region=uplift.region)


@dataclass(frozen=True)
class Question:
    """A disagreement of feeds that was looked at: decided for the feed that applies, or left open, and why."""

    seller: str
    models: re.Pattern[str]
    units: frozenset[str]
    tiers: frozenset[str]
    decided: bool
    reason: str

    def about(self, row: Mapping[str, Any]) -> bool:
        """Whether it speaks of a row of the disagreement list."""
        return (row["seller"] == self.seller and bool(self.models.fullmatch(row["model_id"]))
                and (not self.units or row["unit"] in self.units)
                and (not self.tiers or row["service_tier"] in self.tiers))


@lru_cache(maxsize=1)
def questions() -> tuple[Question, ...]:
    """Every disagreement that was looked at: `disagreements: [{seller, models, units, tiers, decision, reason}]`.

    `decision: feed` keeps what the best feed says, `decision: open` says that nobody could tell.
    """
    return tuple(
        Question(stated.get("seller", document["provider"]), re.compile(stated["models"]),
                 frozenset(stated.get("units", ())), frozenset(stated.get("tiers", ())),
                 stated["decision"] == "feed", f"{stated['reason']} {stated.get('link', '')}".strip())
        for document in documents() for stated in document.get("disagreements") or ()
    )


@lru_cache(maxsize=1)
def promotions() -> tuple[tuple[str, str, datetime, str], ...]:
    """Promotions whose end no price states: (provider, model, about when it ends, why)."""
    return tuple((document["provider"], model, instant(stated["until"]), f"{stated['reason']} {stated['link']}")
                 for document in documents() for stated in document.get("promotions") or ()
                 for model in stated["models"])


@lru_cache(maxsize=1)
def holidays() -> dict[str, frozenset[date]]:
    """Holiday calendars by name, as schedules refer to them."""
    text = (files("costops.data") / "holidays.yaml").read_text(encoding="utf-8")
    calendars = yaml.safe_load(text)["calendars"]
    return {name: frozenset(body["days"]) for name, body in calendars.items()}


def read(document: Mapping[str, Any]) -> Iterator[Price]:
    """The prices of one file. An unknown key or unit is refused with its place."""
    provider = document["provider"]
    for entry in document.get("prices") or ():
        models = entry["models"]
        for model in models:
            base = Price(provider, model, "output", Decimal(0), 10**6, f"reviewed {entry['checked']}",
                         rank=RANK, note=f"{entry['reason']} {entry.get('link', '')}".strip())
            yield from _entry(base, entry)


def _entry(base: Price, entry: Mapping[str, Any]) -> Iterator[Price]:
    known = {"models", "checked", "reason", "link", "region", "tier", "mode", "from", "to", "zone", "basis",
             "schedule", "in_schedule", "min_input", "max_input", "minimum", "usd", "status"}
    strange = set(entry) - known
    if strange:
        raise Usage(f"price book: {base.provider}/{base.model_id}: unknown keys {sorted(strange)}")
    context = replace(
        base, region=entry.get("region", base.region), service_tier=entry.get("tier", base.service_tier),
        mode=entry.get("mode", ""), zone=entry.get("zone", "UTC"),
        valid_from=instant(entry["from"]) if "from" in entry else EVER,
        valid_to=instant(entry["to"]) if "to" in entry else NEVER,
        date_basis=entry.get("basis", "stated" if "from" in entry else "open"),
        schedule=entry.get("schedule", ""), in_schedule=entry.get("in_schedule", False),
        min_input=entry.get("min_input", base.min_input), max_input=entry.get("max_input", base.max_input),
        minimum=entry.get("minimum", 0),
    )
    for unit, figure in entry["usd"].items():
        if unit not in UNIT:
            raise Usage(f"price book: {base.provider}/{base.model_id}: unknown unit {unit!r}")
        yield replace(context, unit=unit, price_usd=Decimal(figure), per=UNIT[unit].per)


class _Loader(yaml.SafeLoader):
    """Figures and instants stay text: a price never passes through a float."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in found if tag not in {
        "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
