"""`fx_rates` and `business_metrics`: reference data that a company gives with its bills."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl

from costops.transforms.billing.bill import Batch, BillFormat, Delivery, Options, Tally
from costops.transforms.billing.finding import Finding, findings
from costops.transforms.billing.plan import plan_by_time
from costops.transforms.billing.rows import col, damaged
from costops.transforms.billing.text import AMOUNT, Damaged, Sheet, amounts, instants, sheet_batches

FX_SCHEMA: dict[str, pl.DataType] = {
    "rate_date": pl.Date(), "base": pl.String(), "quote": pl.String(), "rate": AMOUNT, "source": pl.String(),
    "kind": pl.String(),
}
"""One base in quote: multiply an amount in `base` by `rate` to have it in `quote`. Never inverted."""

METRIC_SCHEMA: dict[str, pl.DataType] = {
    "day": pl.Date(), "keys": pl.String(), "metric": pl.String(), "value": AMOUNT,
}
"""`keys`: JSON object of the key columns, whichever the file has."""

_FX = {"rate_date": ("rate_date", "date", "day"), "base": ("base", "base_currency", "from"),
       "quote": ("quote", "quote_currency", "to"), "rate": ("rate", "value"), "source": ("source",),
       "kind": ("kind", "type")}


def read_fx(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """Rates by day; a rate that is no positive number, or a date that is none, is a finding."""
    yield from _read(delivery, options, "fx_rates", _fx, FX_SCHEMA)


def read_metrics(delivery: Delivery, options: Options) -> Iterator[Batch]:
    """Metrics by day and keys; a file of one metric per column is taken row by column."""
    yield from _read(delivery, options, "business_metrics", _metrics, METRIC_SCHEMA)


def _read(delivery: Delivery, options: Options, dataset: str, make: object,
          schema: dict[str, pl.DataType]) -> Iterator[Batch]:
    for item in delivery.inputs:
        sheet = Sheet()
        try:
            for text in sheet_batches(item.path, sheet, rename=str.strip, batch_bytes=options.batch_bytes):
                assert callable(make)  # noqa: S101  one of the two functions below
                rows, bad = make(text)
                wrong = rows.filter(bad)
                found = [Finding("bad_row", "error", item.uri, line, expected="a date and a number",
                                 mend="write dates as YYYY-MM-DD and numbers with a point")
                         for line in wrong["_line"].unique(maintain_order=True).to_list()]
                kept = text.height - len(found)
                yield Batch(rows.filter(~bad).select(pl.col(name).cast(kind) for name, kind in schema.items()),
                            findings(found, source=options.source, dataset=dataset),
                            Tally(item.uri, text.height, kept, 0, len(found)))
        except Damaged as why:
            made = damaged(item, options, str(why), dataset=dataset)
            yield Batch(pl.DataFrame(schema=schema), made.findings, made.tally)
        if sheet.bad:
            found = [Finding("bad_row", "error", item.uri, number - 1, excerpt=line,
                             expected="as many cells as the header") for number, line in sheet.bad]
            yield Batch(pl.DataFrame(schema=schema), findings(found, source=options.source, dataset=dataset),
                        Tally(item.uri, len(found), 0, 0, len(found)))


def _fx(text: pl.DataFrame) -> tuple[pl.DataFrame, pl.Expr]:
    rows = text.select("_line", **{ours: col(text, *names) for ours, names in _FX.items()})
    rows = rows.with_columns(
        instants(rows["rate_date"]).dt.date(), amounts(rows["rate"])[0],
        pl.col("base").str.to_uppercase(), pl.col("quote").str.to_uppercase())
    return rows, pl.any_horizontal(pl.col(name).is_null() for name in ("rate_date", "base", "quote", "rate")) | \
        (pl.col("rate") <= 0).fill_null(value=True)


def _metrics(text: pl.DataFrame) -> tuple[pl.DataFrame, pl.Expr]:
    day = next((name for name in ("day", "date", "ds") if name in text.columns), text.columns[0])
    if "metric" in text.columns and "value" in text.columns:
        keys = [name for name in text.columns if name not in (day, "metric", "value", "_line")]
        rows = text.select("_line", day=pl.col(day), metric=pl.col("metric"), value=pl.col("value"),
                           keys=_keys(text, keys))
    else:
        numeric = [name for name in text.columns if name not in (day, "_line")
                   and amounts(text[name])[0].is_not_null().all()]
        keys = [name for name in text.columns if name not in (day, "_line", *numeric)]
        rows = text.with_columns(keys=_keys(text, keys)).unpivot(
            numeric, index=["_line", day, "keys"], variable_name="metric", value_name="value").rename({day: "day"})
    rows = rows.with_columns(instants(rows["day"]).dt.date(), amounts(rows["value"])[0])
    return rows, pl.any_horizontal(pl.col(name).is_null() for name in ("day", "metric", "value"))


def _keys(text: pl.DataFrame, names: list[str]) -> pl.Series:
    told = [json.dumps({k: v for k, v in row.items() if v}, sort_keys=True) for row in
            text.select(names).iter_rows(named=True)] if names else ["{}"] * text.height
    return pl.Series("keys", told, dtype=pl.String)


FORMATS = (
    BillFormat("fx_rates", "fx_rates", "document", plan_by_time, read_fx),
    BillFormat("business_metrics", "business_metrics", "document", plan_by_time, read_metrics),
)
