"""Both trees of provider-native logs against the truth that was worked out apart from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.unit.parse.conftest import Parsed, parse, unpacked

from costops.transforms.providers import FORMAT

SOURCES: dict[str, tuple[tuple[str, str], ...]] = {
    "openai": (("openai.requests", "openai/requests/*.jsonl"),
               ("openai.batch_output", "openai/batch/*_output_*.jsonl")),
    "anthropic": (("anthropic.messages", "anthropic/messages/*.jsonl"),
                  ("anthropic.batch_results", "anthropic/batches/*/*_results_*.jsonl")),
    "bedrock": (("bedrock.invocation_logs", "bedrock/AWSLogs/**/*.json.gz"),),
    "vertex": (("vertex.request_logs", "vertex/request_response_log/*.jsonl"),),
    "azure": (("azure.apim_llm_logs", "azure/am-apimanagementgatewayllmlog/**/*.json"),),
    "litellm": (("litellm.spend_logs", "litellm/spend_logs/*.jsonl"),),
    "otel": (("otel.traces", "otel/*.jsonl"),),
}
TREES = ("clean_october", "faulty_fortnight")
COUNTS = ("requests", "uncached_input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


class Tree:
    """A tree parsed once: per source what the formats told, and the rows that count."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.truth: dict[str, Any] = json.loads((root / "truth.json").read_text())
        self.told: dict[str, list[Parsed]] = {}
        kept = []
        for source, feeds in SOURCES.items():
            for kind, pattern in feeds:
                files, home = sorted(root.glob(pattern)), root
                if not files:
                    continue
                if files[0].suffix == ".gz":
                    files = [unpacked(one, scratch / one.relative_to(root).with_suffix("")) for one in files]
                    home = scratch
                told = parse(FORMAT[kind], files, {}, root=home)
                self.told.setdefault(source, []).append(told)
                kept.append(told.kept().with_columns(pl.lit(source).alias("source")))
        rows = pl.concat(kept)
        own = rows.filter(pl.col("source") == "openai")["record_id"]
        twice = (pl.col("source") == "litellm") & pl.col("record_id").is_in(own.to_list())
        self.cross_source = rows.filter(twice).height
        self.rows = rows.filter(~twice).with_columns(
            (pl.col("cache_write_5m_tokens") + pl.col("cache_write_1h_tokens")).alias("cache_write_tokens"))

    def sums(self, *keys: str) -> dict[tuple[str, ...], tuple[int, ...]]:
        """Totals of the kept rows by some columns."""
        made = self.rows.group_by(keys).agg(pl.sum(*COUNTS))
        return {tuple(map(str, row[: len(keys)])): row[len(keys):] for row in made.iter_rows()}

    def verdicts(self, start: str) -> dict[str, int]:
        """Records of each source whose verdict begins so."""
        found = {source: sum(n for one in told for verdict, n in one.verdicts.items() if verdict.startswith(start))
                 for source, told in self.told.items()}
        return {source: n for source, n in found.items() if n}


@pytest.fixture(scope="module", params=TREES)
def tree(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(shared / "data" / "provider_logs" / request.param, tmp_path_factory.mktemp(request.param))


def wanted(truth: list[dict[str, Any]], *keys: str) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The truth's `input_tokens` leaves out cache reads and writes."""
    return {tuple(row[key] for key in keys):
            tuple(row[name.replace("uncached_input", "input")] for name in COUNTS) for row in truth}


def test_every_source_model_tier_and_day_has_the_requests_and_tokens_of_the_truth(tree: Tree) -> None:
    assert tree.sums("source", "model_id", "service_tier", "day") == wanted(
        tree.truth["log_by_source_model_day"], "source", "model", "tier", "day")
    assert tree.sums("source") == wanted(tree.truth["log_totals"], "source")


def test_every_team_has_the_requests_and_tokens_of_the_truth(tree: Tree) -> None:
    assert tree.sums("team") == wanted(tree.truth["log_by_team"], "team")


def test_bad_failed_and_repeated_records_are_as_many_as_in_the_truth(tree: Tree) -> None:
    counts = tree.truth["counts"]
    assert tree.verdicts("malformed_record") == counts.get("malformed_lines", {})
    assert tree.verdicts("impossible_count") == counts.get("impossible_counts", {})
    assert tree.verdicts("skip:failed") == counts.get("failed_requests", {})
    assert tree.cross_source == counts.get("cross_source_duplicates", {}).get("litellm", 0)
    again = {source: sum(one.rows.height - one.kept().height for one in told) for source, told in tree.told.items()}
    assert {source: n for source, n in again.items() if n} == counts.get("duplicate_records", {})


def test_nothing_else_happens_to_a_record(tree: Tree) -> None:
    words = {verdict.split(":")[0] for told in tree.told.values() for one in told for verdict in one.verdicts}
    assert words <= {"ok", "malformed_record", "impossible_count", "skip"}
    assert tree.verdicts("skip:") == tree.verdicts("skip:failed")


def test_the_diagnostic_log_beside_the_token_log_bills_nothing(shared: Path) -> None:
    root = shared / "data" / "provider_logs" / "faulty_fortnight"
    told = parse(FORMAT["azure.diagnostic_logs"], sorted(root.glob("azure/insights-logs-*/**/*.json")), {}, root=root)
    assert told.verdicts == {"skip:no_usage": 592}
