"""Changes of mix: the total is calm, yet the money moved from one model, team or key to another."""

from __future__ import annotations

import numpy as np
import polars as pl

from costops.models.features import Array

WEEK = 7
LEAST_DISTANCE = 0.15  # about a fifth of the money on another part
SIGMAS = 5.0
REFERENCE = 4  # weeks that a week is compared with
SCHEMA = {
    "unique_id": pl.String, "ds": pl.Date, "y": pl.Float64, "expected": pl.Float64, "lower": pl.Float64,
    "upper": pl.Float64, "score": pl.Float64, "is_anomaly": pl.Boolean, "kind": pl.String, "effect": pl.Float64,
    "part": pl.String, "moved": pl.Float64,
}  # fmt: skip


def distance(left: Array, right: Array) -> Array:
    """Return the Jensen-Shannon distance of share vectors (last axis): 0 the same, 1 nothing in common."""
    middle = (left + right) / 2

    def part(p: Array) -> Array:
        safe = np.where(p > 0, p, 1.0)
        ratio = np.where(p > 0, safe / np.where(middle > 0, middle, 1.0), 1.0)
        return np.asarray((p * np.log2(ratio)).sum(axis=-1))

    return np.asarray(np.sqrt(np.maximum((part(left) + part(right)) / 2, 0.0)))


def detect_mix(panel: pl.DataFrame) -> pl.DataFrame:
    """Return one row per group and week with how far its mix moved, in the columns of `anomaly.detect`.

    `panel` holds unique_id (the group), part, ds and y. Weeks end on the group's last day; `part` names
    the part that gained most and `moved` the money that changed sides.
    """
    blocks = []
    tidy = panel.select(
        pl.col("unique_id").cast(pl.String), pl.col("part").cast(pl.String), pl.col("ds").cast(pl.Date),
        pl.col("y").cast(pl.Float64).fill_nan(None).fill_null(0.0).clip(lower_bound=0.0),
    )  # fmt: skip
    for (name,), own in tidy.group_by("unique_id", maintain_order=True):
        last = own["ds"].max()
        age = (pl.lit(last) - pl.col("ds")).dt.total_days() // WEEK
        weekly = own.with_columns(age=age).group_by("age", "part").agg(pl.col("y").sum())
        wide = weekly.pivot(on="part", index="age", values="y").fill_null(0.0).sort("age", descending=True)
        parts = [c for c in wide.columns if c != "age"]
        blocks.append(_weeks(str(name), wide, parts, last))
    return pl.concat(blocks) if blocks else pl.DataFrame(schema=SCHEMA)


def _weeks(name: str, wide: pl.DataFrame, parts: list[str], last: object) -> pl.DataFrame:
    money = wide.select(parts).to_numpy().astype(np.float64)
    total = money.sum(axis=1, keepdims=True)
    shares = money / np.where(total > 0, total, 1.0)
    rows = []
    history: list[float] = []
    for week in range(REFERENCE, len(money)):
        before = money[week - REFERENCE : week].sum(axis=0)
        if before.sum() <= 0 or total[week, 0] <= 0:
            continue
        reference = before / before.sum()
        moved = float(distance(shares[week], reference))
        usual = float(np.median(history)) if history else 0.0
        spread = 1.4826 * float(np.median(np.abs(np.array(history) - usual))) if len(history) >= 3 else 0.03
        upper = max(usual + SIGMAS * max(spread, 0.01), LEAST_DISTANCE)
        gain = (shares[week] - reference) * total[week, 0]
        best = int(np.argmax(gain))
        hot = moved > upper
        if not hot:
            history.append(moved)
        rows.append(
            {"unique_id": name, "age": int(wide["age"][week]), "y": moved, "expected": usual, "lower": 0.0,
             "upper": upper,
             "score": (moved - usual) / max(spread, 0.01), "is_anomaly": hot, "kind": "mix" if hot else "",
             "effect": 0.0, "part": parts[best], "moved": float(np.maximum(gain, 0).sum())}
        )  # fmt: skip
    if not rows:
        return pl.DataFrame(schema=SCHEMA)
    frame = pl.DataFrame(rows).with_columns(ds=pl.lit(last) - pl.duration(days=pl.col("age") * WEEK))
    return frame.select(list(SCHEMA)).cast(dict(SCHEMA))  # type: ignore[arg-type]
