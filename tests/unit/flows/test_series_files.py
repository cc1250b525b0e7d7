"""`cost-ops forecast` on long files that say more than a value a day."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from costops.flows.command import main
from costops.models.boosted import Settings

FIRST = date(2026, 1, 5)
DAYS, HORIZON = 150, 7


def day(step: int) -> date:
    return FIRST + timedelta(days=step)


def users(step: int) -> float:
    return (1_500.0 if step // 20 % 2 else 1_000.0) * (3 if step >= DAYS else 1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that learn little: what they are told matters here, not how well they do."""
    monkeypatch.setattr("costops.models.forecast.Settings", partial(Settings, rows=6_000, trees=25))


@pytest.fixture
def long(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    path = tmp_path / "long.csv"
    pl.DataFrame({"unique_id": "a", "ds": [day(step) for step in range(DAYS)],
                  "y": [users(step) * (0.5 if step % 7 > 4 else 1.0) * np.exp(rng.normal(0, 0.03)) for step in range(DAYS)]
                  }).write_csv(path)
    return path


def told(path: Path, drivers: Path) -> int:
    return main(["forecast", "--input", str(path), "--horizon", str(HORIZON), "--drivers", str(drivers),
                 "--format", "json"])


def test_drivers_of_a_file_are_followed_and_one_without_a_plan_is_said(long: Path, capsys: pytest.CaptureFixture[str]
                                                                       ) -> None:
    drivers = long.with_name("drivers.csv")
    pl.DataFrame({"ds": [day(step) for step in range(DAYS + HORIZON)],
                  "users": [users(step) for step in range(DAYS + HORIZON)],
                  "signups": [5.0 if step < DAYS else None for step in range(DAYS + HORIZON)]}).write_csv(drivers)
    assert told(long, drivers) == 0
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert {row["model"].split(" with ")[-1] for row in rows} == {"users"}
    assert rows[0]["yhat"] > 2_500                        # never seen before, and planned
    assert f"{drivers}: signups: ends on {day(DAYS - 1)} and the forecast on {day(DAYS + HORIZON - 1)}" in printed.err


@pytest.mark.parametrize(("text", "message"), [
    ("users\n5\n", "column 'ds' is missing"),
    ("ds,users\n2026-01-05,5\n6.1.,5\n", "row 2: ds is '6.1.'; expected a day such as 2026-03-01"),
    ("ds,users\n2026-01-05,many\n", "row 1: users is 'many'; expected a number"),
    ("ds\n2026-01-05\n", "no column beside 'ds'"),
    ("ds,users\n", "no row; expected the days of each driver"),
    ("ds,users,users\n2026-01-05,5,6\n", "the header names 'users' more than once"),
    ("day,metric,value\n2026-01-05,users,\n", "row 1: users is None; expected a number"),
])
def test_a_file_of_drivers_that_cannot_be_read_is_refused_with_its_row(
        long: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    drivers = long.with_name("drivers.csv")
    drivers.write_text(text)
    assert told(long, drivers) == 2
    assert message in capsys.readouterr().err


def test_drivers_go_with_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forecast", "--drivers", "d.csv"]) == 2
    assert "--drivers goes with --input" in capsys.readouterr().err


def test_a_short_file_of_hours_is_forecast_from_them_where_they_say_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                                         ) -> None:
    rng = np.random.default_rng(7)
    start = datetime(2026, 3, 2)
    rows = [{"unique_id": name, "ds": (start + timedelta(hours=step)).isoformat(), "y": level[step // 24] * (1 + step % 24)}
            for name, level in (("noisy", np.exp(rng.normal(0, 0.3, 12))),
                                ("weekly", np.where(np.arange(12) % 7 > 4, 1.0, 9.0))) for step in range(12 * 24)]
    path = tmp_path / "hours.csv"
    pl.DataFrame(rows).write_csv(path)
    assert main(["forecast", "--input", str(path), "--horizon", "7", "--format", "json"]) == 0
    printed = capsys.readouterr()
    models = {row["unique_id"]: row["model"] for row in json.loads(printed.out)}
    assert models["noisy"].endswith(" with hours")
    assert not models["weekly"].endswith(" with hours")
    assert f"{path}: weekly: hours are no better than days on the held-out days" in printed.err
