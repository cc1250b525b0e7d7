"""Who bills what: the scope in which computed and billed lines meet, and the issuer's calendar.

A scope is one biller: all bills and all usage of a provider as a whole (`openai`, `aws`, `gcp` ...). Where a
configuration pairs a bill with its usage sources, that bill is a scope of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import polars as pl

from costops.transforms.billing.issuers import issuer_of
from costops.transforms.prices.models import region_scope
from costops.transforms.prices.providers import provider_name
from costops.transforms.window import month_window

CALENDARS: Mapping[str, str] = {"gcp": "America/Los_Angeles"}
"""Scopes whose invoice month is not the UTC month; Google's documentation of the billing export says Pacific."""


@dataclass(frozen=True)
class Pairing:
    """Which usage sources belong to which bill: bill source -> usage sources. Empty: by provider."""

    pairs: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def of_usage(self, source: str, provider: str | None) -> str:
        """The scope of a usage source's rows of a provider."""
        for bill, sources in self.pairs.items():
            if source in sources:
                return bill
        return issuer_of(provider)[0] or "unknown"

    def of_bill(self, source: str, provider: str | None, issuer: str | None) -> str:
        """The scope of a bill source's rows."""
        if source in self.pairs:
            return source
        told = provider if provider not in (None, "unknown") else issuer
        return issuer_of(told)[0] or "unknown"


def named(frame: pl.DataFrame, keys: Sequence[str], name: str, told: Mapping[tuple[str | None, ...], str | None]
          ) -> pl.DataFrame:
    """`frame` with a text column `name` looked up by the values of `keys`."""
    schema = dict.fromkeys([*keys, name], pl.String())
    known = pl.DataFrame([(*key, value) for key, value in told.items()], schema=schema, orient="row")
    return frame.join(known, on=list(keys), how="left", nulls_equal=True, maintain_order="left")


def month_span(month: str, zone: str = "UTC") -> tuple[datetime, datetime]:
    """The UTC instants at which a month begins and ends on a calendar."""
    window = month_window(month)

    def at(day: datetime) -> datetime:
        return day.astimezone(UTC).replace(tzinfo=None)

    return (at(datetime.combine(window.start, time(), ZoneInfo(zone))),
            at(datetime.combine(window.end, time(), ZoneInfo(zone))))


def region_of(provider: str | None, region: str | None) -> str:
    """The part of a region that decides a price, spelled alike for logs and bills."""
    return region_scope(provider_name(provider or ""), region)
