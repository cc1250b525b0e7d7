"""The sample logs through the job give the generator's truth, to the last digit; September reconciles to nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.flows.runtime.settings import load
from costops.flows.tasks.changes import sentence
from costops.flows.tasks.whatif import what_if
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


# -- what if, by hand -----------------------------------------------------------------------------------------------

UNITS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
LAST = date(2026, 10, 30)
GROK_CODE = dict(zip(UNITS, (Decimal("0.2"), Decimal("0.02"), Decimal(0), Decimal(0), Decimal("1.5")), strict=True))


def used(sample: Done, model: str, tier: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Tokens of each unit and what they cost, of the last four weeks, request by request."""
    mine = (pl.col("model_id") == model) & (pl.col("service_tier") == tier) & pl.col("counted")
    lately = (pl.col("day") > LAST - timedelta(days=28)) & (pl.col("day") <= LAST)
    rows = sample.lake.read(CORE_CHARGE).filter(mine & lately)
    return {unit: (Decimal(sum(row[f"{unit}_tokens"] or 0 for row in rows.iter_rows(named=True))),
                   sum((row[f"{unit}_cost_usd"] or Decimal(0) for row in rows.iter_rows(named=True)), Decimal(0)))
            for unit in UNITS}


def cost(units: dict[str, tuple[Decimal, Decimal]]) -> Decimal:
    return sum((usd for _, usd in units.values()), Decimal(0))


def rate(units: dict[str, tuple[Decimal, Decimal]], unit: str) -> Decimal:
    tokens, usd = units[unit]
    return usd / tokens if tokens else Decimal(0)


def moved_to_grok_code(sample: Done) -> tuple[str, Decimal]:
    own = used(sample, "grok-3", "standard")
    there = sum((tokens * GROK_CODE[unit] / 1_000_000 for unit, (tokens, _) in own.items()), Decimal(0))
    return "grok-3", Decimal("0.5") * (there / cost(own) - 1)


def cached(sample: Done) -> tuple[str, Decimal]:
    own = used(sample, "claude-sonnet-4-5-20250929", "standard")
    whole = sum((own[unit][0] for unit in UNITS[:4]), Decimal(0))
    rest = whole - own["cache_read"][0]
    now = {unit: Decimal("0.4") * whole * own[unit][0] / rest for unit in UNITS[:4]} | {
        "cache_read": Decimal("0.6") * whole, "output": own["output"][0]}
    after = sum((tokens * rate(own, unit) for unit, tokens in now.items()), Decimal(0))
    return "claude-sonnet-4-5-20250929", after / cost(own) - 1


def batched(sample: Done) -> tuple[str, Decimal]:
    name = "claude-haiku-4-5-20251001"
    plain, batch = used(sample, name, "standard"), used(sample, name, "batch")
    price = {unit: Decimal("0.6") * rate(plain, unit) + Decimal("0.4") * rate(batch, unit) for unit in UNITS}
    after = sum(((plain[unit][0] + batch[unit][0]) * price[unit]
                 for unit in UNITS), Decimal(0))
    return name, after / (cost(plain) + cost(batch)) - 1


def cheaper(sample: Done) -> tuple[str, Decimal]:
    assert cost(used(sample, "grok-3", "standard")) > 0
    return "grok-3", Decimal("-0.2")


@pytest.mark.parametrize(("words", "by_hand"), [
    ("move grok-3 to grok-code-fast-1 50%", moved_to_grok_code), ("cache 60% of claude-sonnet-4-5-20250929", cached),
    ("batch 40% of claude-haiku-4-5-20251001", batched), ("price grok-3 -20%", cheaper)])
def test_a_scenario_of_the_samples_moves_what_repricing_by_hand_says(
        sample: Done, words: str, by_hand: Callable[[Done], tuple[str, Decimal]]) -> None:
    told = what_if(sample.lake, load(str(sample.home / "costops.toml")), [sentence(words)], last=LAST, horizon=30).by_model
    model, share = by_hand(sample)
    rows = {row["model_id"]: row for row in told.iter_rows(named=True)}
    assert rows[model]["base_usd"] > 0.5
    assert rows["total"]["difference_usd"] == pytest.approx(rows[model]["base_usd"] * float(share), rel=1e-9)
