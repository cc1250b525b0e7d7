from __future__ import annotations

from datetime import date, timedelta

from costops.models.alert import AlertRules, Incident, tonight

NIGHT = date(2026, 3, 10)


def spike(number: int, effect: float, *series: str, way: int = 1, lane: str = "spend", began: int = 1) -> Incident:
    return Incident(number, frozenset({"total", *series}), way, effect, abs(effect), NIGHT - timedelta(days=began), lane)


def before(one: Incident, days: int) -> list[tuple[date, Incident]]:
    return [(NIGHT - timedelta(days=days), one)]


def test_what_shows_in_the_series_of_an_open_alert_stays_silent() -> None:
    got = tonight([spike(2, 10.0, "team=b", "model=x")], before(spike(1, 10.0, "team=a", "model=x"), 3), NIGHT)
    assert got == {2: "an alert of 2026-03-07 is still open"}


def test_what_goes_on_alerts_again_only_on_a_much_worse_day() -> None:
    was = before(Incident(7, frozenset({"team=a"}), 1, 10.0, 10.0, NIGHT - timedelta(days=5)), 4)
    for peak, held in ((12.0, True), (31.0, False)):
        now = Incident(7, frozenset({"team=a"}), 1, 90.0, peak, NIGHT - timedelta(days=5))      # nine days like that
        assert bool(tonight([now], was, NIGHT)[7]) == held


def test_the_total_alone_relates_nothing_to_nothing() -> None:
    assert tonight([spike(2, 10.0, "team=b")], before(spike(1, 10.0, "team=a"), 3), NIGHT) == {2: ""}


def test_the_way_back_down_is_no_news_and_the_way_up_and_silence_are() -> None:
    up, down, silent = (spike(way, 10.0 * way or -10.0, "team=a", way=way) for way in (1, -1, 0))
    assert tonight([down], before(up, 3), NIGHT)[-1]
    assert tonight([up], before(down, 3), NIGHT) == {1: ""}
    assert tonight([silent], before(up, 3), NIGHT) == {0: ""}


def test_much_worse_breaks_the_silence() -> None:
    assert tonight([spike(2, 40.0, "team=a")], before(spike(1, 10.0, "team=a"), 3), NIGHT) == {2: ""}


def test_what_begins_after_the_pause_may_speak_again_and_what_began_within_it_stays_silent() -> None:
    open_alert = before(spike(1, 10.0, "team=a"), 9)
    assert tonight([spike(2, 10.0, "team=a", began=1)], open_alert, NIGHT) == {2: ""}
    assert tonight([spike(2, 10.0, "team=a", began=4)], open_alert, NIGHT)[2]


def test_a_night_of_forty_is_five_the_dearest_and_none_the_night_after() -> None:
    many = [spike(i, float(i), f"key={i}") for i in range(1, 41)]
    got = tonight(many, [], NIGHT)
    assert sorted(number for number, why in got.items() if not why) == [36, 37, 38, 39, 40]
    earlier = [(NIGHT - timedelta(days=1), one) for one in many if not got[one.number]]
    assert all(tonight([spike(i, 50.0, f"other={i}") for i in range(5)], earlier, NIGHT).values())


def test_spikes_do_not_use_up_the_alerts_of_a_stolen_key() -> None:
    full = [(NIGHT - timedelta(days=1), spike(i, 10.0, f"team={i}")) for i in range(5)]
    assert tonight([spike(9, 10.0, "key=k", lane="threat")], full, NIGHT) == {9: ""}


def test_small_money_is_held_back_with_the_reason() -> None:
    got = tonight([spike(1, 2.0, "team=a")], [], NIGHT, rules=AlertRules(floor=5.0))
    assert got == {1: "effect below the floor of 5"}
