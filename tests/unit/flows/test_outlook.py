"""Looks at a lake's spend: incidents and their one alert, patterns, forecasts that add up, drift, scenarios."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.tasks import detect as looking
from costops.flows.tasks import outlook, watched
from costops.flows.tasks.run import Run
from costops.transforms.check import conform
from costops.transforms.tables import (
    CORE_BUSINESS_METRIC,
    CORE_FINDING,
    OUT_ANOMALY,
    OUT_BUDGET,
    OUT_FORECAST,
    OUT_FORECAST_SCORE,
    OUT_SPEND_HOURLY,
)
from tests.unit.flows.spend import DAYS, LAST, MODELS, Place, noise, row, usual

SUPPORT_LATELY = (pl.col("unique_id") == "team=support") & (pl.col("ds") > LAST - timedelta(days=4))


# -- incidents ----------------------------------------------------------------------------------------------------

def test_one_cause_is_one_alert_with_its_drivers_and_what_moved(place: Place) -> None:
    spikes = {LAST - timedelta(days=step) for step in (2, 3)}
    rows = [row(one["day"], one["provider"], one["model_id"], 6.0) if one["day"] in spikes
            and one["model_id"] == "gpt-4o-2024-08-06" else one for one in usual()]
    place.fill(rows)
    place.do(outlook.detect)
    odd = place.read(OUT_ANOMALY).filter(pl.col("ds").is_in(list(spikes)))
    assert set(odd["dimension"]) >= {"total", "model_id", "team"}            # seen in all of them ...
    assert odd["incident"].n_unique() == 1                                   # ... yet one thing
    assert place.read(OUT_ANOMALY)["is_sent"].sum() == 1
    sent = odd.filter("is_sent").row(0, named=True)
    assert sent["ds"] == min(spikes)
    assert "model_id=gpt-4o-2024-08-06" in sent["drivers"]
    assert "team=search" in sent["drivers"]
    assert sent["cause"].startswith("volume +")


def nights(place: Place, factors: dict[int, dict[str, float]], last: int) -> list[list[tuple[str, date]]]:
    """Run the looks night after night; `factors` says by how much a model is off on which day. New alerts per night."""
    start, told, out = LAST - timedelta(days=last), set[tuple[str, date]](), []
    for step in range(last + 1):
        day = start + timedelta(days=step)
        place.fill([row(one["day"], one["provider"], one["model_id"], noise((LAST - one["day"]).days, 0)
                        * factors.get((one["day"] - start).days, {}).get(one["model_id"], 1.0))
                    for one in usual() if one["day"] <= day])
        place.night(day + timedelta(days=1))
        place.do(outlook.detect)
        sent = place.read(OUT_ANOMALY).filter((pl.col("day") == day + timedelta(days=1)) & pl.col("is_sent"))
        now = set(sent.select("unique_id", "ds").rows())
        out.append(sorted(now - told))
        told |= now
    return out


def test_a_bad_week_is_one_alert_over_its_nights(place: Place) -> None:
    wild = {day: {"gpt-4o-2024-08-06": 5.0 + day % 3, "gpt-5-mini-2025-08-07": 4.0 if day % 2 else 1.0}
            for day in range(1, 8)}
    new = nights(place, wild, last=9)
    assert [len(one) for one in new] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_much_worse_and_another_cause_speak_in_a_bad_week(place: Place) -> None:
    wild = {1: {"gpt-5-mini-2025-08-07": 12.0}, 2: {"gpt-5-mini-2025-08-07": 11.0}, 3: {"gpt-4o-2024-08-06": 40.0},
            7: {"claude-sonnet-4-5-20250929": 5.0}}
    new = nights(place, wild, last=8)
    assert [len(one) for one in new] == [0, 1, 0, 1, 0, 0, 0, 1, 0]
    assert new[3] == [("model_id=gpt-4o-2024-08-06", LAST - timedelta(days=5))]         # the worst day of what went on


def test_an_old_incident_is_told_and_wakes_nobody(place: Place) -> None:
    old = LAST - timedelta(days=40)
    place.fill([row(one["day"], one["provider"], one["model_id"], 6.0) if one["day"] == old else one for one in usual()])
    place.do(outlook.detect)
    odd = place.read(OUT_ANOMALY)
    assert old in odd["ds"].to_list()
    assert not odd["is_sent"].any()


def test_a_feed_that_stopped_is_missing_and_a_team_that_stopped_is_a_drop(place: Place) -> None:
    stopped = [one for one in usual() if one["provider"] != "anthropic" or one["day"] <= LAST - timedelta(days=4)]
    place.fill(stopped)
    place.do(outlook.detect)
    odd = place.read(OUT_ANOMALY).filter(SUPPORT_LATELY)
    assert set(odd["kind"]) == {"missing"}
    assert odd["y"].to_list() == [0.0] * 4                                   # a number: alerts print it
    assert (odd["effect"] < 0).all()
    quiet = [one | {"team": "other"} if one["team"] == "support" and one["day"] > LAST - timedelta(days=4) else one
             for one in usual()]
    place.fill(quiet)
    place.do(outlook.detect)
    odd = place.read(OUT_ANOMALY).filter(SUPPORT_LATELY)
    assert "missing" not in odd["kind"].to_list()
    assert odd.height


def test_a_day_that_is_late_by_one_is_not_missing_yet(place: Place) -> None:
    place.fill([one for one in usual() if one["provider"] != "anthropic" or one["day"] < LAST])
    place.do(outlook.detect)
    assert "missing" not in place.read(OUT_ANOMALY)["kind"].to_list()


def test_money_that_changes_sides_is_a_mix_and_a_finding(place: Place) -> None:
    week = {LAST - timedelta(days=step) for step in range(7)}
    both = [(row(day, "openai", "gpt-4o-2024-08-06", 1.0 if day in week else 0.2),
             row(day, "openai", "gpt-4o-2024-08-06", 0.2 if day in week else 1.0, team="ads", application="b"))
            for day in (LAST - timedelta(days=step) for step in range(DAYS))]
    place.fill([one for pair in both for one in pair])
    place.do(outlook.detect)
    mix = place.read(OUT_ANOMALY).filter(pl.col("kind") == "mix")
    assert mix.select("unique_id", "ds").rows() == [("team=search", LAST)]
    found = place.read(CORE_FINDING).filter(pl.col("source") == looking.SOURCE)
    assert found["reason"].to_list() == ["mix"]
    assert found["mend"].null_count() == 0


def test_a_key_that_explodes_at_night_and_a_new_key_at_full_speed(place: Place) -> None:
    rows = [*usual(), row(LAST, "openai", "gpt-4o-2024-08-06", 20.0, api_key_id="fresh")]
    place.fill(rows)
    hours = [{**row(LAST - timedelta(days=step), "openai", "gpt-4o-2024-08-06", 0.3), "hour": datetime.combine(
        LAST - timedelta(days=step), datetime.min.time()).replace(hour=hour)} for step in range(30) for hour in (2, 14)]
    hours[0] |= {"list_cost_usd": Decimal(400)}
    with place.run() as run:
        run.lake.write(OUT_SPEND_HOURLY, conform(pl.DataFrame(hours, infer_schema_length=None), OUT_SPEND_HOURLY))
    place.do(outlook.detect)
    odd = place.read(OUT_ANOMALY).filter(pl.col("dimension") == "api_key_id")
    assert set(odd.select("value", "kind").rows()) == {("k1", "night_burst"), ("fresh", "new_key")}
    assert odd["is_sent"].all()
    assert set(place.read(CORE_FINDING)["reason"]) >= {"night_burst", "new_key"}


# -- forecasts ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def forecast(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A place with a forecast night, and the bytes of its lake."""
    with pytest.MonkeyPatch.context() as patch:
        made = Place(tmp_path_factory.mktemp("forecast"), patch)
        made.fill(usual())
        made.do(outlook.detect, outlook.forecast, outlook.budget)
        yield made


