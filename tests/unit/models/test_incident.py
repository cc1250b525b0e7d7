from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costops.models.incident import events, explain, incidents


def flags(*rows: tuple[str, int, str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(name, date(2026, 3, day), kind, effect, 5.0, True) for name, day, kind, effect in rows],
        schema=["unique_id", "ds", "kind", "effect", "score", "is_anomaly"],
        orient="row",
    )


def test_neighbouring_days_are_one_event_and_sum_their_money() -> None:
    got = events(flags(("a", 1, "spike", 5.0), ("a", 2, "spike", 6.0), ("a", 12, "spike", 1.0)))
    assert got.select("days", "effect").rows() == [(2, 11.0), (1, 1.0)]


def test_a_level_shift_names_the_event_that_began_as_a_spike() -> None:
    got = events(flags(("a", 1, "spike", 5.0), ("a", 2, "level_shift", 6.0)))
    assert got["kind"].to_list() == ["level_shift"]


def test_up_and_down_are_two_events() -> None:
    assert events(flags(("a", 1, "spike", 5.0), ("a", 2, "drop", -5.0))).height == 2


def test_nothing_flagged_is_no_event() -> None:
    assert events(flags(("a", 1, "spike", 5.0)).with_columns(is_anomaly=False)).height == 0


def test_one_cause_seen_in_three_dimensions_is_one_incident_counted_once() -> None:
    found = events(
        flags(
            ("total", 1, "spike", 10.0),
            ("team/x", 1, "spike", 9.0),
            ("model/m", 1, "spike", 8.0),
            ("team/y", 1, "spike", 1.0),
        )
    )
    members = pl.DataFrame(
        [("total", "total", "all"), ("team/x", "team", "x"), ("team/y", "team", "y"), ("model/m", "model", "m")],
        schema=["unique_id", "dimension", "value"],
        orient="row",
    )
    summary, drivers = incidents(found, members)
    assert summary.height == 1
    assert summary["effect"][0] == 10.0
    assert drivers.filter(dimension="team")["value"].to_list() == ["x", "y"]
    assert drivers.filter(dimension="team")["share"].to_list() == pytest.approx([0.9, 0.1])


def test_groups_never_merge() -> None:
    found = events(flags(("a", 1, "spike", 1.0), ("b", 1, "spike", 1.0)))
    members = pl.DataFrame({"unique_id": ["a", "b"], "dimension": "team", "value": ["a", "b"], "group": ["one", "two"]})
    assert incidents(found, members)[0].height == 2


def lines(requests: float, cached: float, price: float, output: float = 100.0) -> pl.DataFrame:
    tokens = 1000.0
    rows = [
        (
            "m",
            "uncached_input_tokens",
            requests * tokens * (1 - cached),
            requests,
            requests * tokens * (1 - cached) * price,
        ),
        ("m", "cache_read_tokens", requests * tokens * cached, requests, requests * tokens * cached * price / 10),
        ("m", "output_tokens", requests * output, requests, requests * output * price * 5),
    ]
    return pl.DataFrame(rows, schema=["model_id", "unit", "quantity", "requests", "cost_usd"], orient="row")


FACTORS = ["volume", "mix", "size", "cache", "price"]


def only(got: pl.DataFrame, name: str) -> None:
    moved = got.select(FACTORS).sum().row(0, named=True)
    change = got["change"].sum()
    assert moved[name] == pytest.approx(change)
    assert all(abs(v) < 1e-9 for k, v in moved.items() if k != name)


def test_twice_the_requests_is_volume() -> None:
    only(explain(lines(10, 0.2, 1.0), lines(20, 0.2, 1.0)), "volume")


def test_a_dearer_model_is_price() -> None:
    only(explain(lines(10, 0.2, 1.0), lines(10, 0.2, 1.5)), "price")


def test_a_better_cache_is_cache() -> None:
    only(explain(lines(10, 0.2, 1.0), lines(10, 0.6, 1.0)), "cache")


def test_longer_answers_are_size() -> None:
    only(explain(lines(10, 0.2, 1.0), lines(10, 0.2, 1.0, output=300)), "size")


def test_another_model_is_mix() -> None:
    other = lines(10, 0.2, 2.0).with_columns(model_id=pl.lit("dear"))
    only(explain(lines(10, 0.2, 1.0), other), "mix")


@given(st.floats(1, 1e4), st.floats(0, 1), st.floats(0.01, 10), st.floats(1, 1e4), st.floats(0, 1), st.floats(0.01, 10))
def test_the_factors_sum_to_the_change(r0: float, c0: float, p0: float, r1: float, c1: float, p1: float) -> None:
    got = explain(lines(r0, c0, p0), lines(r1, c1, p1))
    assert sum(got.select(FACTORS).sum().row(0)) == pytest.approx(got["change"].sum(), rel=1e-6, abs=1e-6)
