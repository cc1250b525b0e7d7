"""What if: the tokens that are expected, priced as the book will price them, and priced again after some changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import Settings
from costops.flows.tasks.changes import TOKENS, Change, sentence
from costops.flows.tasks.kept import read_model
from costops.flows.tasks.pricing import lake_book
from costops.flows.tasks.run import Run
from costops.flows.tasks.targets import publish_files
from costops.flows.tasks.watched import settled, yesterday
from costops.transforms.errors import Usage
from costops.transforms.money import PICO
from costops.transforms.reports.export import csv_bytes
from costops.transforms.tables import OUT_SPEND_DAILY

if TYPE_CHECKING:
    from costops.models.publishing import Fitted

OTHER = "other_usd"
"""What is neither input nor output text (searches, images, fees), in dollars."""

RECENT_DAYS = 28
"""Days over which paid prices are compared with the book's: long contexts, regions and hours make them differ."""

TOTAL = "total"
_KEYS = ("provider", "model_id", "tier", "unit")
_KEY = pl.concat_str("provider", "model_id", separator="\x1f")


@dataclass(frozen=True)
class Comparison:
    """Baseline, scenario and difference: per model with the total last, and per day."""

    by_model: pl.DataFrame
    by_day: pl.DataFrame
    notes: tuple[str, ...]


def what_if(lake: Lake, settings: Settings, changes: Sequence[Change], *, last: date, horizon: int,
            fitted: Fitted | None = None) -> Comparison:
    """Baseline, scenario and difference of the `horizon` days after the last known one, at list prices.

    The use of each model, taken apart into tiers and units, is forecast; each future day is priced with what the book
    says of it, announced changes included, times what was paid lately over what the book says of those days.
    """
    from costops.models import scenario

    daily = lake.read(OUT_SPEND_DAILY).filter(pl.col("day") <= last)
    if daily.is_empty():
        raise Usage("what-if: the lake has no spend yet; run `cost-ops run` first.")
    whole = settled(lake, settings.forecast.by, daily, today=last + timedelta(days=1), note=False).last
    used = _used(daily.filter(pl.col("day") <= whole))
    recent: date = used["day"].max()  # type: ignore[assignment]
    book = lake_book(lake, settings)
    days = [recent + timedelta(days=step) for step in range(1, horizon + 1)]
    shelf = _Prices(book, recent - timedelta(days=RECENT_DAYS - 1), days[-1])
    models = used.select("provider", "model_id").unique().sort("provider", "model_id")
    named = [_resolved(one, models, shelf) for one in changes]
    tiers = sorted({*used["tier"], *(["batch", "standard"] if any(one.kind == "batch" for one in named) else [])})
    asked = {(provider, model) for provider, model in models.iter_rows()} | {
        _split(one.to) for one in named if one.to is not None}
    prices = shelf.frame(sorted(asked), tiers)
    prices, lost = _as_paid(prices, used.filter(pl.col("day") > recent - timedelta(days=RECENT_DAYS)))
    used, notes = _priced_only(used, prices, lost)
    base, spread = _expected(used, prices, recent, horizon, fitted)
    volumes, changed = base, prices
    try:
        for one in named:
            volumes, changed = _applied(one, volumes, changed, days[0])
        before = scenario.cost(base, _completed(prices, base))
        after = scenario.cost(volumes, _completed(changed, volumes))
    except scenario.ScenarioError as error:
        raise Usage(f"what-if: {error}.") from None
    per_model = scenario.compare(before, after, by=("model_id",)).with_columns(
        pl.col("model_id").str.splitn("\x1f", 2).struct.rename_fields(["provider", "model"]).alias("_")).unnest("_")
    shown = per_model.select("provider", pl.col("model").alias("model_id"), "base_usd", "scenario_usd", "difference_usd")
    total = scenario.compare(before, after, by=()).select(
        pl.lit("total").alias("provider"), pl.lit("total").alias("model_id"), "base_usd", "scenario_usd", "difference_usd")
    by_model = shown.sort(pl.col("difference_usd").abs(), "provider", "model_id", descending=[True, False, False])
    rows = pl.concat([by_model, total]).with_columns(
        unique_id=pl.when(pl.col("provider") == TOTAL).then(pl.lit(TOTAL)).otherwise(_KEY))
    by_day = scenario.compare(before, after, by=("day",)).with_columns(unique_id=pl.col("day").cast(pl.String))
    return Comparison(_bounded(rows, spread), _bounded(by_day, spread), tuple(notes))


