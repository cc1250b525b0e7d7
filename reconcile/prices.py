"""What the price book says for lines of a bill: the price in force, and the other prices of the same model.

Prices are whole fractions of pico-dollars per single unit: `top` / `bottom`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from costops.reconcile.scope import month_span
from costops.transforms.prices.cells import price_cells, shelf_of
from costops.transforms.prices.models import Catalogue
from costops.transforms.prices.providers import provider_name
from costops.transforms.units import UNITS

PRICE_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(), "model_id": pl.String(), "tier": pl.String(), "region": pl.String(),
    "unit": pl.String(), "price_from": pl.Datetime("us"), "price_to": pl.Datetime("us"),
    "top": pl.Int64(), "bottom": pl.Int64(), "book_price_id": pl.String(),
}
OTHER_SCHEMA: dict[str, pl.DataType] = {
    "provider": pl.String(), "model_id": pl.String(), "unit": pl.String(), "alt_tier": pl.String(),
    "alt_region": pl.String(), "alt_from": pl.Datetime("us"), "alt_to": pl.Datetime("us"), "alt_low": pl.Int64(),
    "alt_usd": pl.Float64(), "alt_price_id": pl.String(),
}
_KEYS = ("provider", "model_id", "tier", "region")


def catalogue_of(book: pl.DataFrame) -> Catalogue:
    """The models of a book by every spelling."""
    return shelf_of(book).models


def prices_in_force(lines: pl.DataFrame, book: pl.DataFrame, month: str) -> pl.DataFrame:
    """`lines` with `top`, `bottom` and `book_price_id` of the price that the book has for their own key and day.

    NULL where the book has none. A line without a tier is looked up as standard, one without a day on the first
    of the month; of prices by context the one for the shortest.
    """
    keys = lines.select(_KEYS).unique().drop_nulls("model_id").sort(_KEYS, nulls_last=True)
    start, end = month_span(month)
    asked = keys.select(
        "provider", "model_id", service_tier=pl.col("tier").fill_null("standard"), region="region",
        account_id=pl.lit(None, dtype=pl.String), first_used_at=pl.lit(start - timedelta(days=40)),
        last_used_at=pl.lit(end + timedelta(days=2)))
    cells = price_cells(asked.unique(maintain_order=True), book).filter(
        pl.col("price_status").is_in(["priced", "free"]) & pl.col("max_input").ge(1))
    if not cells.height:
        return lines.with_columns(top=pl.lit(None, dtype=pl.Int64), bottom=pl.lit(None, dtype=pl.Int64),
                                  book_price_id=pl.lit(None, dtype=pl.String))
    shortest = cells.sort("min_input", "min_reasoning").unique(
        ["provider", "model_id", "service_tier", "region", "used_from"], keep="first", maintain_order=True)
    known = shortest.unpivot(
        [f"n_{u.name}" for u in UNITS], index=["provider", "model_id", "service_tier", "region", "used_from", "used_to",
                                               "den", "price_id"],
        variable_name="unit", value_name="top").drop_nulls("top").select(
        "provider", "model_id", "service_tier", "region", unit=pl.col("unit").str.slice(2), price_from="used_from",
        price_to="used_to", top="top", bottom="den", book_price_id="price_id")
    at = pl.col("day").fill_null(start.date()).cast(pl.Datetime("us")).dt.offset_by("12h")
    wanted = lines.select("line_id", "provider", "model_id", "region", "unit", at=at,
                          service_tier=pl.col("tier").fill_null("standard"))
    met = wanted.join(known, on=["provider", "model_id", "service_tier", "region", "unit"], nulls_equal=True).filter(
        (pl.col("at") >= pl.col("price_from")) & (pl.col("at") < pl.col("price_to"))).unique("line_id", keep="first")
    return lines.join(met.select("line_id", "top", "bottom", "book_price_id"), on="line_id", how="left",
                      maintain_order="left")


def other_prices(lines: pl.DataFrame, book: pl.DataFrame) -> pl.DataFrame:
    """Every price of the models of `lines`, whatever tier, region, time or context: `OTHER_SCHEMA`.

    As floats: they are compared with the bill, no amount is made of them.
    """
    shelf = shelf_of(book)
    rows: list[tuple[str | None, str | None, str, str, str, datetime, datetime, int, float, str]] = []
    for provider, model in lines.select("provider", "model_id").unique().sort(pl.all()).rows():
        if model is None:
            continue
        match = shelf.models.find(provider_name(provider or ""), model)
        if match.provider is None:
            continue
        for (region, tier), entries in shelf.entries[match.provider, match.model_id].items():
            for entry in entries:
                rows += [(provider, model, unit, tier, region, entry.start, entry.end, entry.low, top / bottom / 1e12,
                          entry.price_id) for unit, (top, bottom) in entry.rates.items()]
    return pl.DataFrame(rows, schema=OTHER_SCHEMA, orient="row").unique(
        ["provider", "model_id", "unit", "alt_tier", "alt_region", "alt_from", "alt_low", "alt_usd"],
        maintain_order=True)
