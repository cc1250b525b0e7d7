"""What may save money: few rows, each with the figures that it rests on and a way to see whether it holds.

Nothing is recommended whose effect on quality is unknown: a cheaper model is none of them. Prices are those of the
book on the last day, at the shortest context; a saving is told for 30 days of the usage looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import median
from typing import Any

import polars as pl

from costops.transforms.check import conform
from costops.transforms.money import usd
from costops.transforms.prices.cells import PLAIN_UNITS, PRICE_KEYS
from costops.transforms.tables import OUT_RECOMMENDATION

WINDOW_DAYS = 30
LEAST_DAYS = 7
"""With fewer days nothing is scaled to a month."""
LEAST_SHARE = Decimal("0.005")
"""A saving below this share of all spend is not worth a line."""
MOST_ROWS = 20
LEAST_PEERS = 3
"""So many users of one provider's cache make a median to go by."""
LEAST_PROMPT = 2_048
"""Mean input of a request below which a cache can hardly help: providers cache from 1,024 to 4,096 tokens on."""
LEAST_REQUESTS = 100
BURST_HOURS, BURST_SHARE, BURST_DAYS = 3, 0.95, 10
"""A nightly job: nearly all requests of ten days or more within the same three hours."""
NIGHT = frozenset({20, 21, 22, 23, 0, 1, 2, 3, 4})
"""Local hours at which such a job may start."""

_TOKENS = ("uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
           "output_tokens")
_SUMS = ("requests", "input_tokens", *_TOKENS, "list_cost_usd", "effective_cost_usd", "unpriced_requests",
         "unpriced_low_usd", "unpriced_high_usd")
_OWNER = ("provider", "model_id", "team", "application")
_KEYS = (*PRICE_KEYS, "team", "application", "project_id", "operation")
_BATCHED = frozenset({"chat", "text_completion", "generate_content", "embeddings", "responses", "messages"})
Row = dict[str, Any]


def window(last: date) -> tuple[date, date]:
    """First and last day looked at."""
    return last - timedelta(days=WINDOW_DAYS - 1), last


def usage(daily: pl.DataFrame) -> pl.DataFrame:
    """The sums of `out_spend_daily` rows by all that recommendations tell apart, with days and how many."""
    return daily.group_by(_KEYS).agg(
        *(pl.col(name).sum() for name in _SUMS), pl.col("day").unique().alias("days"),
    ).sort(_KEYS, nulls_last=True)


def price_keys(used: pl.DataFrame, last: date) -> pl.DataFrame:
    """What `price_cells` is asked: each combination on the last day, as it was served and as a batch."""
    at = pl.lit(last, dtype=pl.Date).cast(pl.Datetime("us")).dt.offset_by("12h")
    keys = used.select(PRICE_KEYS)
    return pl.concat([keys, keys.with_columns(service_tier=pl.lit("batch"))]).unique(maintain_order=True).with_columns(
        first_used_at=at, last_used_at=at)


def recommend(used: pl.DataFrame, hourly: pl.DataFrame, cells: pl.DataFrame, *, day: date, last: date) -> pl.DataFrame:
    """Rows of `out_recommendation`, largest saving first in each kind.

    `used` is from `usage`, `cells` from `price_cells`; `hourly` has provider, model_id, team, application, day, hour
    (of local time) and requests of the standard tier.
    """
    if used.is_empty():
        return pl.DataFrame(schema=OUT_RECOMMENDATION.schema)
    known: list[date] = used["days"].explode().unique().to_list()
    first = max(window(last)[0], min(known))
    days = (last - first).days + 1
    rows = list(_unpriced(used))
    if days >= LEAST_DAYS:
        found = [*_cache(used, _Rates(cells)), *_batch(used, hourly, _Rates(cells)), *_unread(used, _Rates(cells))]
        total = sum(used["effective_cost_usd"].drop_nulls(), Decimal(0))
        least = max(Decimal("0.01"), total * LEAST_SHARE)
        worth = [row | {"saving_usd_month": (row["saving"] * WINDOW_DAYS / days).quantize(
            Decimal("0.01"), ROUND_HALF_EVEN)} for row in found if row["saving"] >= least]
        rows += sorted(worth, key=lambda row: (-row["saving_usd_month"], row["subject"]))[:MOST_ROWS]
    made = pl.DataFrame(rows, infer_schema_length=None)
    return conform(made.with_columns(day=pl.lit(day), first_day=pl.lit(first), last_day=pl.lit(last)),
                   OUT_RECOMMENDATION) if rows else pl.DataFrame(schema=OUT_RECOMMENDATION.schema)


