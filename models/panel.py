"""A long frame of any quality becomes clean daily series, notes on what was done, and refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import polars as pl

from costops.models.features import Array

LONGEST_GAP = 366  # days; rows beyond such a hole belong to another life of the series, or to a typing error
MAX_DAYS = 1_500  # of history that is kept; older days do not change a 90-day forecast
SPARSE = 0.3  # share of silent days from which a missing row means "nothing was used"
NOTE_SCHEMA = {"unique_id": pl.String, "note": pl.String}
REFUSAL_SCHEMA = {"unique_id": pl.String, "reason": pl.String}


class PanelError(ValueError):
    """The frame cannot be read as a panel at all: a column is missing or has no usable type."""


@dataclass(frozen=True)
class Daily:
    """One series without gaps: `y[0]` is the value of `first`, `observed` is false where it was filled."""

    unique_id: str
    first: date
    y: Array
    observed: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @property
    def last(self) -> date:
        """The last day with a value, the cutoff of its forecast."""
        return self.first + timedelta(days=int(self.y.size) - 1)

    @property
    def signed(self) -> bool:
        """Whether credits or corrections take the series below zero."""
        return bool((self.y < 0).any())

    @property
    def scale(self) -> float:
        """A positive size of the recent values; dividing by it keeps thirty orders of magnitude apart."""
        recent = np.abs(self.y[-112:])
        top = float(recent.max(initial=0.0))
        if top == 0.0:
            top = float(np.abs(self.y).max(initial=0.0))
            return top if top > 0 else 1.0
        return float((recent / top).mean() * top) or top


@dataclass(frozen=True)
class Panel:
    """Clean series, and what happened to the rest."""

    series: tuple[Daily, ...]
    notes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=NOTE_SCHEMA))
    refusals: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REFUSAL_SCHEMA))


def instants(column: pl.Series) -> pl.Series:
    """Return the timestamps of a date, datetime or text column; unreadable text becomes null."""
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if isinstance(column.dtype, pl.Datetime):
        zoned = column.dtype.time_zone is not None
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zoned else column
        return utc.cast(pl.Datetime("us"))
    if column.dtype == pl.String:
        text = column.str.strip_chars().str.replace("T", " ").str.replace(r"(Z|\+00:00)$", "")
        day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
        second = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", strict=False, time_unit="us")
        minute = text.str.to_datetime("%Y-%m-%d %H:%M", strict=False, time_unit="us")
        return day.fill_null(second).fill_null(minute)
    if column.dtype == pl.Null:
        return column.cast(pl.Datetime("us"))
    raise PanelError(f"column ds is {column.dtype}; expected a date, a datetime or text such as 2026-03-01")


def _typed(panel: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in ("unique_id", "ds", "y") if name not in panel.columns]
    if missing:
        raise PanelError(
            f"column {', '.join(missing)} is missing; expected unique_id, ds, y, got {', '.join(panel.columns)}"
        )
    value = panel["y"]
    if value.dtype == pl.String:
        value = value.str.strip_chars().cast(pl.Float64, strict=False)
    elif not (value.dtype.is_numeric() or value.dtype in (pl.Boolean, pl.Null)):
        raise PanelError(f"column y is {value.dtype}; expected numbers")
    number = value.cast(pl.Float64)
    return pl.DataFrame(
        {"unique_id": panel["unique_id"].cast(pl.String).fill_null(""), "at": instants(panel["ds"]), "y": number}
    ).with_row_index("row", offset=1)


def _notes(frame: pl.DataFrame, text: str) -> pl.DataFrame:
    """Return one note per series of `frame`, with the number of rows it concerns and, where told, the first of them."""
    first = pl.col("row").min() if "row" in frame.columns else pl.lit(None, pl.UInt32)
    counted = frame.group_by("unique_id", maintain_order=True).agg(pl.len(), first=first)
    where = pl.when(pl.col("first").is_not_null()).then(pl.format(" (the first is row {})", "first")).otherwise(pl.lit(""))
    return counted.select("unique_id", note=pl.format("{} " + text + "{}", "len", where))


def _apart(days: pl.DataFrame) -> pl.DataFrame:
    """Return a note per series whose values usually lie more than a day apart: it may be a weekly or monthly one."""
    gaps = days.with_columns(gap=pl.col("day").diff().over("unique_id").dt.total_days()).group_by(
        "unique_id", maintain_order=True).agg(pl.col("gap").median(), pl.len())
    wide = gaps.filter((pl.col("gap") >= 2) & (pl.col("len") >= 5))
    return wide.select("unique_id", note=pl.format(
        "values lie {} days apart, and the days between count as days without use: give daily values of what is told "
        "by the week or month", pl.col("gap").cast(pl.Int64)))


def _without_strays(days: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split off rows that a hole of more than a year separates from the newest substantial block."""
    hole = (pl.col("day").diff() > pl.duration(days=LONGEST_GAP)).fill_null(value=False)
    blocks = days.with_columns(block=hole.cum_sum().over("unique_id"))
    blocks = blocks.with_columns(
        size=pl.len().over("unique_id", "block"), total=pl.len().over("unique_id"),
    )  # fmt: skip
    substantial = (pl.col("size") >= 14) | (pl.col("size") * 2 > pl.col("total"))
    blocks = blocks.with_columns(
        chosen=pl.when(substantial).then(pl.col("block")).max().over("unique_id"),
        newest=pl.col("block").max().over("unique_id"),
    ).with_columns(pl.col("chosen").fill_null(pl.col("newest")))
    kept = pl.col("block") == pl.col("chosen")
    return blocks.filter(kept).select("unique_id", "day", "y"), blocks.filter(~kept).select("unique_id", "day", "y")


