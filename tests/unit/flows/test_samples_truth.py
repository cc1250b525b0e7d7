"""The sample logs through the job give the generator's truth, to the last digit; September reconciles to nothing."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.transforms.tables import CORE_CHARGE, CORE_INPUT, OUT_RECONCILIATION, OUT_SPEND_DAILY
from tests.conftest import ROOT, shared_data

COUNTS = ["requests", "input_tokens", "uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens",
          "cache_write_1h_tokens", "output_tokens", "reasoning_tokens"]


class Done:
    def __init__(self, home: Path, code: int) -> None:
        self.code, self.home = code, home
        self.lake = Lake(open_store(str(home / "lake")), home / "scratch")


def run(config: Path, *stages: str) -> int:
    given = [part for name in stages for part in ("--stage", name)]
    return main(["run", "--config", str(config), "-q", *given])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Done:
    home = tmp_path_factory.mktemp("sample")
    shutil.copytree(ROOT / "data" / "samples" / "logs", home / "logs")
    shutil.copyfile(ROOT / "data" / "samples" / "costops.toml", home / "costops.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSTOPS_NOW", "2026-10-31T06:00:00+00:00")
        return Done(home, run(home / "costops.toml", "ingest", "spend", "reconcile"))


def test_the_samples_give_their_truth(sample: Done) -> None:
    truth = json.loads((ROOT / "data" / "samples" / "truth.json").read_text())
    keys = ["source", "model_id", "service_tier", "day"]
    got = sample.lake.read(CORE_CHARGE).filter("counted").group_by(keys).agg(
        *(pl.col(name).sum() for name in COUNTS), pl.col("list_cost_usd").cast(pl.Decimal(38, 12)).sum())
    told = {(row["source"], row["model_id"], row["service_tier"], str(row["day"])): row for row in got.to_dicts()}
    wanted: list[dict[str, Any]] = truth["by_source_model_tier_day"]
    assert len(told) == len(wanted)
    for row in wanted:
        mine = told[row["source"], row["model"], row["tier"], row["day"]]
        assert [mine[name] for name in COUNTS] == [row[name] for name in COUNTS]
        assert mine["list_cost_usd"] == Decimal(row["cost_usd"])
    assert sample.lake.read(OUT_SPEND_DAILY)["list_cost_usd"].sum() == Decimal(truth["total"]["cost_usd"])


def test_every_line_of_the_samples_is_accounted_for(sample: Done) -> None:
    truth = json.loads((ROOT / "data" / "samples" / "truth.json").read_text())["lines_by_source"]
    inputs = sample.lake.read(CORE_INPUT).group_by("source").agg(
        pl.col("lines_read", "rows_kept", "duplicates", "findings", "non_billable").sum())
    for row in inputs.iter_rows(named=True):
        assert row["lines_read"] == row["rows_kept"] + row["duplicates"] + row["findings"] + row["non_billable"]
        assert row["findings"] >= truth[row["source"]]["malformed"] + truth[row["source"]]["impossible"]


def test_september_reconciles_to_nothing(sample: Done) -> None:
    causes = sample.lake.read(OUT_RECONCILIATION, [{"month": "2026-09"}])
    assert sample.code == 0
    assert causes["billed_usd"].sum() > 0 or causes.is_empty()
    assert causes.filter(pl.col("cause_usd") != 0).is_empty()


@pytest.mark.parametrize("tree", ["clean_october", "faulty_fortnight"])
def test_shared_logs_and_bills_give_their_truth(tree: str, tmp_path: Path) -> None:
    """Requests, tokens, cost per source, model, tier, day and team; and what the bills differ by, with its cause."""
    root = shared_data() / "provider_logs"
    for item in (root / tree).iterdir():
        (tmp_path / item.name).symlink_to(item)
    (tmp_path / "costops.toml").write_text((root / "costops.toml").read_text())
    assert run(tmp_path / "costops.toml", "ingest", "spend", "reconcile") == (0 if tree == "clean_october" else 1)
    truth = json.loads((root / tree / "truth.json").read_text())
    lake = Lake(open_store(str(tmp_path / "lake")), tmp_path / "scratch")
    charges = lake.read(CORE_CHARGE).filter("counted").with_columns(source=pl.col("source").str.replace("-batch$", ""))
    got = charges.group_by("source", "model_id", "service_tier", "day").agg(
        pl.col("requests", "output_tokens", "cache_read_tokens").sum(),
        pl.col("list_cost_usd").cast(pl.Decimal(38, 12)).sum())
    told = {(row["source"], row["model_id"], row["service_tier"], str(row["day"])): row for row in got.to_dicts()}
    wanted = truth["log_by_source_model_day"]
    assert len(told) == len(wanted)
    for row in wanted:
        mine = told[row["source"], row["model"], row["tier"], row["day"]]
        assert (mine["requests"], mine["output_tokens"], mine["cache_read_tokens"]) == (
            row["requests"], row["output_tokens"], row["cache_read_tokens"])
        assert mine["list_cost_usd"] == Decimal(row["cost_usd"])
    inputs = lake.read(CORE_INPUT).group_by(pl.col("source").str.replace("-batch$", "")).agg(
        pl.col("duplicates", "late_records").sum())
    for column, key in (("duplicates", "duplicate_records"), ("late_records", "late_records")):
        counted = {name: count for name, count in inputs.select("source", column).iter_rows() if count}
        assert counted == truth["counts"].get(key, {})
    teams = dict(charges.group_by("team").agg(pl.col("list_cost_usd").cast(pl.Decimal(38, 12)).sum()).iter_rows())
    assert teams == {row["team"]: Decimal(row["cost_usd"]) for row in truth["log_by_team"]}
    causes = lake.read(OUT_RECONCILIATION)
    by_issuer = dict(causes.group_by("issuer").agg(pl.col("cause_usd").sum()).filter(pl.col("cause_usd") != 0).iter_rows())
    names = {"openai": "OpenAI", "vertex": "Google Cloud"}
    assert by_issuer == {names[name]: Decimal(usd) for name, usd in truth["expected_variance_usd"].items()}
    named = set(causes.filter(pl.col("cause_usd") != 0).select("issuer", "cause").unique().iter_rows())
    assert named == ({("OpenAI", "price_book"), ("Google Cloud", "missing_usage")} if by_issuer else set())
