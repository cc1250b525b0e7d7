"""What a bill teaches: prices that disagree with the book, and models, projects and usage that one side lacks.

Ranked by the money at stake, each with what to do about it.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from costops.reconcile.exact import USD, ZERO
from costops.transforms.window import month_window

SCHEMA: dict[str, pl.DataType] = {
    "kind": pl.String(), "scope": pl.String(), "provider": pl.String(), "model_id": pl.String(), "unit": pl.String(),
    "service_tier": pl.String(), "region": pl.String(), "subject": pl.String(), "first_day": pl.Date(),
    "last_day": pl.Date(), "lines": pl.Int64(), "book_usd_per_million": pl.Float64(),
    "billed_usd_per_million": pl.Float64(), "amount_usd": USD, "action": pl.String(),
}
FEWEST_LINES = 2
"""A price is learned from at least so many lines that agree; from one alone it is only reported."""
SOON_DAYS = 60
"""So long before its end an unused credit is told."""

_SKU = ("scope", "provider", "model_id", "unit", "tier", "region")


def learned(lines: pl.DataFrame, causes: pl.DataFrame, owners: pl.DataFrame,
            contracts: pl.DataFrame, month: str) -> pl.DataFrame:
    """Learnings of a month: `SCHEMA`, the costliest first.

    `kind`: `price` (the book's price is not the bill's), `unpriced_model`, `model_only_billed`, `model_only_logged`,
    `key_only_billed`, `key_only_logged`, `project_only_billed`, `project_only_logged` (`owners`, as
    `costops.reconcile.owners.one_sided` gives them), `model_name`, `unlogged_usage`; of contracts (`contracts` is
    `costops.reconcile.standing.SCHEMA`) `discount_not_granted`, `contract_differs`, `shortfall_due`, `credit_expired`,
    `credit_expires`, `throughput_unused`.
    """
    made = [_prices(lines, causes), *_models(lines), owners, _names(lines),
            _unlogged(causes, lines), _not_granted(lines, contracts), _of_contracts(contracts, lines, month)]
    told = pl.concat([frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in SCHEMA.items()) for frame in made])
    return told.sort(pl.col("amount_usd").abs(), "kind", "scope", "model_id", "unit", "subject",
                     descending=[True, *[False] * 5], nulls_last=True)


def _prices(lines: pl.DataFrame, causes: pl.DataFrame) -> pl.DataFrame:
    """The price that the bill implies per SKU, where it is not the book's."""
    of_price = causes.filter(pl.col("cause").is_in(["price_book", "price_change"])).select(
        "line_id", "cause", "cause_usd")
    met = lines.join(of_price, on="line_id").filter(pl.col("bought") > 0)
    unpriced = pl.col("unpriced") > 0
    found = met.group_by(*_SKU, "alt_price_id", _unpriced=unpriced).agg(
        first_day=pl.col("day").min(), last_day=pl.col("day").max(), lines=pl.len(),
        billed_usd_per_million=(pl.col("asked_n").sum() / pl.col("bought_n").sum() * 1e6).round_sig_figs(9),
        book_usd_per_million=(pl.col("expected_n").sum() / pl.col("bought_n").sum() * 1e6).round_sig_figs(9),
        amount_usd=pl.col("cause_usd").sum(), cause=pl.col("cause").min())
    since = pl.coalesce(pl.col("first_day").dt.to_string("%Y-%m-%d"), pl.lit("the start of the month"))
    price = pl.format("{} USD per million {} of {} from {}", "billed_usd_per_million", "unit", "model_id", since)
    action = (pl.when(pl.col("alt_price_id").is_not_null()).then(
        pl.lit("the book has this price at another date: check its valid_from against the provider's page"))
        .when((pl.col("lines") < FEWEST_LINES) & ~pl.col("_unpriced")).then(
            pl.lit("one line alone says so: wait for a second before correcting the book"))
        .otherwise(pl.lit("add to the price book: ") + price))
    return found.with_columns(
        kind=pl.when("_unpriced").then(pl.lit("unpriced_model")).otherwise(pl.lit("price")),
        service_tier=pl.col("tier"),
        book_usd_per_million=pl.when("_unpriced").then(None).otherwise(pl.col("book_usd_per_million")), action=action)


def _models(lines: pl.DataFrame) -> list[pl.DataFrame]:
    """Models that only the bill, or only the logs know in the whole month."""
    named = lines.filter(pl.col("model_id").is_not_null() & pl.col("unit").is_not_null())
    sides = named.group_by("scope", "model_id").agg(
        billed=pl.col("on_bill").any(), logged=pl.col("in_logs").any(), provider=pl.col("provider").min(),
        first_day=pl.col("day").min(), last_day=pl.col("day").max(), lines=pl.len(),
        bill=pl.col("billed_usd").sum(), cost=pl.col("computed_usd").sum(), _count=pl.col("logged").sum())
    only_billed = sides.filter(~pl.col("logged")).with_columns(
        kind=pl.lit("model_only_billed"), amount_usd=pl.col("bill"),
        action=pl.lit("no source logs this model: find out who calls it, and add its log as a source"))
    by_the_token = (pl.col("_count") != 0) | (pl.col("cost") != 0)
    only_logged = sides.filter(~pl.col("billed") & by_the_token).with_columns(
        kind=pl.lit("model_only_logged"), amount_usd=-pl.col("cost"),
        action=pl.lit("the bill does not know this model: is it billed by another name or issuer, or free?"))
    return [only_billed, only_logged]


