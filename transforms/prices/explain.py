"""Why a request costs what it costs: the path from a model id to the price rows that hold at an instant."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from costops.transforms.prices import reviewed
from costops.transforms.prices.cells import shelf_of, tier_entries
from costops.transforms.prices.models import Match
from costops.transforms.prices.providers import provider_name
from costops.transforms.prices.schedule import intervals

COLUMNS = ("asked", "path", "price_id", "provider", "model_id", "region", "service_tier", "mode", "unit",
           "price_usd", "per", "minimum", "min_input", "max_input", "schedule", "in_schedule", "valid_from", "valid_to",
           "date_basis", "price_source", "note")


def explain(book: pl.DataFrame, model_id: str, at: datetime, *, provider: str | None = None,
            service_tier: str | None = "standard", region: str | None = None,
            known_at: datetime | None = None) -> pl.DataFrame:
    """The price rows that hold for a model at an instant, each with the path that led to it.

    Without a provider, every provider that sells the model; without a tier, every tier that has prices of its own.
    Where nothing is found, one row whose path says how far the look-up came.
    """
    shelf = shelf_of(book, known_at=known_at)
    sellers = [provider_name(provider)] if provider else sorted(
        {seller for seller, _ in shelf.entries if shelf.models.find(seller, model_id, region).provider == seller})
    found: list[pl.DataFrame] = []
    for seller in sellers or ["any provider"]:
        match = shelf.models.find(seller, model_id, region)
        if match.provider is None:
            found.append(_nothing(model_id, match.path))
            continue
        mine = book.filter((pl.col("provider") == match.provider) & (pl.col("model_id") == match.model_id))
        tiers = [service_tier] if service_tier else sorted(
            mine["service_tier"].unique(), key=lambda name: (name != "standard", name))
        shown: set[str] = set()
        for tier in tiers:
            entries, how = tier_entries(shelf, seller, match, tier)
            live = {e.price_id for e in entries if e.start <= at < e.end and _now(e.schedule, e.in_schedule, at)}
            rows = mine.filter(pl.col("price_id").is_in(sorted(live - shown)))
            shown |= live
            if not rows.is_empty():
                found.append(rows.with_columns(asked=pl.lit(model_id), path=pl.lit(match.path + how)).select(COLUMNS))
        if not shown:
            found.append(_nothing(model_id, f"{match.path} > no price in force"))
    return pl.concat(found, how="diagonal_relaxed").select(COLUMNS) if found else _nothing(model_id, "not found")


def resolve(book: pl.DataFrame, provider: str, model_id: str, *, region: str | None = None) -> Match:
    """The entry of the price lists that a model id means, with the path taken."""
    return shelf_of(book).models.find(provider, model_id, region)


def _now(schedule: str, inside: bool, at: datetime) -> bool:
    if not schedule:
        return True
    spans = intervals(schedule, at, at + timedelta(microseconds=1), reviewed.holidays())
    return spans[0][2] is inside


def _nothing(model_id: str, path: str) -> pl.DataFrame:
    types: dict[str, pl.DataType] = {
        "price_usd": pl.Decimal(38, 18), "in_schedule": pl.Boolean(), "valid_from": pl.Datetime("us"),
        "valid_to": pl.Datetime("us"), **dict.fromkeys(("per", "minimum", "min_input", "max_input"), pl.Int64())}
    row = dict.fromkeys(COLUMNS) | {"asked": model_id, "path": path}
    return pl.DataFrame([row], schema={name: types.get(name, pl.String()) for name in COLUMNS})
