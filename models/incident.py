"""From flagged days to incidents: one event across days and dimensions, with what drove it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

GAP_DAYS = 2  # a pause of up to two days does not end an event

EVENT_SCHEMA = {
    "event_id": pl.String, "unique_id": pl.String, "kind": pl.String, "first": pl.Date, "last": pl.Date,
    "days": pl.UInt32, "effect": pl.Float64, "score": pl.Float64,
}  # fmt: skip


def events(flags: pl.DataFrame) -> pl.DataFrame:
    """Return one row per series and run of anomalous days; a level shift and its first days are one."""
    hot = flags.filter("is_anomaly").sort("unique_id", "ds")
    if hot.height == 0:
        return pl.DataFrame(schema=EVENT_SCHEMA)
    sign = pl.when(pl.col("effect") >= 0).then(1).otherwise(-1)
    marked = hot.with_columns(
        way=pl.when(pl.col("kind") == "missing").then(0).otherwise(sign),
        pause=(pl.col("ds").diff().dt.total_days() > GAP_DAYS + 1).over("unique_id").fill_null(value=True),
    )
    turned = (pl.col("way") != pl.col("way").shift()).over("unique_id").fill_null(value=True)
    marked = marked.with_columns(run=(pl.col("pause") | turned).cum_sum().over("unique_id"))
    rank = pl.col("kind").replace_strict({"level_shift": 2, "mix": 1}, default=0)
    grouped = (
        marked.sort("unique_id", "ds")
        .group_by("unique_id", "run", maintain_order=True)
        .agg(
            kind=pl.col("kind").sort_by(rank, descending=True).first(),
            first=pl.col("ds").min(), last=pl.col("ds").max(), days=pl.len(),
            effect=pl.col("effect").sum(), score=pl.col("score").max(),
        )
    )  # fmt: skip
    named = grouped.with_columns(event_id=pl.format("{}@{}", "unique_id", pl.col("first").dt.to_string("%Y-%m-%d")))
    return named.select(list(EVENT_SCHEMA)).cast(dict(EVENT_SCHEMA))  # type: ignore[arg-type]


def _merge(rows: list[dict[str, Any]]) -> list[int]:
    """Return the incident of each event: those that overlap in time and point the same way are one."""
    label: list[int] = []
    open_until: dict[tuple[str, int], tuple[date, int]] = {}
    for i, row in enumerate(rows):
        effect = float(row["effect"])
        key = (str(row["group"]), 0 if row["kind"] == "missing" else 1 if effect >= 0 else -1)
        held = open_until.get(key)
        if held is not None and row["first"] <= held[0]:
            label.append(held[1])
            open_until[key] = (max(held[0], row["last"]), held[1])
        else:
            label.append(i)
            open_until[key] = (row["last"], i)
    return label


def incidents(found: pl.DataFrame, members: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return incidents, and the events in each with their dimension and share of the effect.

    `members` maps unique_id to dimension (total, team, model, key ...), value, and optionally group:
    events of different groups never merge. The effect of an incident is that of the dimension which
    shows most of it, never the sum over dimensions: they describe the same money.
    """
    if found.height == 0:
        return pl.DataFrame(), pl.DataFrame()
    ready = members if "group" in members.columns else members.with_columns(group=pl.lit(""))
    joined = found.join(ready.select("unique_id", "dimension", "value", "group"), on="unique_id", how="left")
    joined = joined.with_columns(
        pl.col("dimension").fill_null("series"),
        pl.col("value").fill_null(pl.col("unique_id")),
        pl.col("group").fill_null(""),
    ).sort("first", "last", "unique_id")
    label = _merge(joined.to_dicts())
    linked = joined.with_columns(incident=pl.Series(label, dtype=pl.Int64))
    by_dimension = linked.group_by("incident", "dimension").agg(effect=pl.col("effect").sum())
    top = by_dimension.sort(pl.col("effect").abs(), descending=True).group_by("incident", maintain_order=True).first()
    summary = (
        linked.group_by("incident", maintain_order=True)
        .agg(
            first=pl.col("first").min(), last=pl.col("last").max(), events=pl.len(),
            kind=pl.col("kind").sort_by("score", descending=True).first(), score=pl.col("score").max(),
        )
        .join(top.select("incident", "effect", seen_in="dimension"), on="incident")
        .sort(pl.col("effect").abs(), descending=True)
    )  # fmt: skip
    total = pl.col("effect").abs().sum().over("incident", "dimension")
    drivers = linked.with_columns(share=pl.when(total > 0).then(pl.col("effect").abs() / total).otherwise(0.0))
    return summary, drivers.sort("incident", "dimension", pl.col("effect").abs(), descending=[False, False, True])