def _bounded(rows: pl.DataFrame, spread: pl.DataFrame) -> pl.DataFrame:
    """Rows with the 95 % interval of the scenario and of the difference: use may be more or less, prices are known.

    What was not used before has the interval of the total.
    """
    whole = spread.filter(pl.col("unique_id") == TOTAL).row(0, named=True)
    known = rows.join(spread, on="unique_id", how="left", maintain_order="left").with_columns(
        pl.col("below").fill_null(whole["below"]), pl.col("above").fill_null(whole["above"]))
    less, more = 1 - pl.col("below"), 1 + pl.col("above")
    moved = pl.col("difference_usd")
    return known.with_columns(
        scenario_low95_usd=pl.col("scenario_usd") * less, scenario_high95_usd=pl.col("scenario_usd") * more,
        difference_low95_usd=pl.min_horizontal(moved * less, moved * more),
        difference_high95_usd=pl.max_horizontal(moved * less, moved * more)).drop("unique_id", "below", "above")


# -- tokens -------------------------------------------------------------------------------------------------------

def _used(daily: pl.DataFrame) -> pl.DataFrame:
    """Units and what they cost per day, provider, model, tier and unit."""
    keys = ["day", "provider", "model_id", pl.col("service_tier").fill_null("standard").alias("tier")]
    known = daily.drop_nulls(["provider", "model_id"])
    blocks = [known.group_by(keys).agg(
        pl.lit(f"{name}_tokens").alias("unit"), pl.col(f"{name}_tokens").sum().cast(pl.Float64).alias("quantity"),
        pl.col(f"{name}_cost_usd").sum().cast(pl.Float64).alias("cost_usd")) for name in TOKENS]
    told = pl.sum_horizontal(pl.col(f"{name}_cost_usd").fill_null(0) for name in TOKENS)
    rest = (pl.col("list_cost_usd") - told).sum().cast(pl.Float64)
    blocks.append(known.group_by(keys).agg(
        pl.lit(OTHER).alias("unit"), rest.alias("quantity"), rest.alias("cost_usd")).filter(pl.col("quantity") > 1e-9))
    return pl.concat(blocks).filter(pl.col("quantity") > 0).sort("day", *_KEYS)