class _Rates:
    """Dollars of single units by price key, of the shortest context, after contracts."""

    def __init__(self, cells: pl.DataFrame) -> None:
        self._at: dict[tuple[str | None, ...], dict[str, Decimal]] = {}
        priced = cells.filter(pl.col("price_status") == "priced").sort("min_input", "min_reasoning", "cell")
        for cell in priced.iter_rows(named=True):
            key = tuple(cell[name] for name in PRICE_KEYS)
            if key not in self._at:
                factor = Decimal(1) if cell["multiplier"] is None else cell["multiplier"]
                self._at[key] = {unit: usd(cell[f"n_{unit}"]) * factor / cell["den"] for unit in PLAIN_UNITS
                                 if cell[f"n_{unit}"] is not None}

    def of(self, row: Row, *, tier: str | None = None) -> Mapping[str, Decimal]:
        """The rates of a usage row, or what they would be in another tier; empty where the book has none."""
        return self._at.get(tuple(tier if tier and name == "service_tier" else row[name] for name in PRICE_KEYS), {})


def _grouped(used: pl.DataFrame, names: Iterable[str]) -> Iterator[tuple[Row, list[Row]]]:
    """Groups with their sums and their rows, in order."""
    for _, part in used.group_by(list(names), maintain_order=True):
        rows = list(part.iter_rows(named=True))
        sums: Row = {name: sum(row[name] or 0 for row in rows) for name in _SUMS}
        sums["active_days"] = len({one for row in rows for one in row["days"]})
        yield {**{name: rows[0][name] for name in names}, **sums}, rows


def _named(group: Row, rows: list[Row], kind: str) -> Row:
    """What every row tells of its subject."""
    owner = " / ".join(str(group[name]) for name in ("team", "application") if group.get(name))
    return {"kind": kind, "subject": f"{owner or 'no team'}: {group['model_id']} ({group['provider']})",
            "provider": group["provider"], "model_id": group["model_id"], "team": group.get("team"),
            "application": group.get("application"),
            "spend_usd": sum((row["effective_cost_usd"] or Decimal(0) for row in rows), Decimal(0))}


def _unpriced(used: pl.DataFrame) -> Iterator[Row]:
    """Models without a price: their cost is in no figure."""
    for group, rows in _grouped(used.filter(pl.col("unpriced_requests") > 0), ("provider", "model_id")):
        low, high = group["unpriced_low_usd"], group["unpriced_high_usd"]
        bounds = f"between {low:.2f} and {high:.2f} USD at the prices of its siblings" if high else (
            "no sibling's price is known")
        yield _named(group, rows, "unpriced_model") | {
            "subject": f"{group['model_id']} ({group['provider']})",
            "evidence": f"{group['unpriced_requests']:,} requests without a price; {bounds}",
            "how_to_check": "`cost-ops prices show` the model; add a [[prices]] block, or reprice once the book has it"}


def _cache(used: pl.DataFrame, rates: _Rates) -> Iterator[Row]:
    """Long prompts that are read from the cache far less than those of others at the same provider."""
    standard = used.filter(pl.col("service_tier") == "standard", pl.col("input_tokens") > 0)
    able = [(group, rows) for group, rows in _grouped(standard, _OWNER) if all(
        rates.of(row).get("cache_read", Decimal(1)) < rates.of(row).get("uncached_input", Decimal(0)) for row in rows)]
    for provider in sorted({group["provider"] for group, _ in able}):
        peers = [group for group, _ in able if group["provider"] == provider and group["cache_read_tokens"] > 0]
        if len(peers) < LEAST_PEERS:
            continue
        usual = Decimal(str(median(peer["cache_read_tokens"] / peer["input_tokens"] for peer in peers)))
        written = Decimal(str(median((peer["cache_write_5m_tokens"] + peer["cache_write_1h_tokens"])
                                     / peer["cache_read_tokens"] for peer in peers)))
        for group, rows in able:
            share = Decimal(group["cache_read_tokens"]) / group["input_tokens"]
            mean = group["input_tokens"] // max(group["requests"], 1)
            if (group["provider"] != provider or share * 2 >= usual or mean < LEAST_PROMPT
                    or group["requests"] < LEAST_REQUESTS or group["active_days"] < LEAST_DAYS):
                continue
            saving = sum((_cached(row, rates.of(row), usual, written) for row in rows), Decimal(0))
            yield _named(group, rows, "cache") | {
                "saving": saving,
                "evidence": f"{share:.1%} of the input is read from the cache; the median of {len(peers)} users of "
                            f"{provider}'s cache here is {usual:.1%}. {group['requests']:,} requests of {mean:,} "
                            "input tokens on average; what must be written for it is taken off",
                "how_to_check": "see whether the requests begin with the same 1,024 tokens or more within minutes; put "
                                "what is fixed first, and mark it where the provider wants that"}


