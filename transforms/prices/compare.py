"""Books and feeds against each other: where they disagree, what changed, whether an update may enter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl

from costops.transforms.prices import reviewed
from costops.transforms.prices.adopt import opinion
from costops.transforms.prices.book import aliases, build, overlaps
from costops.transforms.prices.entry import EVER, GLOBAL, NEVER, Price
from costops.transforms.prices.feeds import genai, litellm, model_prices
from costops.transforms.prices.feeds.listing import Listing
from costops.transforms.prices.models import catalogue

_SPOT = ("provider", "model_id", "region", "service_tier", "mode", "unit", "min_input", "in_schedule")

DECIDED, OPEN, NEW = "decided", "open", "new"


def at_instant(prices: Iterable[Price], at: datetime) -> pl.DataFrame:
    """What one feed says at an instant: one row per unit, dollars of a single unit.

    `seller` is who charges it where that is not the maker: a source that ends in `(seller)`.
    """
    rows = [(*_said(p), p.provider, p.model_id, p.region, p.service_tier, p.mode, p.unit, p.min_input, p.in_schedule,
             p.price_usd / p.per, p.note) for p in prices if p.valid_from <= at < p.valid_to]
    schema: dict[str, pl.DataType] = {
        "price_source": pl.String(), "seller": pl.String(),
        **dict.fromkeys(_SPOT[:6], pl.String()), "min_input": pl.Int64(), "in_schedule": pl.Boolean(),
        "usd_per_unit": pl.Decimal(38, 24), "note": pl.String()}
    return pl.DataFrame(rows, schema=schema, orient="row").unique(
        ["price_source", "seller", *_SPOT, "usd_per_unit"], keep="first", maintain_order=True)


def _said(price: Price) -> tuple[str, str]:
    source, _, seller = price.source.partition(" (")
    return source, seller.rstrip(")") or price.provider


def shipped_feeds(at: datetime) -> list[pl.DataFrame]:
    """What each shipped feed says at an instant, best first, under the model ids of the price lists."""
    dated = (*reviewed.prices(), *genai.prices())
    models = catalogue({(p.provider, p.model_id) for p in dated}, aliases())
    return [at_instant(feed, at) for feed in
            (reviewed.prices(), genai.prices(), litellm.aligned(litellm.prices(), models),
             litellm.aligned(model_prices.prices(), models))]


def taken_feeds(listings: Sequence[Listing], at: datetime) -> list[pl.DataFrame]:
    """What price catalogues say at an instant, under the model ids of the price lists; of each the last telling."""
    if not listings:
        return []
    dated = (*reviewed.prices(), *genai.prices())
    models = catalogue({(p.provider, p.model_id) for p in dated}, aliases())
    last = {listing.source: listing for listing in listings}
    return [at_instant(opinion(listing, models), at) for listing in last.values()]


def contested_dates(first: Sequence[Price], second: Sequence[Price], *, apart: timedelta = timedelta(days=1)
                    ) -> pl.DataFrame:
    """Changes to the same price that two feeds date more than `apart` from each other, widest first."""
    def changes(prices: Sequence[Price]) -> dict[tuple[str, ...], datetime]:
        return {(p.provider, p.model_id, p.service_tier, p.unit, str(p.min_input), f"{p.price_usd.normalize():f}"):
                p.valid_from for p in prices if p.valid_from > EVER and p.region == GLOBAL and not p.in_schedule}

    mine, theirs = changes(first), changes(second)
    rows = [(*spot[:4], spot[5], mine[spot], theirs[spot], (theirs[spot] - mine[spot]).total_seconds() / 86_400)
            for spot in sorted(mine.keys() & theirs.keys()) if abs(theirs[spot] - mine[spot]) > apart]
    schema: dict[str, pl.DataType] = {
        **dict.fromkeys(("provider", "model_id", "service_tier", "unit", "price_usd"), pl.String()),
        "applied_from": pl.Datetime("us"), "other_from": pl.Datetime("us"), "days_apart": pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row").sort(pl.col("days_apart").abs(), descending=True)


def check(feeds: Sequence[pl.DataFrame], usage: pl.DataFrame | None = None) -> pl.DataFrame:
    """Where feeds disagree on the same unit of the same model, dearest first by the money at stake.

    `feeds` in order of precedence (frames of `at_instant`); `usage` (provider, model_id, unit, quantity; provider is
    the seller) weighs each disagreement: `at_stake_usd` is NULL without it, and 0 for what is not used. A reseller's
    figure stands against the maker's list, which is what applies. `state`: `decided` where a reviewed price stands
    above, `open` where `data/reference` says why it is not decided, `new` where nobody has looked yet.
    """
    told = pl.concat([feed.with_columns(_rank=pl.lit(rank)) for rank, feed in enumerate(feeds)])
    resold = told.filter(pl.col("seller") != pl.col("provider")).select(*_SPOT, "seller").unique()
    lists = told.filter(pl.col("seller") == pl.col("provider"))
    both = pl.concat([told, lists.drop("seller").join(resold, on=list(_SPOT)).select(told.columns)])
    found = both.sort("_rank", "price_source", "usd_per_unit").group_by(*_SPOT, "seller", maintain_order=True).agg(
        low=pl.col("usd_per_unit").min(), high=pl.col("usd_per_unit").max(),
        applied_usd_per_unit=pl.col("usd_per_unit").first(), applied=pl.col("price_source").first(),
        says=pl.concat_str("price_source", pl.lit(" "), (pl.col("usd_per_unit").cast(pl.Float64) * 1e6).round(9)
                           .cast(pl.String)).unique(maintain_order=True).str.join("; "),
        note=pl.col("note").first(),
    ).filter((pl.col("high") - pl.col("low")) * 10**6 > pl.col("high"))  # a millionth is a matter of digits
    weighed = found.with_columns(quantity=pl.lit(None, dtype=pl.Int64)) if usage is None else found.join(
        usage.group_by(seller="provider", model_id="model_id", unit="unit").agg(pl.col("quantity").sum()),
        on=["seller", "model_id", "unit"], how="left").with_columns(pl.col("quantity").fill_null(0))
    return _marked(weighed.with_columns(
        at_stake_usd=((pl.col("high") - pl.col("low")).cast(pl.Float64) * pl.col("quantity")).round(6),
        spread=(pl.col("high").cast(pl.Float64) / pl.col("low").cast(pl.Float64) - 1).round(4),
    )).sort(["at_stake_usd", "spread", "seller", "model_id", "unit", "service_tier"],
            descending=[True, True, False, False, False, False], nulls_last=True)


def _marked(found: pl.DataFrame) -> pl.DataFrame:
    """The disagreements with their state and the reason that `data/reference` gives."""
    states, reasons = [], []
    for row in found.iter_rows(named=True):
        question = next((q for q in reviewed.questions() if q.about(row)), None)
        decided = row["applied"].startswith("reviewed") and row["seller"] == row["provider"]
        states.append(DECIDED if decided or (question and question.decided) else OPEN if question else NEW)
        reasons.append(row["note"] if decided else question.reason if question else None)
    return found.with_columns(state=pl.Series(states, dtype=pl.String), reason=pl.Series(reasons, dtype=pl.String)
                              ).drop("note")


def diff(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """What one book says and the other does not, per unit and window: `added`, `removed`, `changed`."""
    on = [*_SPOT, "schedule", "valid_from"]
    before, after = (
        book.filter(pl.col("retracted_at").is_null())
        .select(*on, "valid_to", "price_usd", "per", "price_source") for book in (old, new))
    both = before.join(after, on=on, how="full", suffix="_new", coalesce=True, nulls_equal=True)
    return both.with_columns(
        change=pl.when(pl.col("price_usd").is_null()).then(pl.lit("added"))
        .when(pl.col("price_usd_new").is_null()).then(pl.lit("removed"))
        .when((pl.col("price_usd") * pl.col("per_new") != pl.col("price_usd_new") * pl.col("per"))
              | (pl.col("valid_to") != pl.col("valid_to_new"))).then(pl.lit("changed")),
    ).filter(pl.col("change").is_not_null()).sort("change", *on)


def refusals(old: pl.DataFrame, new: pl.DataFrame, *, old_recorded: datetime | None = None,
             new_recorded: datetime | None = None, largest_jump: Decimal = Decimal(3),
             largest_loss: Decimal = Decimal("0.02")) -> list[str]:
    """Why a new book must not replace the old one without being told to; empty where it may.

    It shrinks, a price jumps by more than a factor, it is older than what it replaces, or it contradicts itself.
    """
    found = []
    if old_recorded and new_recorded and new_recorded < old_recorded:
        found.append(f"it was recorded at {new_recorded:%Y-%m-%d %H:%M}, before the book in use "
                     f"({old_recorded:%Y-%m-%d %H:%M})")
    spots = ["provider", "model_id"]
    had, has = (book.filter(pl.col("retracted_at").is_null()).select(spots).unique() for book in (old, new))
    gone = had.join(has, on=spots, how="anti").sort(spots)
    if gone.height > largest_loss * had.height:
        names = ", ".join(f"{p}/{m}" for p, m in gone.head(5).iter_rows())
        found.append(f"it lacks {gone.height} of {had.height} models that the book in use prices ({names} ...)")
    jumps = diff(old, new).filter((pl.col("change") == "changed") & (pl.col("price_usd") > 0)).with_columns(
        factor=(pl.col("price_usd_new").cast(pl.Float64) / pl.col("price_usd").cast(pl.Float64)
                * pl.col("per").cast(pl.Float64) / pl.col("per_new").cast(pl.Float64)))
    wild = jumps.filter((pl.col("factor") > float(largest_jump)) | (pl.col("factor") < 1 / float(largest_jump)))
    found += [f"{row['provider']}/{row['model_id']} {row['service_tier']} {row['unit']} goes from {row['price_usd']:f}"
              f" to {row['price_usd_new']:f} dollars from {row['valid_from']:%Y-%m-%d} on, a factor of"
              f" {row['factor']:.4g}" for row in wild.iter_rows(named=True)]
    clash = overlaps(new)
    if clash.height:
        row = clash.row(0, named=True)
        found.append(f"{row['provider']}/{row['model_id']} {row['unit']} has {clash.height} overlapping prices")
    return found


def record(old: pl.DataFrame, new: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The append-only book after an update: rows that hold on keep their date, gone ones end, new ones begin.

    A price that was given an end is another row. What is taken back at the instant it was recorded was never held true.
    """
    on = ["price_id", "unit", "price_source", "valid_to"]
    live = old.filter(pl.col("retracted_at").is_null())
    past = old.filter(pl.col("retracted_at").is_not_null())
    kept = live.join(new, on=on, how="semi")
    gone = live.join(new, on=on, how="anti").filter(pl.col("recorded_at") < at).with_columns(
        retracted_at=pl.lit(at, dtype=pl.Datetime("us")))
    fresh = new.join(live, on=on, how="anti").with_columns(recorded_at=pl.lit(at, dtype=pl.Datetime("us")))
    return pl.concat([past, kept, gone, fresh]).sort("provider", "model_id", "service_tier", "region", "price_id",
                                                      "unit", "recorded_at")