def lake_of(place: Place) -> dict[str, bytes]:
    root = place.home / "lake"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
            and "run_ledger" not in path.parts and path.name not in ("lock", "catalog.sql")}


def test_parts_add_up_to_the_total_on_every_day(forecast: Place) -> None:
    rows = forecast.read(OUT_FORECAST)
    sums = rows.group_by("ds", "dimension").agg(pl.col("mean").sum()).pivot(on="dimension", index="ds", values="mean")
    for name in ("provider", "model_id", "team"):
        assert ((sums[name] - sums["total"]).abs() < 1e-9).all()
    crossed = (pl.col("lo95") > pl.col("yhat")) | (pl.col("hi95") < pl.col("yhat")) | (pl.col("lo95") < 0)
    assert rows.filter(crossed).is_empty()
    level = rows.group_by("unique_id").agg(pl.col("mean").mean())
    sizes = dict(level.iter_rows())
    assert sizes["model_id=gpt-4o-2024-08-06"] > 5 * sizes["model_id=gpt-5-mini-2025-08-07"]      # each at its own level


def test_scores_are_those_of_what_is_published_and_tell_how_often_the_claim_holds(forecast: Place) -> None:
    scores = forecast.read(OUT_FORECAST_SCORE)
    total = scores.filter((pl.col("unique_id") == "total") & (pl.col("metric") == "coverage95"))
    assert total["horizon"].to_list() == [7, 14]
    every = scores.filter(pl.col("unique_id") == "all")
    got = {(row["horizon"], row["metric"]): row["score"] for row in every.iter_rows(named=True)}
    assert got[7, "share_day_within_15"] == 1.0                              # a series this calm is easy
    assert got[7, "series_by_day"] == 8.0
    assert 0 <= got[30, "dependence"] <= 1
    mape = scores.filter((pl.col("metric") == "mape") & (pl.col("horizon") == 7))["score"]
    assert got[7, "share_day_within_10"] == (mape < 0.10).sum() / mape.len()


