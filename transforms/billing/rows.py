"""From facts to rows of `core_billing`: every kind of bill ends here.

A kind gives a frame of text columns and the FOCUS columns that they stand for. Here text becomes exact amounts and
instants, what cannot be read becomes a finding, and what every bill has in common is filled in. Money is never
dropped for want of anything but the amount itself or the time it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b

import polars as pl

from costops.transforms.billing.bill import Batch, Input, Options, Tally
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.meaning import MAPPED, NOT_USAGE, OTHER_SERVICE
from costops.transforms.billing.text import AMOUNT, EXACT, NULLS, amounts, instants
from costops.transforms.check import conform
from costops.transforms.fields import Type
from costops.transforms.tables import CORE_BILLING

_KIND = {field.name: field.type for field in CORE_BILLING.fields}
_ESSENTIAL = ("BilledCost", "ChargePeriodStart", "BillingPeriodStart")
ID_LENGTH = 20
"""Hex digits of a row id that are the hash of its keys; what follows tells rows with the same keys apart."""

LARGEST = Decimal(10) ** 13
"""A quantity beyond this is not multiplied: the product would not fit DECIMAL(38,18)."""

MENDS = {
    "missing_amount": "ask the provider for the line again; it has no cost",
    "bad_amount": "the cost is no plain number that fits DECIMAL(38,18); export again without formatting",
    "missing_time": "the line tells no billing period and no time of use",
    "bad_time": "the time is in no form that is known; the row is kept at the start of its period",
    "amount_rounded": "more than 18 decimals, a float's tail: rounded, the difference is under `actual`",
    "missing_currency": "set `currency` for the source; until then the rows are in XXX and added to nothing",
    "bad_row": "the row has another number of cells than the header: quote text with commas or line breaks",
}


@dataclass(frozen=True)
class Place:
    """Where a frame of text rows came from, and what its kind says about it."""

    item: Input
    options: Options
    keys: Sequence[str]
    """Facts that tell one row from another in its bill: grouping keys, never amounts."""
    excerpt: Sequence[str] = ()
    """Text columns whose cells a finding may show; none: the first ten."""
    defaults: Mapping[str, str | None] = field(default_factory=dict)


def billed(text: pl.DataFrame, facts: Mapping[str, pl.Expr], place: Place, *, records: int | None = None) -> Batch:
    """The rows of a frame of text: `facts` gives a text expression for each FOCUS or `x_` column it knows.

    A row without a readable BilledCost, or without any time, is set aside. `_line` numbers the records; a kind may
    make several rows of one record. `records` is how many there were, if rows were left out before.
    """
    source, uri = place.options.source, place.item.uri
    rows = text.select(
        "_line", *(c for c in ("_block", "_counted", "_slug", "_row_id") if c in text.columns),
        *(made.alias(name) for name, made in facts.items()),
    ).with_row_index("_at")
    blank = pl.col("BilledCost").is_null() | (pl.col("BilledCost").cast(pl.String).str.strip_chars() == "")
    rows, found, cut = _typed(rows.with_columns(_blank=blank), uri)
    rows = _periods(rows)
    missing = pl.any_horizontal(pl.col(name).is_null() for name in _ESSENTIAL)
    aside = rows.filter(missing)
    found += _set_aside(aside, text, place)
    rows = rows.filter(~missing)
    rows, doubles = _identified(rows, place)
    rows = _filled(rows, place)
    found += _currency(rows, uri)
    if cut:
        found.append(Finding("amount_rounded", "warning", uri, field="BilledCost", expected="at most 18 decimals",
                             actual=f"{cut:f}", mend=MENDS["amount_rounded"]))
    bad = aside["_line"].n_unique() if aside.height else 0
    read = records if records is not None else text["_line"].n_unique()
    return Batch(conform(rows, CORE_BILLING), findings(found, source=source),
                 Tally(uri, read, read - bad - doubles, doubles, bad))


def bad_rows(bad: Sequence[tuple[int, str]], place: Place) -> Batch:
    """Rows of a CSV file with the wrong number of cells, as findings."""
    uri = place.item.uri
    found = [Finding("bad_row", "error", uri, number - 1, expected="as many cells as the header", excerpt=text,
                     mend=MENDS["bad_row"]) for number, text in bad]
    return Batch(CORE_BILLING_EMPTY, findings(found, source=place.options.source),
                 Tally(uri, len(bad), 0, 0, len(bad)))


MEANINGS: Mapping[str, pl.Expr] = {name: pl.col(name) for name in (
    "provider", "x_ModelId", "x_UnitName", "x_ServiceTier", "x_Region", "x_ContextTier", "x_MappingStatus",
    "SkuPriceDetails")}
"""The facts that `understand` has put beside the text."""


def price_id() -> pl.Expr:
    """SKU, tier, context and place of pricing: our SkuPriceId where the provider has none."""
    return pl.concat_str("_slug", "x_ServiceTier", "x_ContextTier", "x_Region", separator=":", ignore_nulls=True)


CORE_BILLING_EMPTY = pl.DataFrame(schema=CORE_BILLING.schema)


def damaged(item: Input, options: Options, why: str, *, dataset: str = "core_billing") -> Batch:
    """A file that cannot be read to its end: its delivery is incomplete."""
    found = Finding("damaged_file", "error", item.uri, expected="a whole file", actual=why[:200],
                    mend="fetch or export the file again; the last complete snapshot stays in force")
    return Batch(CORE_BILLING_EMPTY, findings([found], source=options.source, dataset=dataset),
                 Tally(item.uri, damaged=True))


def col(frame: pl.DataFrame, *names: str) -> pl.Expr:
    """The first of these text columns that has a value; NULL where the frame has none of them."""
    there = [pl.col(name).replace(dict.fromkeys(NULLS)) for name in names if name in frame.columns]
    return pl.coalesce(there) if there else pl.lit(None, dtype=pl.String)


def _typed(rows: pl.DataFrame, uri: str) -> tuple[pl.DataFrame, list[Finding], Decimal]:
    """Text columns cast to the table's types; a value that cannot be is NULL and, unless money, a warning."""
    found: list[Finding] = []
    cut = Decimal(0)
    made: list[pl.Series] = []
    for name in rows.columns:
        kind, column = _KIND.get(name), rows[name]
        if kind is None or column.dtype != pl.String or kind is Type.TEXT:
            if kind is Type.TEXT and column.dtype == pl.String:
                stripped = column.str.strip_chars()
                made.append(stripped.replace({"": None}) if name != "Tags" else column)
            continue
        column = column.str.strip_chars().replace({"": None})
        if kind is Type.USD_BILL:
            typed, lost = amounts(column)
            cut = EXACT.add(cut, lost) if name == "BilledCost" else cut
        elif kind is Type.INSTANT:
            typed = instants(column)
        elif kind is Type.DAY:
            typed = instants(column).cast(pl.Date)
        else:
            typed = column.cast(kind.polars, strict=False)
        wrong = (column.is_not_null() & typed.is_null()).arg_true().to_list()
        if name not in _ESSENTIAL:
            reason = "bad_time" if kind in (Type.INSTANT, Type.DAY) else "bad_amount"
            found += [Finding(reason, "warning", uri, rows["_line"][at], name, actual=column[at][:80],
                              expected="a UTC time" if reason == "bad_time" else "a number that fits",
                              mend=MENDS[reason]) for at in wrong]
        made.append(typed.rename(name))
    return rows.with_columns(made), found, cut