def _names(lines: pl.DataFrame) -> pl.DataFrame:
    """Models that logs and bill call by different names."""
    renamed = lines.filter(pl.col("moved").fill_null("") == "model_mapping")
    return renamed.group_by("scope", "provider", "model_id", subject="logged_model").agg(
        first_day=pl.col("day").min(), last_day=pl.col("day").max(), lines=pl.len(),
        amount_usd=(pl.col("billed_usd") - pl.col("computed_usd")).sum()).with_columns(
        kind=pl.lit("model_name"), action=pl.format("logged as {}, billed as {}: state it as an alias, or correct the "
                                                    "model that is logged", "subject", "model_id"))


def _unlogged(causes: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Usage that is billed and not logged, by model."""
    missing = causes.filter((pl.col("cause") == "missing_usage") | (
        (pl.col("cause") == "quantity") & (pl.col("cause_usd") > 0))).select("line_id", "cause_usd")
    return lines.join(missing, on="line_id").group_by("scope", "provider", "model_id").agg(
        first_day=pl.col("day").min(), last_day=pl.col("day").max(), lines=pl.len(),
        amount_usd=pl.col("cause_usd").sum()).with_columns(
        kind=pl.lit("unlogged_usage"),
        action=pl.lit("billed, but not in any log: look for a gap in the export, retries, a playground, a direct key"))


def _not_granted(lines: pl.DataFrame, contracts: pl.DataFrame) -> pl.DataFrame:
    """Agreed discounts that the bill does not show, on its lines or as lines of their own: money to claim back."""
    short = contracts.filter((pl.col("kind") == "discount") & ~pl.col("as_agreed"))["contract"].to_list()
    owed = lines.filter(pl.col("contract").is_in(short) & pl.col("agreed_factor").is_not_null() & ~pl.col("granted")
                        & pl.col("factor").is_null() & pl.col("on_bill") & (pl.col("discount_usd") == ZERO))
    pct = (1 - pl.col("agreed_factor")).round(9).cast(pl.Decimal(38, 9))
    return owed.with_columns(_owed=(pl.col("list_usd").cast(pl.Decimal(38, 9)) * pct).cast(USD)).group_by(
        "scope", "provider", "model_id", subject="contract").agg(
        first_day=pl.col("day").min(), last_day=pl.col("day").max(), lines=pl.len(),
        amount_usd=pl.col("_owed").sum()).with_columns(
        kind=pl.lit("discount_not_granted"),
        action=pl.lit("the contract's discount is not on the bill: claim it from the issuer"))


def _of_contracts(contracts: pl.DataFrame, lines: pl.DataFrame, month: str) -> pl.DataFrame:
    """What commitments, credits and throughput ask for: a shortfall to accrue, money that expires, a bill that differs."""
    billed = pl.col("scope").is_in(lines.filter("on_bill")["scope"].unique().to_list())
    kind, shown, soon = pl.col("kind"), pl.col("billed_usd") != 0, month_window(month).end + timedelta(days=SOON_DAYS)
    asked = pl.col("billed_usd"), pl.col("expected_usd")
    cases: tuple[tuple[str, pl.Expr, pl.Expr, pl.Expr], ...] = (
        ("contract_differs", kind.is_in(["commitment", "credit", "provisioned"]) & ~pl.col("as_agreed") & (
            shown | (kind == "provisioned")) & billed, pl.col("difference_usd"),
         pl.format("the bill has {} USD, the contract makes it {}: ask the issuer", *(_short(one) for one in asked))),
        ("shortfall_due", (pl.col("shortfall_usd") > 0) & ~shown, pl.col("shortfall_usd"),
         pl.lit("the commitment's period ends undrawn, and the bill has no line for it yet: accrue it")),
        ("credit_expired", pl.col("expired_usd") > 0, pl.col("expired_usd"),
         pl.format("expired on {} without being used: book the loss", "period_end")),
        ("credit_expires", (kind == "credit") & (pl.col("remaining_usd") > 0) & (pl.col("period_end") <= soon),
         pl.col("remaining_usd"), pl.format("use it before {}", "period_end")),
        ("throughput_unused", (kind == "provisioned") & (pl.col("served_quantity") == 0), pl.col("expected_usd"),
         pl.lit("paid by the hour, and it served no logged token: release it, or send its deployment's log")),
    )
    found = [contracts.filter(when.fill_null(value=False)).select(
        "scope", "provider", "model_id", subject="contract", kind=pl.lit(name), amount_usd=amount.cast(USD), action=do)
        for name, when, amount, do in cases]
    return pl.concat(found)


def _short(amount: pl.Expr) -> pl.Expr:
    return amount.round(2).cast(pl.Decimal(38, 2)).cast(pl.String)