def ending(book: pl.DataFrame, at: datetime, *, days: int = 60) -> pl.DataFrame:
    """Prices that change within `days` of an instant, holiday calendars that end, promotions without an end date."""
    soon = at + timedelta(days=days)
    rows = book.filter(pl.col("retracted_at").is_null() & (pl.col("valid_to") > at) & (pl.col("valid_to") <= soon)
                       & (pl.col("valid_to") != NEVER))
    changes = rows.select("provider", "model_id", "service_tier", "region", "unit", "price_usd", "valid_to",
                          reason=pl.lit("price changes"))
    said = book.filter(
        pl.col("retracted_at").is_null() & (pl.col("valid_to") == NEVER) & (pl.col("unit") == "output")
        & (pl.col("service_tier") == "standard") & (pl.col("region") == "global")
        & pl.col("note").str.to_lowercase().str.contains("promotion|introductory|for the next|limited time"),
    ).unique("price_id", keep="first", maintain_order=True)
    promised = said.select("provider", "model_id", "service_tier", "region", "unit", "price_usd", "valid_to",
                           reason=pl.lit("a promotion is mentioned, no end is known"))
    watched = {(provider, model): until for provider, model, until, _ in reviewed.promotions() if until <= soon}
    ends_about = said_of(book, watched).select(*promised.columns)
    calendars = [(name, last) for name, last in calendar_ends().items()
                 if datetime(last.year, last.month, last.day) <= soon]  # noqa: DTZ001
    ends = pl.DataFrame([{"provider": "", "model_id": name, "service_tier": "", "region": "", "unit": "",
                          "valid_to": datetime(last.year, last.month, last.day),  # noqa: DTZ001
                          "reason": "a holiday calendar ends"} for name, last in calendars],
                        schema=promised.schema)
    return pl.concat([changes, promised, ends_about, ends]).sort("valid_to", "provider", "model_id", "unit")


