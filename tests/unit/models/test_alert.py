from __future__ import annotations

from datetime import date

import polars as pl

from costops.models.alert import AlertRules, limit


def events(*rows: tuple[str, int, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(s, date(2026, 3, d), "spike", e) for s, d, e in rows],
        schema=["subject", "first", "kind", "effect"],
        orient="row",
    )


def test_a_bad_week_is_one_alert() -> None:
    got = limit(events(*(("team", day, 10.0) for day in range(1, 8))))
    assert got["is_sent"].sum() == 1
    assert "still open" in got["reason"][1]


def test_much_worse_breaks_the_silence() -> None:
    got = limit(events(("team", 1, 10.0), ("team", 3, 40.0)))
    assert got["is_sent"].to_list() == [True, True]


def test_after_the_pause_the_subject_may_speak_again() -> None:
    assert limit(events(("team", 1, 10.0), ("team", 8, 10.0)))["is_sent"].sum() == 2


def test_a_day_of_forty_is_five_and_the_rest_is_counted() -> None:
    got = limit(events(*((f"key-{i}", 1, float(i)) for i in range(1, 41))))
    assert got["is_sent"].sum() == 5
    assert got.filter("is_sent")["effect"].min() == 36.0
    assert got["also"].sum() == 35


def test_small_money_is_held_back_with_the_reason() -> None:
    got = limit(events(("team", 1, 2.0)), rules=AlertRules(floor=5.0))
    assert got.row(0, named=True)["reason"] == "effect below the floor of 5"
