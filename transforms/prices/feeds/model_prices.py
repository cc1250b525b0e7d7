"""model-prices as a second opinion: dated prices of another collection, to compare with, never to charge by.

Its dates are those of commits to models.dev or of documents, each named; `read` takes its snapshot, and the figures
of one version ship in our own form.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from importlib.resources import files
from typing import Any

from costops.transforms.prices.entry import EVER, NEVER, NO_LIMIT, Price, clean
from costops.transforms.prices.providers import provider_name

RANK = 40
UNITS = {"input": "uncached_input", "output": "output", "cache_read": "cache_read", "cache_write": "cache_write_5m"}
_PLANS = {"standard": ("standard", ""), "batch": ("batch", ""), "flex": ("flex", ""), "fast": ("fast", ""),
          "thinking": ("standard", "thinking"), "ultrafast": ("ultrafast", "")}
COLUMNS = ("provider", "model_id", "service_tier", "mode", "unit", "min_input", "max_input", "valid_from", "valid_to",
           "usd", "date_basis")


def read(data: bytes, *, version: str) -> Iterator[Price]:
    """Every dated price of the snapshot: a period ends where the next one starts."""
    for name, models in json.loads(data, parse_float=Decimal, parse_int=Decimal)["prices"].items():
        provider = {"alibaba": "dashscope", "amazon-bedrock": "aws.bedrock"}.get(name) or provider_name(name)
        for model, plans in models.items():
            for plan, periods in plans.items():
                if plan in _PLANS:
                    tier, mode = _PLANS[plan]
                    tier = "priority" if (provider, tier) == ("openai", "fast") else tier
                    base = Price(provider, model, "output", Decimal(0), 10**6, f"model-prices {version}",
                                 service_tier=tier, mode=mode, rank=RANK)
                    yield from _joined(_periods(base, periods))


def _periods(base: Price, periods: list[Mapping[str, Any]]) -> Iterator[Price]:
    starts = [_instant(period["start"]) if period["start"] else EVER for period in periods]
    for period, start, end in zip(periods, starts, [*starts[1:], NEVER], strict=True):
        rates = period.get("rates")
        if not rates or start >= end:
            continue
        dated = replace(base, valid_from=start, valid_to=end, date_basis=str(rates.get("valid_from_basis", "")))
        steps = [(0, rates), *((int(tier["above"]) + 1, tier) for tier in rates.get("tiers", ()))]
        for key, unit in UNITS.items():
            known = [(low, Decimal(step[key])) for low, step in steps if step.get(key) is not None]
            for i, (low, usd) in enumerate(known):
                high = known[i + 1][0] if i + 1 < len(known) else NO_LIMIT
                yield replace(dated, unit=unit, price_usd=clean(usd), min_input=low, max_input=high)


def _joined(prices: Iterable[Price]) -> list[Price]:
    """Periods of one price that follow each other, as one; the first says when it began."""
    made: list[Price] = []
    for price in sorted(prices, key=lambda p: (p.unit, p.min_input, p.valid_from)):
        last = made[-1] if made else None
        if last and last.valid_to == price.valid_from and last == replace(
                price, valid_from=last.valid_from, valid_to=last.valid_to, date_basis=last.date_basis):
            made[-1] = replace(last, valid_to=price.valid_to)
        else:
            made.append(price)
    return made


def compact(prices: Iterable[Price]) -> str:
    """Prices as the CSV that ships."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for p in sorted(prices, key=lambda p: (p.provider, p.model_id, p.service_tier, p.mode, p.unit, p.min_input,
                                           p.valid_from)):
        writer.writerow((p.provider, p.model_id, p.service_tier, p.mode, p.unit, p.min_input,
                         "" if p.max_input == NO_LIMIT else p.max_input,
                         "" if p.valid_from == EVER else p.valid_from.isoformat(),
                         "" if p.valid_to == NEVER else p.valid_to.isoformat(),
                         f"{p.price_usd.normalize():f}", p.date_basis))
    return out.getvalue()


@lru_cache(maxsize=1)
def prices() -> tuple[Price, ...]:
    """The figures that ship: `data/reference/prices/model-prices-<version>.csv`."""
    item = next(i for i in (files("costops.data") / "prices").iterdir() if i.name.startswith("model-prices-"))
    source = item.name.removesuffix(".csv").replace("model-prices-", "model-prices ")
    rows = csv.reader(io.StringIO(item.read_text(encoding="utf-8")))
    next(rows)
    return tuple(
        Price(provider, model, unit, Decimal(usd), 10**6, source, service_tier=tier, mode=mode, min_input=int(low),
              max_input=int(high) if high else NO_LIMIT, rank=RANK, date_basis=basis,
              valid_from=datetime.fromisoformat(start) if start else EVER,
              valid_to=datetime.fromisoformat(end) if end else NEVER)
        for provider, model, tier, mode, unit, low, high, start, end, usd, basis in rows
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
