"""Prophet as a named member: holidays, price-change regressors and a decomposition people can read.

It is never the default: on daily usage its error is a fifth to a third above repeating last week. The
only place where pandas is allowed, because Prophet wants it.
"""

from __future__ import annotations

import logging

import polars as pl

LEAST_DAYS = 28


class AdditiveError(ValueError):
    """The additive model cannot be fitted, or a regressor does not reach the end of the forecast."""


def _days(history: pl.DataFrame, horizon: int) -> pl.Series:
    """Return every day from the start of the history to the end of the forecast."""
    ends = history.select(first=pl.col("ds").min(), last=pl.col("ds").max().dt.offset_by(f"{horizon}d"))
    return ends.select(pl.date_ranges("first", "last").explode()).to_series().alias("ds")


def _check(history: pl.DataFrame, regressors: pl.DataFrame | None, horizon: int) -> list[str]:
    """Return the regressor names after checking that they cover history and horizon without holes."""
    if history.height < LEAST_DAYS:
        raise AdditiveError(f"{history.height} days of history, expected at least {LEAST_DAYS}; use the default blend")
    if regressors is None:
        return []
    names = [c for c in regressors.columns if c != "ds"]
    days = _days(history, horizon)
    known = pl.DataFrame({"ds": days}).join(regressors.with_columns(pl.col("ds").cast(pl.Date)), on="ds", how="left")
    for name in names:
        known_days = known.filter(pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64).is_finite())
        if known_days.height < known.height:
            end = known_days.select(pl.col("ds").max().dt.to_string("%Y-%m-%d")).item()
            raise AdditiveError(
                f"regressor {name} covers {known_days.height} of {known.height} days and ends on {end}; "
                f"expected every day from {days[0]} to {days[-1]}: give its future values or drop it"
            )
    return names


def additive(
    history: pl.DataFrame,
    *,
    horizon: int,
    holidays: pl.DataFrame | None = None,
    regressors: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the forecast (ds, yhat, lo80, hi80, lo95, hi95) and its components over history and horizon.

    `history` holds ds and y, `holidays` ds and holiday, `regressors` ds and one column per driver, known
    through the horizon. Non-negative history gives non-negative forecasts.
    """
    history = history.select(pl.col("ds").cast(pl.Date), pl.col("y").cast(pl.Float64)).drop_nulls().sort("ds")
    names = _check(history, regressors, horizon)
    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    from prophet import Prophet

    scale = float(history["y"].abs().max() or 1.0) or 1.0  # type: ignore[arg-type]
    frame = history.with_columns(pl.col("y") / scale)
    future = pl.DataFrame({"ds": _days(history, horizon)})
    if regressors is not None:
        wide = regressors.with_columns(pl.col("ds").cast(pl.Date))
        frame, future = frame.join(wide, on="ds", how="left"), future.join(wide, on="ds", how="left")
    found = {}
    for level in (0.80, 0.95):
        model = Prophet(
            interval_width=level,
            weekly_seasonality=True,
            yearly_seasonality=history.height >= 400,
            daily_seasonality=False,
            holidays=None if holidays is None else holidays.select("ds", "holiday").to_pandas(),
        )
        for name in names:
            model.add_regressor(name)
        model.fit(frame.to_pandas(), seed=7)
        found[level] = pl.from_pandas(model.predict(future.to_pandas()))
    narrow, wide95 = found[0.80], found[0.95]
    floor = 0.0 if float(history["y"].min()) >= 0 else -float("inf")  # type: ignore[arg-type]
    values = pl.DataFrame(
        {
            "ds": narrow["ds"].cast(pl.Date), "yhat": narrow["yhat"], "lo80": narrow["yhat_lower"],
            "hi80": narrow["yhat_upper"], "lo95": wide95["yhat_lower"], "hi95": wide95["yhat_upper"],
        }
    )  # fmt: skip
    number = pl.selectors.float()
    scaled = values.with_columns((number * scale).clip(lower_bound=floor))
    parts = [c for c in ("trend", "weekly", "yearly", "holidays", *names) if c in narrow.columns]
    components = narrow.select(pl.col("ds").cast(pl.Date), *(pl.col(c) * scale for c in parts))
    return scaled.tail(horizon), components