def _cached(row: Row, price: Mapping[str, Decimal], usual: Decimal, written: Decimal) -> Decimal:
    """What a row would save at the usual share, less the dearer writes that it takes."""
    uncached = Decimal(row["uncached_input_tokens"] or 0)
    moved = min(max(usual * row["input_tokens"] - (row["cache_read_tokens"] or 0), Decimal(0)), uncached)
    plain = price["uncached_input"]
    dearer = max(price.get("cache_write_5m", plain) - plain, Decimal(0))
    saved: Decimal = moved * (plain - price["cache_read"]) - moved * written * dearer
    return saved


def _batch(used: pl.DataFrame, hourly: pl.DataFrame, rates: _Rates) -> Iterator[Row]:
    """Nightly jobs at the standard price whose model has a batch price."""
    standard = used.filter(pl.col("service_tier") == "standard", pl.col("operation").is_null() |
                           pl.col("operation").is_in(sorted(_BATCHED)))
    jobs = {tuple(key): at for key, at in _jobs(hourly)}
    for group, rows in _grouped(standard, _OWNER):
        at = jobs.get(tuple(group[name] for name in _OWNER))
        saving = [_batched(row, rates) for row in rows]
        if at is None or any(one is None for one in saving):
            continue
        start, share, days = at
        yield _named(group, rows, "batch") | {
            "saving": sum((one for one in saving if one is not None), Decimal(0)),
            "evidence": f"{share:.1%} of {group['requests']:,} standard requests on {days} days came between "
                        f"{start:02d}:00 and {(start + BURST_HOURS) % 24:02d}:00; the book has a batch price",
            "how_to_check": "ask whether somebody waits for the answers; a batch is answered within 24 hours, and not "
                            "every feature works in it"}


def _jobs(hourly: pl.DataFrame) -> Iterator[tuple[list[Any], tuple[int, float, int]]]:
    """Owners whose requests come in the same few hours of every night: start, share, days."""
    for key, part in hourly.group_by(list(_OWNER), maintain_order=True):
        days, total = part["day"].n_unique(), int(part["requests"].sum())
        by_hour = dict(part.group_by("hour").agg(pl.col("requests").sum()).iter_rows())
        best, start = max((sum(by_hour.get((hour + step) % 24, 0) for step in range(BURST_HOURS)), -hour)
                          for hour in range(24))
        if days >= BURST_DAYS and total >= LEAST_REQUESTS and best >= BURST_SHARE * total and -start in NIGHT:
            yield list(key), (-start, best / total, days)


def _batched(row: Row, rates: _Rates) -> Decimal | None:
    """What the row's tokens cost now less what they would as a batch; None where the book does not tell."""
    now, then = rates.of(row), rates.of(row, tier="batch")
    counts = {unit: row[f"{unit}_tokens"] or 0 for unit in PLAIN_UNITS}
    if any(count and (unit not in now or unit not in then) for unit, count in counts.items()):
        return None
    return sum((count * (now[unit] - then[unit]) for unit, count in counts.items() if count), Decimal(0))


def _unread(used: pl.DataFrame, rates: _Rates) -> Iterator[Row]:
    """Caches of one hour that were paid for and never read by anyone who could."""
    for group, rows in _grouped(used, ("provider", "model_id", "account_id", "project_id")):
        if not group["cache_write_1h_tokens"] or group["cache_read_tokens"]:
            continue
        writers = [row for row in rows if row["cache_write_1h_tokens"]]
        prices = [rates.of(row) for row in writers]
        if any("cache_write_1h" not in price or "uncached_input" not in price for price in prices):
            continue
        owners = sorted({str(row["team"]) for row in writers if row["team"]})
        yield _named(group, rows, "unread_cache") | {
            "subject": f"{group['model_id']} ({group['provider']}), project {group['project_id'] or 'none'}",
            "saving": sum((row["cache_write_1h_tokens"] * (price["cache_write_1h"] - price["uncached_input"])
                           for row, price in zip(writers, prices, strict=True)), Decimal(0)),
            "evidence": f"{group['cache_write_1h_tokens']:,} tokens written to a cache of one hour, none read by any "
                        f"request of the project; written by {', '.join(owners) or 'no team'}",
            "how_to_check": "leave the one-hour cache mark out, or find out why later requests do not begin alike"}