def fill(y: Array) -> Array:
    """Return `y` with its NaN days filled: zero where silence is usual, else between same weekdays."""
    known = np.isfinite(y)
    if known.all():
        return y
    out = y.copy()
    silent = ~known | (y == 0)
    if silent.mean() > SPARSE:
        out[~known] = 0.0
        return out
    for weekday in range(7):
        places = np.arange(weekday, y.size, 7)
        here = known[places]
        if here.all():
            continue
        if here.mean() < 0.5:
            out[places[~here]] = 0.0
        else:
            out[places[~here]] = np.interp(places[~here], places[here], y[places[here]])
    return out


def _series(days: pl.DataFrame, end: date | None) -> list[Daily]:
    """Return the gap-free series of sorted daily rows; `end` lengthens each to that day with silence."""
    if days.height == 0:
        return []
    ids = days["unique_id"]
    starts = np.flatnonzero(np.concatenate([[True], (ids.to_numpy()[1:] != ids.to_numpy()[:-1])]))
    stops = np.append(starts[1:], ids.len())
    day_numbers = days["day"].cast(pl.Int32).to_numpy()
    values = days["y"].to_numpy()
    names = ids.gather(starts).to_list()
    epoch = date(1970, 1, 1)
    last_day = (end - epoch).days if end is not None else None
    out: list[Daily] = []
    for name, start, stop in zip(names, starts, stops, strict=True):
        at = day_numbers[start:stop]
        last = int(at[-1])
        if last_day is not None:
            last = max(last, last_day)
        first = max(int(at[0]), last - MAX_DAYS + 1)
        grid = np.full(last - first + 1, np.nan)
        inside = at >= first
        grid[at[inside] - first] = values[start:stop][inside]
        seen = np.isfinite(grid)
        if last > at[-1]:
            grid[int(at[-1]) - first + 1 :] = 0.0
        out.append(Daily(name, epoch + timedelta(days=first), fill(grid), seen))
    return out


def by_hour(panel: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the hours of the named series, sorted: unique_id, day, hour, y; of rows with one timestamp the last counts.

    Nothing where no row tells an hour.
    """
    typed = _typed(panel).filter(pl.col("unique_id").is_in(names) & pl.col("at").is_not_null() & pl.col("y").is_finite())
    if typed.is_empty() or (typed["at"].dt.truncate("1d") == typed["at"]).all():
        return pl.DataFrame(schema={"unique_id": pl.String, "day": pl.Date, "hour": pl.Int8, "y": pl.Float64})
    single = typed.unique(["unique_id", "at"], keep="last", maintain_order=True)
    return single.group_by("unique_id", day=pl.col("at").dt.date(), hour=pl.col("at").dt.hour()).agg(
        pl.col("y").sum()).sort("unique_id", "day", "hour")  # fmt: skip


def clean(panel: pl.DataFrame, *, as_of: date | None = None, align: bool | date = False) -> Panel:
    """Return daily series in the order in which they first appear.

    Sub-daily rows are summed to days; of two rows with one timestamp the later row counts. Rows after
    `as_of`, without a date or without a finite value are left out with a note. `align` treats the days
    between the end of a series and the end of the panel, or a given day, as days without use.
    """
    if panel.height == 0:
        return Panel(())
    typed = _typed(panel)
    order = typed.select(pl.col("unique_id").unique(maintain_order=True))
    notes: list[pl.DataFrame] = []
    dated = pl.col("at").is_not_null()
    finite = pl.col("y").is_finite() & pl.col("y").is_not_null()
    notes.append(_notes(typed.filter(~dated), "rows without a readable date left out"))
    notes.append(
        _notes(typed.filter(dated & ~finite.fill_null(value=False)), "rows without a finite value treated as missing")
    )
    good = typed.filter(dated & finite)
    if as_of is not None:
        late = pl.col("at").dt.date() > as_of
        notes.append(_notes(good.filter(late), f"rows after {as_of} left out"))
        good = good.filter(~late)
    single = good.unique(["unique_id", "at"], keep="last", maintain_order=True)
    if single.height < good.height:
        again = good.filter(good.select("unique_id", "at").is_duplicated())
        notes.append(_notes(again, "rows share a timestamp; the last one counts"))
    days = (
        single.group_by("unique_id", pl.col("at").dt.date().alias("day")).agg(pl.col("y").sum())
        .sort("unique_id", "day")
    )  # fmt: skip
    overflow = ~pl.col("y").is_finite()
    days = days.filter(~overflow)
    days, strays = _without_strays(days)
    notes.append(_apart(days))
    notes.append(_notes(strays, f"rows more than {LONGEST_GAP} days away from the rest left out"))
    end = align if isinstance(align, date) else days["day"].max() if align and days.height else None
    found = {s.unique_id: s for s in _series(days, end if isinstance(end, date) else None)}
    names = order["unique_id"].to_list()
    filled = [(n, int((~found[n].observed).sum())) for n in names if n in found and not found[n].observed.all()]
    if filled:
        notes.append(
            pl.DataFrame([(n, f"{c} missing days filled") for n, c in filled], schema=NOTE_SCHEMA, orient="row")
        )
    lost = [(n, "no row with a date and a finite value") for n in names if n not in found]
    return Panel(
        tuple(found[n] for n in names if n in found),
        pl.concat(notes) if notes else pl.DataFrame(schema=NOTE_SCHEMA),
        pl.DataFrame(lost, schema=REFUSAL_SCHEMA, orient="row"),
    )
