"""Public holidays: how much of a usual day is spent on them, learnt from those of the past, the same for all series."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

LEAST_HOLIDAYS = 3  # past ones on working days, with less nothing is learnt
TRUST = 3.0  # past holidays at which what they say counts half
BETTER = 0.95  # of the error without it: what does not help on the past holidays is not used
COLUMNS = ("yhat", "lo80", "hi80", "lo95", "hi95", "mean")


def holidays(country: str, first: date, last: date) -> pl.DataFrame:
    """Return the public holidays of a country (ISO 3166 code) from `first` to `last`: ds, holiday.

    An unknown country is a ValueError that names it.
    """
    import holidays as calendars

    try:
        found = calendars.country_holidays(country, years=range(first.year, last.year + 1))
    except NotImplementedError:
        raise ValueError(f"{country!r} is no country with known holidays; write an ISO 3166 code, for example DE") from None
    rows = sorted((day, name) for day, name in found.items() if first <= day <= last)
    return pl.DataFrame(rows, schema={"ds": pl.Date, "holiday": pl.String}, orient="row")


def effect(total: pl.DataFrame, days: pl.DataFrame) -> float:
    """Return what a working day that is a holiday spends, over the same weekday of the weeks around; 1 if nothing helps.

    `total` holds ds and y, `days` ds. Each past holiday is judged by the others: where its error does not fall by
    a twentieth over all of them, nothing is learnt.
    """
    known = dict(total.select(pl.col("ds").cast(pl.Date), "y").iter_rows())
    off = set(days["ds"])
    ratios, usual = [], []
    for day in sorted(off & set(known)):
        around = [known[near] for step in (-14, -7, 7, 14) if (near := date.fromordinal(day.toordinal() + step)) in known
                  and near not in off]  # fmt: skip
        base = float(np.median(around)) if around else 0.0
        if day.weekday() < 5 and base > 0 and known[day] > 0:
            ratios.append(known[day] / base)
            usual.append(base)
    if len(ratios) < LEAST_HOLIDAYS:
        return 1.0
    logs, size = np.log(ratios), np.array(usual)
    others = np.array([_shrunk(np.delete(logs, i)) for i in range(logs.size)])
    without = float((size * np.abs(np.exp(logs) - 1)).sum())
    if float((size * np.abs(np.exp(logs) - others)).sum()) > BETTER * without:
        return 1.0
    return _shrunk(logs)


def _shrunk(logs: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(np.exp(np.median(logs) * logs.size / (logs.size + TRUST)))


def apply(forecasts: pl.DataFrame, days: pl.DataFrame, factor: float) -> pl.DataFrame:
    """Return forecasts with the working days among `days` times the factor; sums over series stay sums."""
    off = pl.col("ds").is_in(days["ds"].to_list()) & (pl.col("ds").dt.weekday() <= 5)
    return forecasts.with_columns(pl.when(off).then(pl.col(name) * factor).otherwise(name).alias(name) for name in COLUMNS)