def _expected(used: pl.DataFrame, prices: pl.DataFrame, recent: date, horizon: int, fitted: Fitted | None
              ) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Units of each future day, in the columns of `models.scenario`; and how far each model, the total and each day
    of it may be off (unique_id, below, above).

    What each model would cost at today's prices is forecast, and taken apart into tiers and units as they were lately:
    prices change nothing of it, and a rare unit is not a series that nobody can forecast.
    """
    from costops.models.choice import Weights
    from costops.models.forecast import forecast
    from costops.models.intervals import Calibration
    from costops.models.publishing import Fitted as Learned
    from costops.models.scenario import bounds

    learned = fitted or Learned(horizon, None, None, Weights(), Calibration({}))
    now = _completed(prices, used.with_columns(unique_id=_KEY)).filter(pl.col("valid_from") <= recent).sort(
        "valid_from").group_by("model_id", "unit", "tier", maintain_order=True).last()
    valued = used.with_columns(unique_id=_KEY).join(
        now.select(pl.col("model_id").alias("unique_id"), "unit", "tier", "price_usd"), on=["unique_id", "unit", "tier"],
        how="left", maintain_order="left").with_columns(worth=pl.col("quantity") * pl.col("price_usd").fill_null(0.0))
    by_day = valued.group_by("unique_id", pl.col("day").alias("ds"), maintain_order=True).agg(
        pl.col("worth").sum().alias("y"))
    spans = by_day.group_by("unique_id", maintain_order=True).agg(pl.col("ds").min().alias("first"))
    grid = spans.with_columns(pl.date_ranges("first", pl.lit(recent)).alias("ds")).explode("ds").drop("first")
    panel = grid.join(by_day, on=["unique_id", "ds"], how="left").with_columns(pl.col("y").fill_null(0.0))
    together = panel.group_by("ds").agg(pl.col("y").sum()).select(pl.lit(TOTAL).alias("unique_id"), "ds", "y")
    panel = pl.concat([panel.select("unique_id", "ds", "y"), together])
    told = forecast(panel.sort("unique_id", "ds"), horizon=horizon, fitted=learned, with_backtest=False).forecasts
    by_day = told.filter(pl.col("unique_id") == TOTAL).with_columns(unique_id=pl.col("ds").cast(pl.String))
    spread = pl.concat([bounds(told, learned.dependence), bounds(by_day, learned.dependence)])
    ahead = told.filter(pl.col("unique_id") != TOTAL)
    lately = pl.col("day") > recent - timedelta(days=RECENT_DAYS)
    dated = valued.with_columns(_late=lately).with_columns(_any=pl.col("_late").any().over("unique_id"))
    mix = dated.filter(pl.col("_late") | ~pl.col("_any")).group_by("unique_id", "tier", "unit", maintain_order=True).agg(
        pl.col("quantity").sum(), pl.col("worth").sum())
    whole = pl.col("worth").sum().over("unique_id")
    per_dollar = mix.filter(whole > 0).with_columns(pl.col("quantity") / whole).drop("worth")
    units = ahead.select("unique_id", "ds", pl.col("mean").clip(0.0)).join(per_dollar, on="unique_id").select(
        pl.col("ds").alias("day"), pl.col("unique_id").alias("model_id"), "unit", "tier",
        (pl.col("quantity") * pl.col("mean")).alias("quantity")).sort("day", "model_id", "tier", "unit")
    return units, spread


# -- changes ------------------------------------------------------------------------------------------------------

def _resolved(one: Change, models: pl.DataFrame, shelf: _Prices) -> Change:
    """The change with its models as the lake knows them."""
    if one.model is None:
        return one
    source = _known(one.model, models)
    if one.to is None:
        return one.model_copy(update={"model": source})
    try:
        target = _known(one.to, models, prefer=_split(source)[0])
    except Usage:
        provider, _, model = one.to.partition("/")
        own = _split(source)[0]
        target = next((f"{a}\x1f{b}" for a, b in ((own, one.to), (provider, model)) if b and shelf.sells(a, b)), "")
        if not target:
            raise Usage(f"what-if: {one.to}: {own} does not sell it by the price book; write PROVIDER/MODEL.") from None
    return one.model_copy(update={"model": source, "to": target})


def _known(name: str, models: pl.DataFrame, *, prefer: str = "") -> str:
    """Provider and model of a name of the lake: the id alone, or PROVIDER/MODEL where several sell it."""
    full = pl.concat_str("provider", "model_id", separator="/")
    found = models.filter((pl.col("model_id") == name) | (full == name))
    mine = found.filter(pl.col("provider") == prefer)
    found = mine if mine.height == 1 else found
    if found.height == 1:
        return "\x1f".join(found.row(0))
    if found.is_empty():
        near = ", ".join(models["model_id"].unique().sort().head(12))
        raise Usage(f"what-if: {name}: no such model in the lake; known are {near}.")
    raise Usage(f"what-if: {name} is sold by {', '.join(found['provider'])}; write PROVIDER/MODEL.")


def _split(key: str) -> tuple[str, str]:
    provider, _, model = key.partition("\x1f")
    return provider, model


def _applied(one: Change, volumes: pl.DataFrame, prices: pl.DataFrame, first: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Volumes and prices after one change."""
    from costops.models import scenario

    share = (one.percent or 0.0) / 100
    if one.kind == "move":
        return scenario.move_traffic(
            volumes, source=str(one.model), target=str(one.to), share=share, start=one.start), prices
    if one.kind == "cache":
        return scenario.set_cache_rate(volumes, rate=share, model=one.model, start=one.start), prices
    if one.kind == "batch":
        sold = prices.filter(pl.col("tier") == scenario.BATCH)["model_id"].unique().to_list()
        for model in [one.model] if one.model else sorted(set(volumes["model_id"]) & set(sold)):
            volumes = scenario.set_batch_share(volumes, share=share, model=model, start=one.start)
        return volumes, prices
    if one.kind == "growth":
        return scenario.grow(volumes, factor=1 + share, model=one.model, start=one.start), prices
    start = max(one.start or first, first)
    if one.price_usd is not None:
        return volumes, scenario.change_price(prices, model=str(one.model), start=start, unit=f"{one.unit}_tokens",
                                              price=one.price_usd / 1e6)
    return volumes, scenario.change_price(prices, model=str(one.model), start=start, factor=1 + share)


# -- prices -------------------------------------------------------------------------------------------------------

