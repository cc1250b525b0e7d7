"""`cost-ops run` against providers' APIs: pages land in the lake, figures come out, keys stay out."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.transforms.tables import CORE_BILLING, CORE_CHARGE
from tests.replay.server import KEY, Provider, serving

CONFIG = """
[workspace]
lake = "lake"
[[sources]]
name = "openai-usage"
kind = "openai.usage"
base_url = "{url}/v1"
api_key_env = "TEST_ADMIN_KEY"
start = "2026-10-01"
[[sources]]
name = "openai-costs"
kind = "openai.costs"
base_url = "{url}/v1"
api_key_env = "TEST_ADMIN_KEY"
start = "2026-10-01"
[[sources]]
name = "anthropic-costs"
kind = "anthropic.cost_report"
base_url = "{url}"
api_key_env = "TEST_ADMIN_KEY"
start = "2026-10-01"
[gates]
unpriced_share = "1"
quarantine_share = "1"
"""


def _run(home: Path) -> int:
    return main(["run", "--config", str(home / "costops.toml"), "-q", "--stage", "ingest", "--stage", "spend"])


def test_a_run_pulls_parses_and_prices_and_asks_for_little_again(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TEST_ADMIN_KEY", KEY)
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-20T06:00:00+00:00")
    provider = Provider()
    with serving(provider) as url:
        (tmp_path / "costops.toml").write_text(CONFIG.format(url=url))
        assert _run(tmp_path) == 0
        asked = set(provider.asked)
        lake = Lake(open_store(str(tmp_path / "lake")), tmp_path / "scratch")
        bills = lake.read(CORE_BILLING)
        buckets = lake.read(CORE_CHARGE)
        assert set(bills["source"]) == {"openai-costs", "anthropic-costs"}
        assert buckets["granularity"].unique().to_list() == ["1d"]
        assert buckets["counted"].all()                      # no request log covers them
        days = set(bills["ChargePeriodStart"].dt.date())
        assert max(days) == date(2026, 10, 19)             # only whole days are asked for
        monkeypatch.setenv("COSTOPS_NOW", "2026-10-21T06:00:00+00:00")
        assert _run(tmp_path) == 0
        assert not any("start_time=1790812800" in one for one in set(provider.asked) - asked)   # not from the start
        assert set(lake.read(CORE_BILLING)["ChargePeriodStart"].dt.date()) >= days | {date(2026, 10, 20)}
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in everything
    assert KEY not in capsys.readouterr().err


def test_a_wrong_key_is_named_by_its_variable_and_stops_no_other_source(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TEST_ADMIN_KEY", KEY)
    monkeypatch.setenv("WRONG_KEY", "sk-admin-wrong-canary-0123456789")
    monkeypatch.setenv("COSTOPS_NOW", "2026-10-05T06:00:00+00:00")
    with serving(Provider()) as url:
        text = CONFIG.format(url=url).replace("TEST_ADMIN_KEY", "WRONG_KEY", 1)
        (tmp_path / "costops.toml").write_text(text)
        assert _run(tmp_path) == 3
    told = capsys.readouterr().err
    assert "openai-usage" in told
    assert "canary" not in told
    lake = Lake(open_store(str(tmp_path / "lake")), tmp_path / "scratch")
    assert lake.read(CORE_BILLING).filter(pl.col("source") == "openai-costs").height > 0
