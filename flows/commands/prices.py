"""`prices`: list, show, check, diff and update the price book."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from costops.flows.commands.show import emit
from costops.flows.runtime import clock
from costops.flows.runtime.settings import Settings, load
from costops.transforms.errors import Refused, Usage, nearest

SHOWN = ("provider", "model_id", "region", "service_tier", "mode", "unit", "price_usd", "per", "min_input",
         "valid_from", "valid_to", "price_source")


def main(args: argparse.Namespace) -> int:
    """One of the actions."""
    actions: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
        "list": _list, "show": _show, "check": _check, "diff": _diff, "update": _update}
    return actions[args.action](args, _settings(args))


def _settings(args: argparse.Namespace) -> Settings:
    """The configuration, or none: the shipped book can be read anywhere."""
    try:
        return load(args.config)
    except Usage:
        if args.config or args.action == "update":
            raise
        return Settings(home=Path.cwd())


def _book(settings: Settings) -> pl.DataFrame:
    from costops.flows.tasks.pricing import lake_book
    from costops.flows.tasks.run import open_lake

    with open_lake(settings, write=False) as lake:
        return lake_book(lake, settings)


def _at(args: argparse.Namespace) -> datetime:
    if not args.at:
        return clock.now().replace(tzinfo=None)
    try:
        moment = datetime.fromisoformat(args.at)
    except ValueError:
        raise Usage(f"--at {args.at!r}: write an ISO 8601 time, for example 2026-10-20T12:00Z.") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _list(args: argparse.Namespace, settings: Settings) -> int:
    at = _at(args)
    rows = _book(settings).filter(pl.col("retracted_at").is_null(), pl.col("valid_from") <= at, pl.col("valid_to") > at)
    if args.provider:
        known = set(rows["provider"])
        if args.provider not in known:
            raise Usage(f"--provider {args.provider!r} has no price in force; {nearest(args.provider, known)}")
        rows = rows.filter(pl.col("provider") == args.provider)
    if args.names:
        rows = rows.filter(pl.any_horizontal(pl.col("model_id").str.contains(name, literal=True) for name in args.names))
    emit(rows.select(SHOWN), args.format, title=f"Prices in force at {at:%Y-%m-%d %H:%M} UTC")
    return 0


def _show(args: argparse.Namespace, settings: Settings) -> int:
    from costops.transforms.prices.explain import explain

    if len(args.names) != 1:
        raise Usage("prices show takes one model, for example: cost-ops prices show gpt-5-mini.")
    rows = explain(_book(settings), args.names[0], _at(args), provider=args.provider, service_tier=None)
    title = f"{args.names[0]} at {_at(args):%Y-%m-%d %H:%M} UTC"
    if args.format != "table":
        emit(rows.select("path", *SHOWN, "note"), args.format)
    else:
        for path in rows["path"].unique(maintain_order=True):
            print(f"  {path}")
        emit(rows.filter(pl.col("price_id").is_not_null()).select(
            "provider", "service_tier", "region", "unit", "price_usd", "per", "min_input", "valid_from", "valid_to",
            "price_source"), "table", title=title, places=4)
    return 0 if rows["price_id"].is_not_null().any() else 1


def _check(args: argparse.Namespace, settings: Settings) -> int:
    from costops.transforms.prices.compare import check, ending, shipped_feeds

    at = _at(args)
    found = check([*shipped_feeds(at), *_taken(settings, at)], _usage(settings))
    shown = found.select("state", "seller", "model_id", "service_tier", "unit", "says", "at_stake_usd", "spread", "reason")
    if args.format == "table":
        used = shown.filter((pl.col("at_stake_usd") > 0) | (pl.col("state") == "new")).head(60)
        emit(used, "table", title=f"Where the feeds disagree: {shown.height} figures, those in use or not yet looked at")
        soon = ending(_book(settings), at)
        emit(soon, "table", title="Prices that end within 60 days")
    else:
        emit(shown, args.format)
    return 0


def _taken(settings: Settings, at: datetime) -> list[pl.DataFrame]:
    """What the catalogues that the lake took in say."""
    from costops.flows.tasks.price_feeds import accepted, listings
    from costops.flows.tasks.run import open_lake
    from costops.transforms.prices.compare import taken_feeds

    with open_lake(settings, write=False) as lake:
        return taken_feeds(listings(lake, accepted(lake)), at)


def _usage(settings: Settings) -> pl.DataFrame | None:
    """What the lake used, per unit, to weigh a disagreement by money."""
    from costops.flows.tasks.run import open_lake
    from costops.transforms.tables import OUT_SPEND_DAILY
    from costops.transforms.units import UNITS

    with open_lake(settings, write=False) as lake:
        daily = lake.read(OUT_SPEND_DAILY)
    if daily.is_empty():
        return None
    counts = {unit.column: unit.name for unit in UNITS if unit.column in daily.columns and unit.name != "request"}
    return daily.unpivot(list(counts), index=["provider", "model_id"], variable_name="unit", value_name="quantity"
                         ).with_columns(pl.col("unit").replace_strict(counts)).group_by(
        "provider", "model_id", "unit").agg(pl.col("quantity").sum())


def _diff(args: argparse.Namespace, settings: Settings) -> int:
    from costops.transforms.prices.compare import diff

    if len(args.names) != 2:
        raise Usage("prices diff takes two books: `lake`, `shipped`, or a Parquet file of core_price.")
    old, new = (_named(name, settings) for name in args.names)
    emit(diff(old, new), args.format, title=f"From {args.names[0]} to {args.names[1]}")
    return 0


def _named(name: str, settings: Settings) -> pl.DataFrame:
    from costops.transforms.prices.book import book

    if name == "shipped":
        return book()
    if name == "lake":
        return _book(settings)
    try:
        return pl.read_parquet(name)
    except (OSError, pl.exceptions.PolarsError):
        raise Usage(f"{name!r}: expected `lake`, `shipped`, or a Parquet file of core_price.") from None


def _update(args: argparse.Namespace, settings: Settings) -> int:
    """Take in a file, or the configured catalogues and what ships, unless the checks refuse them."""
    from costops.flows.tasks.pricing import take_catalogues, take_file, working_book
    from costops.flows.tasks.run import open_run

    with open_run(settings, stages=("price",)) as run:
        if args.feed:
            done = [take_file(run, Path(args.feed), force=args.force)]
        else:
            done = take_catalogues(run, force=args.force)
            if not done:
                print(f"the book is up to date: {working_book(run).height} rows", file=sys.stderr)
        for one in done:
            print(f"{one.says}: {one.added} rows recorded", file=sys.stderr)
            if one.unmapped:
                shown = "; ".join(one.unmapped[:5])
                print(f"  not understood, for example: {shown}", file=sys.stderr)
        refused = [f"{one.feed} is not taken in: {'; '.join(one.why[:20])}" for one in done if one.why]
        if refused and not args.force:
            raise Refused(f"{'. '.join(refused)}. --force takes it all the same.")
        return run.exit_code
