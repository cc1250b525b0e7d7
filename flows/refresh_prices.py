"""The price flow: the book as this version knows it, what is new in it, and the days that were without a price."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import polars as pl
from prefect import flow
from pydantic import Field

from costops.flows.runtime import clock
from costops.flows.runtime.settings import load
from costops.flows.tasks import show
from costops.flows.tasks import stages as do
from costops.flows.tasks.notify import announce
from costops.flows.tasks.outcome import finish
from costops.flows.tasks.pricing import take_catalogues
from costops.flows.tasks.reprice import reprice
from costops.flows.tasks.run import open_run
from costops.flows.tasks.spend import aggregate
from costops.transforms.prices.book import book
from costops.transforms.tables import CORE_PRICE
from costops.transforms.window import Window

_SHOWN = ("provider", "model_id", "service_tier", "unit", "price_usd", "per", "valid_from", "price_source")


@flow(name="refresh-prices", validate_parameters=True)
def refresh_prices(
    reprice_days: Annotated[int, Field(ge=0, le=400)] = 7,
    dry_run: bool = False,
    config: str = "",
) -> Any:
    """Take in the price book and price the last days again.

    Args:
        reprice_days: So many last days are priced again with the new book. 0: none.
        dry_run: Only show which prices are new and what the last days would cost. Nothing is written.
        config: Path of costops.toml on the worker. Empty: ./costops.toml, else what COSTOPS_CONFIG names.
    """
    window = Window(clock.today() - timedelta(days=reprice_days), clock.today() + timedelta(days=1))
    with open_run(load(config), window=window, stages=("price", "spend")) as run:
        before = run.lake.read(CORE_PRICE)
        if not dry_run:
            with run.stage("price"):
                for update in take_catalogues(run):
                    run.refusals += [f"{update.feed} was not taken in: {'; '.join(update.why[:5])}"] if update.why else []
                do.STEPS["price"](run)
        after = book() if dry_run else run.lake.read(CORE_PRICE).filter(pl.col("retracted_at").is_null())
        new = after.join(before, on=["price_id", "unit"], how="anti").select(_SHOWN)
        show.table(new, key="costops-new-prices", description="Prices that the lake did not know")
        if reprice_days:
            changes, days = reprice(run, reference=None, dry_run=dry_run)
            show.table(changes.filter(pl.col("difference_usd") != 0), key="costops-repriced",
                       description=f"What pricing {window} again changes")
            if not dry_run:
                run.touched_months |= {f"{day:%Y-%m}" for day in aggregate(run.lake, days)[0]}
        announce(run)
        outcome = finish(run)
    return show.ended(outcome)
