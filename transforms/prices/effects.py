"""Two spend frames against each other: what a new price did, and price against volume, mix and cache."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

UNITS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
_INPUT = UNITS[:4]
_USD = pl.Decimal(38, 12)


def reprice_difference(old: pl.DataFrame, new: pl.DataFrame,
                       by: Sequence[str] = ("provider", "model_id")) -> pl.DataFrame:
    """Old cost, new cost and the difference per `by`, from two frames of charges of the same rows.

    `became_priced` and `became_unpriced` count requests that changed between having and not having a price.
    """
    keys = list(by)
    sides = [frame.group_by(keys).agg(
        pl.col("requests").sum(), cost=pl.col("list_cost_usd").cast(_USD).sum(),
        unpriced=pl.col("requests").filter(pl.col("list_cost_usd").is_null()).sum())
        for frame in (old, new)]
    both = sides[0].join(sides[1], on=keys, how="full", suffix="_new", coalesce=True, nulls_equal=True).with_columns(
        pl.col("cost", "cost_new").fill_null(Decimal(0)),
        pl.col("unpriced", "unpriced_new", "requests", "requests_new").fill_null(0))
    return both.select(
        *keys, requests=pl.max_horizontal("requests", "requests_new"), old_usd="cost", new_usd="cost_new",
        difference_usd=pl.col("cost_new") - pl.col("cost"),
        became_priced=(pl.col("unpriced").cast(pl.Int64) - pl.col("unpriced_new").cast(pl.Int64)).clip(lower_bound=0),
        became_unpriced=(pl.col("unpriced_new").cast(pl.Int64) - pl.col("unpriced").cast(pl.Int64)).clip(lower_bound=0),
    ).sort(pl.col("difference_usd").abs(), descending=True)


def split(before: pl.DataFrame, after: pl.DataFrame, by: Sequence[str] = ("provider", "model_id")) -> pl.DataFrame:
    """Per `by`: how price, volume, mix and cache rate explain the change of cost between two periods.

    Frames with token counts and costs per unit (`out_spend_daily` columns). In this order: volume (all tokens grow
    as the total did), mix (models' shares and the share of output move), cache (reads and writes move within
    input), price (what the same tokens cost now and then); what has no token count, and models without a price in
    one of the periods, is `other_usd`. The five add up to the change exactly.
    """
    keys = list(by)
    sides = [_period(frame, keys) for frame in (before, after)]
    both = sides[0].join(sides[1], on=keys, how="full", suffix="_new", coalesce=True, nulls_equal=True)
    both = both.with_columns(pl.exclude(keys).fill_null(0))
    volume_then = both.select(pl.sum_horizontal(*(f"n_{u}" for u in UNITS)).sum()).item()
    volume_now = both.select(pl.sum_horizontal(*(f"n_{u}_new" for u in UNITS)).sum()).item()
    rows = [_row(row, keys, volume_then, volume_now) for row in both.iter_rows(named=True)]
    schema = {**{key: both.schema[key] for key in keys},
              **dict.fromkeys(("before_usd", "after_usd", "volume_usd", "mix_usd", "cache_usd", "price_usd",
                               "other_usd"), _USD)}
    return pl.DataFrame(rows, schema=schema).sort((pl.col("after_usd") - pl.col("before_usd")).abs(), descending=True)


def _period(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return frame.group_by(keys).agg(
        *(pl.col(f"{unit}_tokens").fill_null(0).sum().alias(f"n_{unit}") for unit in UNITS),
        *(pl.col(f"{unit}_cost_usd").cast(_USD).fill_null(Decimal(0)).sum().alias(f"c_{unit}") for unit in UNITS),
        total=pl.col("list_cost_usd").cast(_USD).fill_null(Decimal(0)).sum())


def _row(row: dict[str, object], keys: list[str], then: int, now: int) -> dict[str, object]:
    """One model's split, in fractions, rounded once; rounding stays in `price_usd`."""
    count = {u: (_number(row[f"n_{u}"]), _number(row[f"n_{u}_new"])) for u in UNITS}
    cost = {u: (_number(row[f"c_{u}"]), _number(row[f"c_{u}_new"])) for u in UNITS}
    total, total_new = _number(row["total"]), _number(row["total_new"])
    known = {u for u in UNITS if (not count[u][0] or cost[u][0] or not cost[u][1])}
    rate = {u: (cost[u][0] / count[u][0] if count[u][0] else (cost[u][1] / count[u][1] if count[u][1] else Decimal(0)))
            for u in known}
    base = sum((count[u][0] * rate[u] for u in known), Decimal(0))
    grown = base * now / then if then else Decimal(0)
    inputs = [u for u in _INPUT if u in known]
    input_then, input_now = (sum((count[u][side] for u in inputs), Decimal(0)) for side in (0, 1))
    price_of_input = (sum((count[u][0] * rate[u] for u in inputs), Decimal(0)) / input_then if input_then else
                      sum((count[u][1] * rate[u] for u in inputs), Decimal(0)) / input_now if input_now else Decimal(0))
    output = count["output"][1] * rate["output"] if "output" in known else Decimal(0)
    mixed = input_now * price_of_input + output
    cached = sum((count[u][1] * rate[u] for u in known), Decimal(0))
    charged = sum((cost[u][1] for u in known), Decimal(0))
    place = Decimal("1e-12")
    parts = {"volume_usd": (grown - base).quantize(place), "mix_usd": (mixed - grown).quantize(place),
             "cache_usd": (cached - mixed).quantize(place)}
    charged_then = sum((cost[u][0] for u in known), Decimal(0))
    change = total_new - total
    other = change - (charged - charged_then)
    price = change - other - sum(parts.values(), Decimal(0))
    return {**{key: row[key] for key in keys}, "before_usd": total, "after_usd": total_new, **parts,
            "price_usd": price, "other_usd": other}


def _number(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value or 0))