UNITS_OF_INPUT = ("uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")


def explain(before: pl.DataFrame, after: pl.DataFrame, *, by: Sequence[str] = ("model_id",)) -> pl.DataFrame:
    """Return what moved the cost between two periods: volume, mix, size, cache and price; they sum exactly.

    Both frames are long: the `by` columns, unit, quantity, requests (repeated for each unit) and
    cost_usd. Factors change one after the other: number of requests, their split over `by`, tokens per
    request, the split of input tokens over cache classes, unit prices. What is new has no old price, so
    its cost is mix.
    """
    keys = list(by)

    def shape(frame: pl.DataFrame, tag: str) -> pl.DataFrame:
        group = pl.when(pl.col("unit").is_in(UNITS_OF_INPUT)).then(pl.lit("input")).otherwise("unit")
        rows = frame.group_by([*keys, "unit"]).agg(
            pl.col("quantity").cast(pl.Float64).sum(), pl.col("cost_usd").cast(pl.Float64).sum(),
            pl.col("requests").cast(pl.Float64).sum(),
        ).with_columns(family=group)  # fmt: skip
        rows = rows.with_columns(
            requests=pl.col("requests").max().over(keys),
            family_quantity=pl.col("quantity").sum().over([*keys, "family"]),
        )
        names = {c: f"{c}_{tag}" for c in ("quantity", "cost_usd", "requests", "family_quantity")}
        return rows.rename(names)

    old, new = shape(before, "0"), shape(after, "1")
    lines = old.join(new, on=[*keys, "unit", "family"], how="full", coalesce=True)
    lines = lines.with_columns(pl.selectors.float().fill_null(0.0))
    for tag in ("0", "1"):
        lines = lines.with_columns(
            pl.col(f"requests_{tag}").max().over(keys), pl.col(f"family_quantity_{tag}").max().over([*keys, "family"])
        )
    totals = lines.unique(keys).select(pl.col("requests_0", "requests_1").sum()).row(0)
    requests0, requests1 = float(totals[0]), float(totals[1])
    growth = requests1 / requests0 if requests0 else 0.0

    def ratio(top: str, bottom: str) -> pl.Expr:
        return pl.when(pl.col(bottom) != 0).then(pl.col(top) / pl.col(bottom)).otherwise(None)

    lines = lines.with_columns(
        own_growth=ratio("requests_1", "requests_0"),
        size=(ratio("family_quantity_1", "requests_1") / ratio("family_quantity_0", "requests_0")),
        part=(ratio("quantity_1", "family_quantity_1") / ratio("quantity_0", "family_quantity_0")),
    )
    c0, c1 = pl.col("cost_usd_0"), pl.col("cost_usd_1")
    stays = (pl.col("requests_0") > 0) & (pl.col("requests_1") > 0)
    fresh = stays & (pl.col("family_quantity_0") == 0)  # a kind of token that was not used before
    after_volume = c0 * growth
    after_mix = pl.when(stays).then(c0 * pl.col("own_growth")).otherwise(c1)
    resized = stays & pl.col("size").is_finite()
    after_size = pl.when(fresh).then(c1).when(resized).then(after_mix * pl.col("size")).otherwise(after_mix)
    split_changed = stays & (c0 != 0) & pl.col("part").is_finite()
    moved = pl.when(split_changed).then(after_size * pl.col("part"))
    after_cache = moved.when(stays & (c0 == 0)).then(c1).otherwise(after_size)
    lines = lines.with_columns(
        volume=after_volume - c0, mix=after_mix - after_volume, size_effect=after_size - after_mix,
        cache=after_cache - after_size, price=c1 - after_cache, change=c1 - c0,
    )  # fmt: skip
    out = lines.group_by(keys).agg(
        pl.col("volume", "mix").sum(), size=pl.col("size_effect").sum(), cache=pl.col("cache").sum(),
        price=pl.col("price").sum(), change=pl.col("change").sum(),
    )  # fmt: skip
    return out.sort(pl.col("change").abs(), descending=True)