def _periods(rows: pl.DataFrame) -> pl.DataFrame:
    """Both periods of each row, each from the other where only one is told."""
    for name in ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"):
        if name not in rows.columns:
            rows = rows.with_columns(pl.lit(None, dtype=pl.Datetime("us")).alias(name))
    day_of = pl.coalesce("BillingPeriodStart", pl.col("ChargePeriodStart").dt.truncate("1mo"))
    rows = rows.with_columns(BillingPeriodStart=day_of).with_columns(
        BillingPeriodEnd=pl.coalesce("BillingPeriodEnd", pl.col("BillingPeriodStart").dt.offset_by("1mo")),
        ChargePeriodStart=pl.coalesce("ChargePeriodStart", "BillingPeriodStart"),
    )
    return rows.with_columns(ChargePeriodEnd=pl.coalesce("ChargePeriodEnd", "BillingPeriodEnd"))


def _set_aside(aside: pl.DataFrame, text: pl.DataFrame, place: Place) -> list[Finding]:
    if not aside.height:
        return []
    shown = list(place.excerpt) or [name for name in text.columns if not name.startswith("_")][:10]
    shown = [name for name in shown if name in text.columns]
    raw = dict(zip(text["_line"].to_list(), text.select(
        pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in shown], separator=",")
    ).to_series().to_list(), strict=True)) if shown else {}
    found = []
    for line, cost, start, blank in aside.select("_line", "BilledCost", "ChargePeriodStart", "_blank").iter_rows():
        told = raw.get(line, "")
        if cost is None:
            reason, name = "missing_amount" if blank else "bad_amount", "BilledCost"
        else:
            reason, name = "missing_time", "ChargePeriodStart"
        found.append(Finding(reason, "error", place.item.uri, line, name, expected="a number" if cost is None
                             else "a time", excerpt=told, mend=MENDS[reason], amount=cost,
                             day=start.date() if start else None))
    return found