class _Prices:
    """The book's price of a token of each model, tier and unit, from each day on which one changes."""

    def __init__(self, book: pl.DataFrame, first: date, last: date) -> None:
        from costops.transforms.prices.cells import shelf_of

        self.shelf = shelf_of(book)
        self.first, self.last = first, last

    def sells(self, provider: str, model: str) -> bool:
        """True where the book has a price of the model at this seller."""
        return bool(self._rows(provider, model, "standard"))

    def frame(self, models: Sequence[tuple[str, str]], tiers: Sequence[str]) -> pl.DataFrame:
        """In the columns of `models.scenario`: model_id (with its provider), unit, tier, valid_from, price_usd."""
        rows = [row for provider, model in models for tier in tiers for row in self._rows(provider, model, tier)]
        schema = {"model_id": pl.String, "unit": pl.String, "tier": pl.String, "valid_from": pl.Date,
                  "price_usd": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row").unique(
            ["model_id", "unit", "tier", "valid_from"], keep="first", maintain_order=True)

    def _rows(self, provider: str, model: str, tier: str) -> list[tuple[str, str, str, date, float]]:
        from costops.transforms.prices.cells import tier_entries
        from costops.transforms.prices.providers import provider_name

        seller = provider_name(provider)
        match = self.shelf.models.find(seller, model, None)
        if match.provider is None:
            return []
        entries, _ = tier_entries(self.shelf, seller, match, tier)
        edges = {self.first, *(moment.date() for one in entries for moment in (one.start, one.end)
                               if self.first < moment.date() <= self.last)}
        rows = []
        for day in sorted(edges):
            noon = datetime.combine(day, time(12))
            live = sorted((one for one in entries if one.start <= noon < one.end),
                          key=lambda one: (one.low, one.mode == "thinking", one.in_schedule, one.price_id))
            if not live:
                continue
            rates = {unit: top / bottom / PICO for unit, (top, bottom) in live[0].rates.items()}
            for name in TOKENS:
                # input that has no price of its own is billed as plain input
                rate = rates.get(name, None if name == "output" else rates.get("uncached_input"))
                if rate is not None:
                    rows.append((f"{provider}\x1f{model}", f"{name}_tokens", tier, day, rate))
        return rows


def _as_paid(prices: pl.DataFrame, used: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prices times what was paid lately over what the book says; and the units that were used without a price."""
    keyed = used.filter(pl.col("unit") != OTHER).with_columns(
        model_id=_KEY)
    told = keyed.sort("day").join_asof(
        prices.sort("valid_from"), left_on="day", right_on="valid_from", by=["model_id", "unit", "tier"],
        check_sortedness=False)
    ratio = told.drop_nulls("price_usd").group_by("model_id", "unit", "tier").agg(
        (pl.col("cost_usd").sum() / (pl.col("quantity") * pl.col("price_usd")).sum()).alias("ratio"))
    near = pl.col("ratio").is_finite() & (pl.col("ratio") > 0) & ((pl.col("ratio") - 1).abs() > 1e-6)
    paid = prices.join(ratio.filter(near), on=["model_id", "unit", "tier"], how="left", maintain_order="left")
    return paid.with_columns(pl.col("price_usd") * pl.col("ratio").fill_null(1.0)).drop("ratio"), told


def _priced_only(used: pl.DataFrame, prices: pl.DataFrame, told: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Usage that has a price; the rest is named."""
    keyed = used.with_columns(_key=_KEY)
    known = prices.select(pl.col("model_id").alias("_key"), "unit", "tier").unique()
    other = pl.col("unit") == OTHER
    kept = pl.concat([keyed.filter(other), keyed.filter(~other).join(known, on=["_key", "unit", "tier"], how="semi")])
    lost = told.filter(pl.col("price_usd").is_null()).select("model_id", "tier").unique().sort("model_id", "tier")
    notes = [f"{' '.join(_split(model))} ({tier}): no price in the book; left out of both sides"
             for model, tier in lost.iter_rows()]
    return kept.drop("_key").sort("day", *_KEYS), notes


def _completed(prices: pl.DataFrame, volumes: pl.DataFrame) -> pl.DataFrame:
    """Prices with one dollar for each dollar of what is priced otherwise."""
    name = "unique_id" if "unique_id" in volumes.columns else "model_id"
    other = volumes.filter(pl.col("unit") == OTHER).select(pl.col(name).alias("model_id"), "unit", "tier").unique()
    if other.is_empty():
        return prices
    first = prices["valid_from"].min()
    return pl.concat([prices, other.with_columns(valid_from=pl.lit(first, pl.Date), price_usd=pl.lit(1.0))])


def publish_what_if(run: Run, sentences: Sequence[str]) -> None:
    """The scenario of a flow's parameter, put out as `what-if/<day>/` beside the nightly reports."""
    told = what_if(run.lake, run.settings, [sentence(one) for one in sentences], last=yesterday(run),
                   horizon=run.settings.forecast.horizon_days, fitted=read_model(run.lake))
    for note in told.notes:
        LOGGER.info("what-if: %s", note)
    whole = told.by_model.row(-1, named=True)
    LOGGER.warning("what-if %s: %.2f USD, %+.2f USD against the baseline of %.2f USD in %d days", "; ".join(sentences),
                   whole["scenario_usd"], whole["difference_usd"], whole["base_usd"], told.by_day.height)
    files = {"by_model.csv": csv_bytes(told.by_model), "by_day.csv": csv_bytes(told.by_day),
             "changes.txt": ("\n".join(sentences) + "\n").encode()}
    publish_files(run.settings, files, run, folder=f"what-if/{run.now.date()}", latest=False)
