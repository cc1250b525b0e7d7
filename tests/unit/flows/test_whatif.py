"""Scenarios: each priced by hand beside what the command says."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from costops.flows.tasks import changes
from costops.transforms.errors import Usage
from tests.unit.flows.spend import LAST, MADE, PLAIN, PRICES, READ, Place, usual

HORIZON = 10
CALM_DAY = {model: (PLAIN * plain + READ * read + MADE * made) / 1e6 for model, (plain, read, made) in PRICES.items()}


def asked(place: Place, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, float]]:
    assert place.told("--horizon", str(HORIZON), "--format", "json", *words) == 0
    rows = json.loads(capsys.readouterr().out)
    return {one["model_id"]: one for one in rows}


@pytest.fixture
def calm(place: Place) -> Place:
    """Every day alike, so that the forecast is the day itself and each scenario can be priced by hand."""
    place.fill(usual(range(60), calm=True))
    return place


def test_the_baseline_is_what_the_days_cost(calm: Place, capsys: pytest.CaptureFixture[str]) -> None:
    got = asked(calm, capsys, "--what-if", "growth +0%")
    for model, day in CALM_DAY.items():
        assert got[model]["base_usd"] == pytest.approx(HORIZON * day, rel=1e-6)
    assert got["total"]["difference_usd"] == pytest.approx(0.0, abs=1e-9)


def test_traffic_moved_costs_what_the_other_model_charges_for_it(calm: Place, capsys: pytest.CaptureFixture[str]) -> None:
    got = asked(calm, capsys, "--what-if", "move gpt-4o-2024-08-06 to gpt-5-mini-2025-08-07 30%")
    by_hand = 0.3 * HORIZON * (CALM_DAY["gpt-5-mini-2025-08-07"] - CALM_DAY["gpt-4o-2024-08-06"])
    assert got["total"]["difference_usd"] == pytest.approx(by_hand, rel=1e-6)
    gone = -0.3 * HORIZON * CALM_DAY["gpt-4o-2024-08-06"]
    assert got["gpt-4o-2024-08-06"]["difference_usd"] == pytest.approx(gone, rel=1e-6)
    assert got["claude-sonnet-4-5-20250929"]["difference_usd"] == 0


def test_a_scenario_and_its_difference_have_an_interval(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.fill(usual(range(60)))
    got = asked(place, capsys, "--what-if", "growth +50% of gpt-4o-2024-08-06")
    for one in (got["total"], got["gpt-4o-2024-08-06"]):
        assert one["scenario_low95_usd"] < one["scenario_usd"] < one["scenario_high95_usd"]
        assert 0 < one["difference_low95_usd"] < one["difference_usd"] < one["difference_high95_usd"]
        below = 1 - one["scenario_low95_usd"] / one["scenario_usd"]
        assert one["difference_low95_usd"] == pytest.approx(one["difference_usd"] * (1 - below))
    assert got["claude-sonnet-4-5-20250929"]["difference_high95_usd"] == 0


def test_a_model_that_was_never_used_is_priced_by_the_book(calm: Place, capsys: pytest.CaptureFixture[str]) -> None:
    got = asked(calm, capsys, "--what-if", "move gpt-4o-2024-08-06 to gpt-4o-mini-2024-07-18 100%")
    new = (PLAIN * 0.15 + READ * 0.075 + MADE * 0.6) / 1e6
    assert got["gpt-4o-mini-2024-07-18"]["scenario_usd"] == pytest.approx(HORIZON * new, rel=1e-6)


def test_a_cache_rate_moves_input_between_two_prices(calm: Place, capsys: pytest.CaptureFixture[str]) -> None:
    got = asked(calm, capsys, "--what-if", "cache 60 percent of claude-sonnet-4-5-20250929")
    by_hand = HORIZON * (0.6 * (PLAIN + READ) - READ) * (0.3 - 3.0) / 1e6
    assert got["total"]["difference_usd"] == pytest.approx(by_hand, rel=1e-6)


def test_batch_costs_half(calm: Place, capsys: pytest.CaptureFixture[str]) -> None:
    got = asked(calm, capsys, "--what-if", "batch 40% of claude-sonnet-4-5-20250929")
    by_hand = -0.2 * HORIZON * CALM_DAY["claude-sonnet-4-5-20250929"]
    assert got["total"]["difference_usd"] == pytest.approx(by_hand, rel=1e-6)


def test_growth_and_a_price_from_a_day_on_in_a_file(calm: Place, capsys: pytest.CaptureFixture[str]) -> None:
    start = LAST + timedelta(days=6)
    (calm.home / "s.toml").write_text(
        f'[[change]]\nkind = "growth"\npercent = 20\nmodel = "gpt-4o-2024-08-06"\nstart = {start}\n'
        f'[[change]]\nkind = "price"\nmodel = "gpt-4o-2024-08-06"\nunit = "output"\nprice_usd = 5.0\nstart = {start}\n')
    got = asked(calm, capsys, "--scenario", str(calm.home / "s.toml"))
    cheaper = CALM_DAY["gpt-4o-2024-08-06"] - MADE * 5.0 / 1e6
    by_hand = 5 * (1.2 * cheaper - CALM_DAY["gpt-4o-2024-08-06"])
    assert got["total"]["difference_usd"] == pytest.approx(by_hand, rel=1e-6)
    assert calm.told("--horizon", "10", "--format", "csv", "--by-day", "--scenario", str(calm.home / "s.toml")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines if not line.endswith((",0", ",0.0"))][1] == str(start)


@pytest.mark.parametrize(("text", "said"), [
    ("move everything", "not understood"), ("move gpt-4o-2024-08-06 to no-such-model 30%", "does not sell it"),
    ("cache 130%", "expected 0 to 100"), ("batch 10% of gpt-9", "no such model"), ("growth -120%", "less than nothing"),
    ("price gpt-4o-2024-08-06 input 3", "give a percent, or a unit"),
])
def test_what_cannot_be_asked_is_refused_with_the_reason(calm: Place, capsys: pytest.CaptureFixture[str], text: str,
                                                         said: str) -> None:
    assert calm.told("--what-if", text) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("body", ["x = 1", "[[change]]\nkind = 'fly'", "[[change]]\nkind = 'move'\nmodel = 'a'",
                                  "[[change]]\nkind = 'growth'\npercent = nan", "[[change", "change = 3"])
def test_a_scenario_file_that_is_wrong_is_refused(tmp_path: Path, body: str) -> None:
    (tmp_path / "s.toml").write_text(body)
    with pytest.raises(Usage):
        changes.scenario_file(str(tmp_path / "s.toml"))
