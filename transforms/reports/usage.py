"""Report sections about how the models were used: prompt cache, service tiers, usage without a price."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.charts import share_days
from costops.transforms.reports.figures import (
    between,
    count,
    day_text,
    days_text,
    digits_for,
    exact,
    money,
    percent,
    plural,
    ratio,
    short,
)
from costops.transforms.reports.nightly_data import NightlyData, Part, records
from costops.transforms.reports.page import (
    Card,
    Cards,
    Cell,
    Chart,
    Column,
    Fields,
    Note,
    Section,
    Table,
    Trace,
    count_cell,
    money_cell,
    share_cell,
    text_cell,
)
from costops.transforms.reports.plain_tables import frame_table
from costops.transforms.reports.spending import WINDOW
from costops.transforms.reports.totals import ZERO, high_of, last_days, measured, measures

_MOST_ROWS = 15
_WRITES = ("cache_write_5m", "cache_write_1h")
_PICO = Decimal("1e-12")


def cache(data: NightlyData) -> Part:
    """What the prompt cache was used for, what it cost and what it saved."""
    period = last_days(data.day, WINDOW)
    spend = period.of(data.spend_daily)
    rows = _saved(spend)
    total = _sum(rows)
    lead = (f"{period.text}. Saved is what cached input would have cost as uncached input of the same model, tier "
            "and day, less what reading and writing the cache cost.")
    cards = Cards((
        Card("Input read from cache", percent(ratio(total["cache_read_tokens"], total["input_tokens"])),
             note=f"{short(total['cache_read_tokens'])} of {short(total['input_tokens'])} input tokens"),
        Card("Saved by the cache", money(total["saved_usd"], symbol="$"), exact=exact(total["saved_usd"]),
             tone="good" if total["saved_usd"] > 0 else "",
             note="reads at a lower price, less the premium on writes"),
        Card("Cost of reads", money(total["read_cost_usd"], symbol="$"), exact=exact(total["read_cost_usd"]),
             note="part of the spend above"),
        Card("Cost of writes", money(total["write_cost_usd"], symbol="$"), exact=exact(total["write_cost_usd"]),
             note=f"{short(total['write_tokens'])} tokens written"),
    ))
    daily = measures(spend, ["day"]).sort("day")
    shares = [(row["day"], ratio(row["cache_read_tokens"], row["input_tokens"]))
              for row in daily.iter_rows(named=True)]
    chart = Chart("cache", "Share of input tokens read from cache, per day",
                  f"Line of the daily share of input read from cache, {period.text}.",
                  share_days(shares, title="Read from cache"),
                  Table("Share of input read from cache, per day",
                        (Column("Day", "day"), Column("Read from cache", "number")),
                        tuple((Cell(day_text(day)), Cell(percent(share))) for day, share in reversed(shares))))
    used = [row for row in rows if row["cache_read_tokens"] or row["write_tokens"]]
    digits = digits_for((total["saved_usd"], total["read_cost_usd"], total["write_cost_usd"]))
    table = Table(
        f"Prompt cache by model, {period.text}",
        (Column("Model"), Column("Input tokens", "number"), Column("Read from cache", "bar"),
         Column("Reads (USD)", "number"), Column("Writes (USD)", "number"), Column("Saved (USD)", "number")),
        tuple((text_cell(row["model_id"], sub=str(row["provider"])), count_cell(row["input_tokens"], brief=True),
               share_cell(ratio(row["cache_read_tokens"], row["input_tokens"])),
               money_cell(row["read_cost_usd"], digits=digits), money_cell(row["write_cost_usd"], digits=digits),
               money_cell(row["saved_usd"], digits=digits, tone="good" if row["saved_usd"] > 0 else ""))
              for row in used[:_MOST_ROWS]),
        foot=(Cell("Total"), count_cell(total["input_tokens"], brief=True),
              share_cell(ratio(total["cache_read_tokens"], total["input_tokens"])),
              money_cell(total["read_cost_usd"], digits=digits), money_cell(total["write_cost_usd"], digits=digits),
              money_cell(total["saved_usd"], digits=digits)),
        note=_hint(rows, used), empty="No model used a prompt cache in these days.")
    sql = ("SELECT provider, model_id, sum(cache_read_tokens) AS read_tokens, sum(input_tokens) AS input_tokens,\n"
           "    sum(cache_read_cost_usd) AS read_cost_usd,\n"
           "    sum(cache_write_5m_cost_usd) AS write_5m_usd, sum(cache_write_1h_cost_usd) AS write_1h_usd\n"
           f"FROM out_spend_daily\nWHERE {period.sql}\nGROUP BY provider, model_id;")
    section = Section("cache", "Prompt cache", lead, (cards, chart, table), (Trace("out_spend_daily", sql),))
    return Part("cache", section, {"total": total, "by_model": rows,
                                   "by_day": [{"day": day, "read_share": share} for day, share in shares]})


def _hint(rows: list[dict[str, Any]], used: list[dict[str, Any]]) -> str:
    unknown = sum(row["unvalued_tokens"] for row in rows)
    parts = []
    if len(used) > _MOST_ROWS:
        parts.append(f"{plural(len(used) - _MOST_ROWS, 'model')} more in report.json.")
    if unknown:
        parts.append(f"{count(unknown)} cached tokens have no uncached price to compare with; they save nothing here.")
    return " ".join(parts)


def _saved(spend: pl.DataFrame) -> list[dict[str, Any]]:
    """Cache figures per provider and model, the most saved first."""
    wide = {tuple(row[name] for name in ("provider", "model_id", "service_tier")): _price(row)
            for row in measures(spend, ["provider", "model_id", "service_tier"]).iter_rows(named=True)}
    out: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in measures(spend, ["provider", "model_id", "service_tier", "day"]).iter_rows(named=True):
        kind = (row["provider"], row["model_id"])
        into = out.setdefault(kind, {"provider": kind[0], "model_id": kind[1], **_NOTHING})
        price = _price(row) or wide[(*kind, row["service_tier"])]
        written = sum(row[f"{name}_tokens"] or 0 for name in _WRITES)
        paid = sum((row[f"{name}_cost_usd"] or ZERO for name in _WRITES), ZERO)
        read, read_paid = row["cache_read_tokens"] or 0, row["cache_read_cost_usd"] or ZERO
        into["input_tokens"] += row["input_tokens"] or 0
        into["cache_read_tokens"] += read
        into["write_tokens"] += written
        into["read_cost_usd"] += read_paid
        into["write_cost_usd"] += paid
        if price is None:
            into["unvalued_tokens"] += read + written
        elif read_paid or paid:
            into["saved_usd"] += ((read + written) * price - read_paid - paid).quantize(_PICO, ROUND_HALF_EVEN)
    return sorted(out.values(), key=lambda row: (-row["saved_usd"], -row["cache_read_tokens"],
                                                 str(row["provider"]), str(row["model_id"])))


_NOTHING: dict[str, Any] = {"input_tokens": 0, "cache_read_tokens": 0, "write_tokens": 0, "read_cost_usd": ZERO,
                            "write_cost_usd": ZERO, "saved_usd": ZERO, "unvalued_tokens": 0}


def _sum(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: sum((row[name] for row in rows), start) for name, start in _NOTHING.items()}


def _price(row: dict[str, Any]) -> Decimal | None:
    """What one uncached input token cost on average."""
    tokens, cost = row["uncached_input_tokens"], row["uncached_input_cost_usd"]
    return cost / tokens if tokens and cost else None


def tiers(data: NightlyData) -> Part:
    """Standard, batch, flex, priority: how much went where, at what unit cost."""
    period = last_days(data.day, WINDOW)
    frame = measures(period.of(data.spend_daily), ["service_tier"])
    total = measured(data.spend_daily, period)
    digits = digits_for((total["cost_usd"],))
    rows, figures = [], []
    for row in frame.iter_rows(named=True):
        tokens = row["input_tokens"] + row["output_tokens"]
        unit = row["cost_usd"] * 1_000_000 / tokens if tokens else None
        rows.append((text_cell(row["service_tier"]), money_cell(row["cost_usd"], digits=digits),
                     share_cell(ratio(row["cost_usd"], total["cost_usd"])), count_cell(row["requests"]),
                     count_cell(tokens, brief=True), money_cell(unit)))
        figures.append({"service_tier": row["service_tier"], "cost_usd": row["cost_usd"],
                        "requests": row["requests"], "tokens": tokens, "cost_per_million_tokens_usd": unit})
    table = Table(f"Spend by service tier, {period.text}",
                  (Column("Tier"), Column("Cost (USD)", "number"), Column("Share", "bar"),
                   Column("Requests", "number"), Column("Tokens", "number"), Column("Per million tokens", "number")),
                  tuple(rows), empty="No usage in these days.")
    sql = ("SELECT service_tier, sum(effective_cost_usd) AS cost_usd, sum(requests) AS requests,\n"
           f"    sum(input_tokens + output_tokens) AS tokens\nFROM out_spend_daily\nWHERE {period.sql}\n"
           "GROUP BY service_tier ORDER BY cost_usd DESC;")
    return Part("service_tiers", Section("tiers", "Service tiers", f"{period.text}. The tier that served the request.",
                                         (table,), (Trace("out_spend_daily", sql),)), figures)


def unpriced(data: NightlyData) -> Part:
    """Usage without a price: never counted as zero, but bounded by what its siblings cost."""
    period = last_days(data.day, WINDOW)
    spend = period.of(data.spend_daily).filter(pl.col("unpriced_requests") > 0)
    keys = ["provider", "model_id"]
    frame = measures(spend, keys).sort("unpriced_high_usd", *keys, descending=[True, False, False], nulls_last=True)
    seen = {(row[0], row[1]): row[2:] for row in
            spend.group_by(keys).agg(pl.col("day").min().alias("a"), pl.col("day").max().alias("b")).iter_rows()}
    rows, figures = [], []
    digits = digits_for(frame["unpriced_high_usd"])
    for row in frame.iter_rows(named=True):
        low, high, days = row["unpriced_low_usd"], high_of(row), seen[(row["provider"], row["model_id"])]
        rows.append((text_cell(row["model_id"], missing="(no model)", sub=str(row["provider"])),
                     count_cell(row["unpriced_requests"]), count_cell(row["input_tokens"], brief=True),
                     count_cell(row["output_tokens"], brief=True), money_cell(low, digits=digits),
                     Cell("no bound") if high is None else money_cell(high, digits=digits), Cell(days_text(*days))))
        figures.append({**{name: row[name] for name in (*keys, "unpriced_requests", "input_tokens", "output_tokens")},
                        "unpriced_low_usd": low, "unpriced_high_usd": high, "first": days[0], "last": days[1]})
    table = Table(f"Usage without a price, {period.text}",
                  (Column("Model"), Column("Requests", "number"), Column("Input tokens", "number"),
                   Column("Output tokens", "number"), Column("At least (USD)", "number"),
                   Column("At most (USD)", "number"), Column("Seen", "day")), tuple(rows))
    blocks: tuple[Any, ...] = (Note("Every request of these days has a price.", "good"),)
    if rows:
        whole = measured(data.spend_daily, period)
        text = (f"Between them {between(whole['unpriced_low_usd'], high_of(whole), digits=digits)}. To price them, add "
                "the model to the price book (data/reference or the configuration) and run cost-ops reprice.")
        blocks = (table, Note(text, "warn"))
    lead = (f"{period.text}. No price is known for these models, so they are in no total. The bounds are what the same "
            "tokens cost at the cheapest and the dearest known sibling.")
    sql = ("SELECT provider, model_id, sum(unpriced_requests) AS requests, sum(unpriced_low_usd) AS at_least_usd,\n"
           f"    sum(unpriced_high_usd) AS at_most_usd\nFROM out_spend_daily\nWHERE {period.sql}\n"
           "    AND unpriced_requests > 0\nGROUP BY provider, model_id;")
    return Part("unpriced", Section("unpriced", "Usage without a price", lead, blocks,
                                    (Trace("out_spend_daily", sql),)), figures)


def price_sources(data: NightlyData) -> Part | None:
    """Which lists the prices came from."""
    if data.price_sources is None and not data.price_book:
        return None
    blocks: list[Any] = []
    if data.price_sources is not None:
        blocks.append(frame_table(data.price_sources, "Price sources used"))
    if data.price_book:
        blocks.append(Fields(data.price_book))
    sql = ("SELECT price_source, sum(requests) AS requests, sum(list_cost_usd) AS list_cost_usd\nFROM core_charge\n"
           "WHERE counted AND granularity = 'request'\nGROUP BY price_source ORDER BY list_cost_usd DESC;")
    return Part("price_sources", Section(
        "prices", "Price sources", "The published lists behind the costs of this report; every charge names its price.",
        tuple(blocks), (Trace("core_charge", sql), Trace("core_price", "SELECT * FROM core_price;"))),
        {"sources": records(data.price_sources) if data.price_sources is not None else [],
         "book": dict(data.price_book)})