def said_of(book: pl.DataFrame, watched: Mapping[tuple[str, str], datetime]) -> pl.DataFrame:
    """The standard output price of models whose promotion is watched, with its likely end as `valid_to`."""
    ends = pl.DataFrame([(*spot, until) for spot, until in watched.items()], orient="row", schema={
        "provider": pl.String, "model_id": pl.String, "valid_to": pl.Datetime("us")})
    rows = book.filter(pl.col("retracted_at").is_null() & (pl.col("valid_to") == NEVER) & (pl.col("min_input") == 0)
                       & (pl.col("unit") == "output") & (pl.col("service_tier") == "standard")
                       & (pl.col("region") == "global")).drop("valid_to")
    return rows.join(ends, on=["provider", "model_id"]).with_columns(
        reason=pl.lit("a promotion ends about then"))


def calendar_ends() -> dict[str, date]:
    """The last day that each holiday calendar knows."""
    return {name: max(days) for name, days in reviewed.holidays().items() if days}


def from_rows(rows: pl.DataFrame, *, recorded_at: datetime) -> pl.DataFrame:
    """A book of a user's own price rows (the columns of `core_price` that say what is priced, and `price_usd`).

    Absent columns take their defaults; anything else wrong is refused with its place.
    """
    names = set(rows.columns)
    optional = ("region", "service_tier", "mode", "schedule", "in_schedule", "minimum", "min_input", "max_input",
                "valid_from", "valid_to", "zone", "note")
    made = [Price(row["provider"], row["model_id"], row["unit"], Decimal(row["price_usd"]), int(row["per"]),
                  row.get("price_source") or "override",
                  **{name: row[name] for name in optional if name in names and row[name] is not None})
            for row in rows.iter_rows(named=True)]
    return build(made, recorded_at=recorded_at)