def _identified(rows: pl.DataFrame, place: Place) -> tuple[pl.DataFrame, int]:
    """Rows with `x_SourceRowId`: a hash of the grouping keys, numbered where several rows share them.

    `_row_id`, where a kind gives it, is the provider's own: a second row with the same one is a duplicate.
    """
    height = rows.height
    if "_row_id" in rows.columns:
        rows = rows.filter(pl.col("_row_id").is_null() | pl.col("_row_id").is_first_distinct())
        if place.options.seen is not None:
            rows = rows.filter(~place.options.seen.again(rows["_row_id"]))
    keys = [name for name in place.keys if name in rows.columns]
    joined = rows.select(pl.concat_str(
        ["BillingPeriodStart", "ChargePeriodStart", *keys], separator="\x1f", ignore_nulls=True).alias("k"))["k"] \
        if rows.height else pl.Series("k", [], dtype=pl.String)
    ids = [blake2b(key.encode(), digest_size=ID_LENGTH // 2).hexdigest() for key in joined.to_list()]
    rows = rows.with_columns(pl.Series("x_SourceRowId", ids, dtype=pl.String))
    again = pl.int_range(pl.len()).over("x_SourceRowId")
    ordinal = again.cast(pl.String)
    return rows.with_columns(
        x_SourceRowId=pl.when(again == 0).then(pl.col("x_SourceRowId"))
        .otherwise(pl.col("x_SourceRowId") + "." + ordinal)), height - rows.height


def _filled(rows: pl.DataFrame, place: Place) -> pl.DataFrame:
    """What every bill has in common: quantities in single units, costs that the bill does not tell, names."""
    options = place.options
    for name, kind in _KIND.items():
        if name not in rows.columns:
            value = place.defaults.get(name)
            rows = rows.with_columns(pl.lit(value).cast(kind.polars).alias(name))
        elif place.defaults.get(name) is not None:
            rows = rows.with_columns(pl.col(name).fill_null(pl.lit(place.defaults[name]).cast(kind.polars)))
    rows = _quantities(rows)
    usage = pl.col("x_MappingStatus").is_in([MAPPED, "unmapped"])
    cost = pl.col("BilledCost")
    told = pl.col("ListCost").is_not_null()
    one_day = pl.col("ChargePeriodEnd") <= pl.col("ChargePeriodStart").dt.truncate("1d").dt.offset_by("1d")
    currency = pl.col("BillingCurrency").str.to_uppercase()
    return rows.with_columns(
        EffectiveCost=pl.coalesce("EffectiveCost", cost),
        ContractedCost=pl.coalesce("ContractedCost", cost),
        ListCost=pl.coalesce("ListCost", "ContractedCost", cost),
        x_ListCostBasis=pl.when(told).then(pl.lit("provider")).otherwise(pl.lit("assumed_billed")),
        BillingCurrency=pl.coalesce(currency, pl.lit(options.currency, dtype=pl.String), pl.lit("XXX")),
        BillingAccountId=pl.coalesce("BillingAccountId", pl.lit(options.account or "unknown")),
        **account_types(),
        InvoiceIssuerName=pl.coalesce(
            pl.lit(options.issuer, dtype=pl.String), "InvoiceIssuerName", pl.lit("unknown")),
        provider=pl.coalesce(pl.lit(options.provider, dtype=pl.String), "provider", pl.lit("unknown")),
        ServiceProviderName=pl.coalesce("ServiceProviderName", "InvoiceIssuerName", pl.lit("unknown")),
        ServiceName=pl.coalesce("ServiceName", pl.lit("unknown")),
        ServiceCategory=pl.coalesce(
            "ServiceCategory", pl.when(usage).then(pl.lit("AI and Machine Learning")).otherwise(pl.lit("Other"))),
        ServiceSubcategory=pl.coalesce(
            "ServiceSubcategory", pl.when(usage).then(pl.lit("Generative AI")).otherwise(
                pl.when(pl.col("ServiceCategory").fill_null("Other") == "Other").then(pl.lit("Other (Other)")))),
        ChargeCategory=pl.coalesce("ChargeCategory", pl.lit("Usage")),
        x_ChargeKind=pl.coalesce("x_ChargeKind", kind_of(pl.col("ChargeCategory").fill_null("Usage"))),
        x_MappingStatus=pl.coalesce("x_MappingStatus", pl.lit(OTHER_SERVICE)),
        x_CostBasis=pl.coalesce("x_CostBasis", pl.lit("provider_billed")),
        SkuPriceDetails=pl.when(pl.col("SkuPriceId").is_not_null()).then("SkuPriceDetails"),
        x_Day=pl.when(one_day).then(pl.col("ChargePeriodStart").dt.date()),
        x_BilledCostUsd=pl.coalesce("x_BilledCostUsd", pl.when(currency == "USD").then(cost)),
        x_AsOf=pl.lit(place.item.seen_at, dtype=pl.Datetime("us")),
        x_InputId=pl.lit(place.item.input_id), x_Line=pl.col("_line"), source=pl.lit(options.source),
        billing_period=pl.col("BillingPeriodStart").dt.offset_by("12h").dt.strftime("%Y-%m"),
        snapshot_id=pl.lit(""),
    )


def account_types() -> dict[str, pl.Expr]:
    """FOCUS's own words for the kinds of accounts where the bill has none: no account is without its kind."""
    return {"BillingAccountType": pl.col("BillingAccountType").fill_null("Billing Account"),
            "SubAccountType": pl.when(pl.col("SubAccountId").is_not_null()).then(
                pl.col("SubAccountType").fill_null("Sub Account"))}


def kind_of(category: pl.Expr) -> pl.Expr:
    """Our kind of charge of a FOCUS ChargeCategory."""
    names = {"Usage": "usage", "Purchase": "commitment_fee", "Tax": "tax", "Credit": "credit"}
    return category.replace_strict(names, default="adjustment", return_dtype=pl.String)


def _quantities(rows: pl.DataFrame) -> pl.DataFrame:
    """Single units from priced units and their block, wherever the unit is known.

    A count of single tokens without a price per unit is told per million, as every price list of models is.
    """
    if "_block" not in rows.columns:
        return rows
    bare = (pl.col("_block") == 1) & (pl.col("_counted") == "Tokens") & pl.col("ListUnitPrice").is_null() & \
        pl.col("ContractedUnitPrice").is_null() & pl.col("PricingQuantity").is_not_null()
    rows = rows.with_columns(
        ConsumedQuantity=pl.when(bare).then(pl.coalesce("ConsumedQuantity", "PricingQuantity"))
        .otherwise("ConsumedQuantity"),
        PricingQuantity=pl.when(bare).then(pl.col("PricingQuantity") / 1_000_000).otherwise("PricingQuantity"),
        _block=pl.when(bare).then(1_000_000).otherwise("_block"),
    )
    block = pl.col("_block").fill_null(1)
    small = pl.col("PricingQuantity").abs() < pl.lit(LARGEST).cast(AMOUNT)
    single = pl.when(pl.col("x_UnitName").is_not_null() & small).then(
        pl.when(small).then(pl.col("PricingQuantity")).otherwise(None) * block)
    many = (pl.col("x_MappingStatus") != NOT_USAGE) & pl.col("_counted").is_not_null() & \
        (pl.col("PricingQuantity").is_not_null() | pl.col("ConsumedQuantity").is_not_null())
    unit = pl.when(pl.col("_block").fill_null(1) == 1).then(pl.col("_counted")).otherwise(
        pl.col("_block").cast(pl.String) + " " + pl.col("_counted"))
    return rows.with_columns(
        ConsumedQuantity=pl.coalesce("ConsumedQuantity", single),
        ConsumedUnit=pl.when(many).then(pl.coalesce("_counted", "ConsumedUnit")).otherwise(pl.col("ConsumedUnit")),
        PricingUnit=pl.when(many).then(unit).otherwise(pl.col("PricingUnit")),
    )


def _currency(rows: pl.DataFrame, uri: str) -> list[Finding]:
    unknown = rows.filter(pl.col("BillingCurrency") == "XXX")
    if not unknown.height:
        return []
    return [Finding("missing_currency", "warning", uri, field="BillingCurrency", expected="an ISO 4217 code",
                    records=unknown.height, amount=Decimal(unknown["BilledCost"].sum()),
                    mend=MENDS["missing_currency"])]