def test_a_budget_of_what_is_not_forecast_gets_no_forecast_of_the_total(forecast: Place) -> None:
    rows = {row["budget"]: row for row in forecast.read(OUT_BUDGET).iter_rows(named=True)}
    assert rows["all"]["expected_total"] > float(rows["all"]["spent_usd"])
    assert rows["app"]["expected_total"] is None


def test_a_second_run_of_the_night_does_nothing(forecast: Place) -> None:
    before = lake_of(forecast)
    run = forecast.do(outlook.detect, outlook.forecast)
    assert not run.wrote
    assert lake_of(forecast) == before


@pytest.mark.parametrize("stop", ["model", "forecast", "scores"])
def test_a_killed_night_is_done_again_to_the_same_bytes(forecast: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                        stop: str) -> None:
    place = Place(tmp_path, monkeypatch)
    place.fill(usual())
    calls = {"write": 0}
    real = watched.write

    def dies(run: Run, stage: str, table: Any, rows: pl.DataFrame) -> None:
        calls["write"] += 1
        if stop == "model" or (stop == "forecast" and table is OUT_FORECAST_SCORE):
            raise KeyboardInterrupt
        real(run, stage, table, rows)

    with monkeypatch.context() as patch:
        patch.setattr(watched, "write", dies)
        if stop == "scores":
            patch.setattr(watched, "done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            place.do(outlook.forecast)
    place.do(outlook.detect, outlook.forecast, outlook.budget)
    assert calls["write"]
    assert lake_of(place) == lake_of(forecast)


def test_drift_fits_anew_and_is_a_finding(forecast: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, monkeypatch)
    place.fill(usual())
    place.do(outlook.forecast)
    old = (place.home / "lake" / "models" / "forecast.txt").read_bytes()
    later = [row(LAST + timedelta(days=step), provider, model, 3.0) for step in range(1, 15)
             for provider, models in MODELS.items() for model in models]
    place.fill(usual() + later)
    place.night(LAST + timedelta(days=15))
    place.do(outlook.forecast)
    found = place.read(CORE_FINDING).filter(pl.col("reason") == "forecast_drift")
    assert "total" in found["field"].to_list()
    assert (place.home / "lake" / "models" / "forecast.txt").read_bytes() != old
    live = place.read(OUT_FORECAST_SCORE).filter(pl.col("metric") == "live_mae")
    assert live.filter(pl.col("unique_id") == "total")["score"][0] > 1.0


def test_what_no_value_shows_is_a_row_of_its_own_and_all_that_is_published_adds_up(forecast: Place, place: Place) -> None:
    nobody = [row(one["day"], "openai", "gpt-5-mini-2025-08-07", 2.0, team=None) for one in usual()
              if one["model_id"] == "gpt-4o-2024-08-06"]
    with_model_of(forecast, place).fill([*usual(), *nobody])
    place.do(outlook.forecast)
    rows = place.read(OUT_FORECAST)
    other = rows.filter(pl.col("unique_id") == "team=(other)")
    assert set(other["model"]) == {"remainder"}
    assert float(other["mean"].mean()) == pytest.approx(2 * 0.3275, rel=0.15)            # type: ignore[arg-type]
    assert other.filter((pl.col("lo95") > pl.col("yhat")) | (pl.col("hi95") < pl.col("yhat"))).is_empty()
    assert "provider=(other)" not in rows["unique_id"].to_list()
    sums = rows.group_by("ds", "dimension").agg(pl.col("mean").sum()).pivot(on="dimension", index="ds", values="mean")
    for name in ("provider", "model_id", "team"):
        assert ((sums[name] - sums["total"]).abs() < 1e-9).all()


def test_a_holiday_of_the_country_is_forecast_as_those_before_and_is_no_alert(
        forecast: Place, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    off = {LAST - timedelta(days=step) for step in (6, 19, 33, 47, 61)}                  # none on a weekend
    ahead = LAST + timedelta(days=3)
    told = pl.DataFrame({"ds": sorted([*off, ahead]), "holiday": "made up"})
    monkeypatch.setattr("costops.models.holiday.holidays", lambda *_: told)
    rows = [row(one["day"], one["provider"], one["model_id"], 0.3) if one["day"] in off else one for one in usual()]
    with_model_of(forecast, place).fill(rows)
    place.do(outlook.detect, outlook.forecast)
    without = float(place.read(OUT_FORECAST).filter(pl.col("ds") == ahead)["mean"].sum())
    assert off & set(place.read(OUT_ANOMALY).filter(pl.col("kind") == "drop")["ds"])
    config = place.home / "costops.toml"
    config.write_text(config.read_text().replace("[forecast]", '[forecast]\ncountry = "DE"'))
    place.do(outlook.detect, outlook.forecast)
    assert place.read(OUT_FORECAST).filter(pl.col("ds") == ahead)["mean"].sum() < 0.7 * without
    assert not off & set(place.read(OUT_ANOMALY).filter(pl.col("kind") == "drop")["ds"])


# -- days that are still filling ---------------------------------------------------------------------------------

def with_model_of(forecast: Place, place: Place) -> Place:
    """A place that keeps the model of another, so that nothing is trained."""
    kept = place.home / "lake" / "models" / "forecast.txt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes((forecast.home / "lake" / "models" / "forecast.txt").read_bytes())
    return place


def level_of(place: Place, name: str = "total") -> float:
    own = place.read(OUT_FORECAST).filter(pl.col("unique_id") == name)
    return float(own["mean"].mean())  # type: ignore[arg-type]


@pytest.mark.parametrize("days", [1, 3])
def test_a_feed_that_is_late_for_days_does_not_pull_the_forecast_down(forecast: Place, place: Place, days: int) -> None:
    cut = LAST - timedelta(days=days)
    with_model_of(forecast, place).fill([one for one in usual() if one["provider"] != "anthropic" or one["day"] <= cut])
    place.do(outlook.forecast, outlook.budget)
    rows = place.read(OUT_FORECAST)
    assert set(rows["cutoff"]) == {cut}
    for name in ("total", "provider=anthropic"):
        assert level_of(place, name) == pytest.approx(level_of(forecast, name), rel=0.05)
    sums = rows.group_by("ds", "dimension").agg(pl.col("mean").sum()).pivot(on="dimension", index="ds", values="mean")
    assert ((sums["provider"] - sums["total"]).abs() < 1e-9).all()
    whole, late = (one.read(OUT_BUDGET).filter(pl.col("budget") == "all").row(0, named=True) for one in (forecast, place))
    assert late["spent_usd"] < whole["spent_usd"]
    assert late["expected_total"] == pytest.approx(whole["expected_total"], rel=0.03)


def test_a_small_feed_that_is_late_leaves_the_others_their_last_days(forecast: Place, place: Place) -> None:
    small = [row(one["day"], "openai", "gpt-5-mini-2025-08-07", 1.0, source="tiny", team="tiny") for one in usual()
             if one["model_id"] == "gpt-4o-2024-08-06" and one["day"] <= LAST - timedelta(days=2)]
    with_model_of(forecast, place).fill([*usual(), *small])
    place.do(outlook.forecast)
    rows = place.read(OUT_FORECAST)
    cutoffs = dict(rows.select("unique_id", "cutoff").unique().iter_rows())
    assert cutoffs["total"] == cutoffs["provider=anthropic"] == LAST
    assert cutoffs["team=tiny"] == LAST - timedelta(days=2)
    assert rows.group_by("unique_id").agg(pl.col("ds").min(), pl.len()).select("ds", "len").unique().rows() == [
        (LAST + timedelta(days=1), 14)]
    assert level_of(place, "team=tiny") == pytest.approx(0.3275, rel=0.05)


@pytest.mark.parametrize(("share", "known"), [(0.85, LAST), (0.4, LAST - timedelta(days=1))])
def test_days_that_are_always_still_filling_are_scaled_or_left_out_and_are_not_odd(
        forecast: Place, place: Place, share: float, known: date) -> None:
    with_model_of(forecast, place)
    for step in range(8, -1, -1):               # each night sees the last day in part, and all others whole
        last = LAST - timedelta(days=step)
        seen = [one for one in usual() if one["day"] < last]
        place.fill(seen + [row(last, one["provider"], one["model_id"], share * noise(step, 0)) for one in usual()
                           if one["day"] == last])
        place.night(last + timedelta(days=1))
        if step:
            place.do(outlook.detect)
    place.do(outlook.detect, outlook.forecast)
    assert set(place.read(OUT_FORECAST)["cutoff"]) == {known}
    assert level_of(place) == pytest.approx(level_of(forecast), rel=0.05)
    tonight = place.read(OUT_ANOMALY).filter((pl.col("day") == LAST + timedelta(days=1)) & (pl.col("ds") == LAST))
    assert tonight.is_empty()


# -- business drivers ---------------------------------------------------------------------------------------------

def declare(place: Place, until: date, keys: str = "{}") -> None:
    """Active users that rise tenfold in the plan, and the team that follows them."""
    config = place.home / "costops.toml"
    if "drivers" not in (text := config.read_text()):
        config.write_text(text.replace("[forecast]", '[forecast]\ndrivers = ["active_users", "nobody_tells"]'))
    first = LAST - timedelta(days=DAYS - 1)
    days = [first + timedelta(days=step) for step in range((until - first).days + 1)]
    rows = [{"source": "crm", "day": day, "keys": keys, "metric": "active_users",
             "value": Decimal(round(1_000 * users_of(day)))} for day in days]
    with place.run() as run:
        run.lake.write(CORE_BUSINESS_METRIC, conform(pl.DataFrame(rows), CORE_BUSINESS_METRIC))


def users_of(day: date) -> float:
    return (1.6 if (LAST - day).days // 15 % 2 else 1.0) * (10.0 if day > LAST else 1.0)


def following(place: Place) -> Place:
    place.fill([row(one["day"], one["provider"], one["model_id"], noise((LAST - one["day"]).days, 1) * (
        users_of(one["day"]) if one["provider"] == "anthropic" else 1.0)) for one in usual()])
    return place


def test_a_declared_driver_moves_the_series_that_followed_it(forecast: Place, place: Place) -> None:
    following(with_model_of(forecast, place))
    declare(place, LAST + timedelta(days=14), '{"team": "support"}')
    place.do(outlook.forecast)
    rows = place.read(OUT_FORECAST)
    told = dict(rows.select("unique_id", "model").unique().iter_rows())
    assert told["team=support"].endswith("with active_users")
    assert not told["total"].endswith("active_users")                       # the keys say whose users they are
    assert not told["team=search"].endswith("active_users")
    sums = rows.group_by("ds", "dimension").agg(pl.col("mean").sum()).pivot(on="dimension", index="ds", values="mean")
    assert ((sums["team"] - sums["total"]).abs() < 1e-9).all()
    found = place.read(CORE_FINDING).filter(pl.col("reason") == "driver_unusable")
    assert found.select("field", "actual").rows() == [
        ("nobody_tells", "nobody_tells has no day with a number; the forecast does without it")]
    run = place.do(outlook.forecast)
    assert not run.wrote                                                    # the same night, nothing new
    declare(place, LAST + timedelta(days=13), '{"team": "support"}')
    place.do(outlook.forecast)                                              # other values: another forecast
    assert not place.read(OUT_FORECAST)["model"].str.ends_with("active_users").any()


def test_a_driver_without_a_plan_is_a_finding_with_its_last_day(forecast: Place, place: Place) -> None:
    following(with_model_of(forecast, place))
    place.do(outlook.forecast)
    before = place.read(OUT_FORECAST)
    declare(place, LAST)
    place.do(outlook.forecast)
    assert place.read(OUT_FORECAST).equals(before)
    found = place.read(CORE_FINDING).filter(pl.col("field") == "active_users").row(0, named=True)
    assert found["actual"].startswith(f"active_users ends on {LAST} and the forecast on {LAST + timedelta(days=14)}: give")
    assert found["mend"]


# -- short histories ----------------------------------------------------------------------------------------------

def test_a_team_of_ten_days_is_forecast_from_its_hours_where_they_say_more(forecast: Place, place: Place) -> None:
    sizes = [0.6, 1.7, 0.9, 1.6, 0.5, 1.2, 0.7, 1.6, 0.8, 1.3, 0.7, 1.5]
    young = [row(LAST - timedelta(days=step), "openai", "gpt-4o-2024-08-06", size, team="new")
             for step, size in enumerate(sizes)]
    with_model_of(forecast, place).fill([*usual(), *young])
    hours = [row(one["day"], "openai", "gpt-4o-2024-08-06", size / 24, team="new",
                 hour=datetime.combine(one["day"], datetime.min.time()).replace(hour=hour))
             for one, size in zip(young, sizes, strict=True) for hour in range(24)]
    place.do(outlook.forecast)
    told = dict(place.read(OUT_FORECAST).select("unique_id", "model").unique().iter_rows())
    assert told["team=new"] == "blend(seasonal_naive, boosted)"
    with place.run() as run:
        run.lake.write(OUT_SPEND_HOURLY, conform(pl.DataFrame(hours, infer_schema_length=None), OUT_SPEND_HOURLY))
    place.night(LAST + timedelta(days=1))
    (place.home / "lake" / "_state" / "outlook" / "forecast.json").unlink()
    place.do(outlook.forecast)
    rows = place.read(OUT_FORECAST)
    told = dict(rows.select("unique_id", "model").unique().iter_rows())
    assert told["team=new"] == "blend(seasonal_naive, boosted) with hours"
    assert not told["total"].endswith("hours")
    sums = rows.group_by("ds", "dimension").agg(pl.col("mean").sum()).pivot(on="dimension", index="ds", values="mean")
    assert ((sums["team"] - sums["total"]).abs() < 1e-9).all()
