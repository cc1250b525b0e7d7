from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices import data as price_data

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
LOGS = SAMPLES / "logs"
GENAI_PROVIDER = {"aws.bedrock": "aws", "gcp.gemini": "google", "gcp.vertex_ai": "google", "azure.ai.openai": "openai",
                  "mistral_ai": "mistral", "x_ai": "x-ai"}
GENAI_TIER = {"standard": None, "batch": {"processing": "batch"}, "flex": {"service_tier": "flex"},
              "priority": {"service_tier": "priority"}}
GENAI_UNIT = {"uncached": "input_mtok", "read": "cache_read_mtok", "write_5m": "cache_write_mtok",
              "write_1h": "cache_write_1h_mtok", "output": "output_mtok"}
CLASSES = ("uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
MEASURES = ("requests", "input_tokens", *CLASSES, "output_tokens", "reasoning_tokens", "unpriced_requests")


@pytest.fixture(scope="module")
def truth() -> Any:
    return json.loads((SAMPLES / "truth.json").read_text(encoding="utf-8"))


def generated(folder: Path) -> dict[str, bytes]:
    places = [folder / "truth.json", *(place for place in (folder / "logs").rglob("*") if place.is_file())]
    return {place.relative_to(folder).as_posix(): place.read_bytes() for place in places}


def test_the_committed_samples_are_what_the_generator_writes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Kolkata", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, SAMPLES / "generate.py", "--out", tmp_path], check=True, env=environment,
                   capture_output=True)
    made, kept = generated(tmp_path), generated(SAMPLES)
    assert made.keys() == kept.keys()
    assert [path for path in made if made[path] != kept[path]] == []


def test_the_samples_stay_small() -> None:
    files = generated(SAMPLES)
    assert sum(len(content) for content in files.values()) <= 10_000_000
    assert len(files) <= 1_500


@pytest.mark.parametrize("table", ["by_source", "by_month", "by_source_month", "by_day", "by_team",
                                   "by_team_month", "by_source_model_tier_day"])
def test_every_table_of_the_truth_adds_up_to_the_total(truth: Any, table: str) -> None:
    for measure in MEASURES:
        assert sum(row[measure] for row in truth[table]) == truth["total"][measure]
    assert sum(Decimal(row["cost_usd"]) for row in truth[table]) == Decimal(truth["total"]["cost_usd"])


def test_token_classes_do_not_overlap(truth: Any) -> None:
    for row in truth["by_source_model_tier_day"]:
        assert row["input_tokens"] == sum(row[name] for name in CLASSES)
        assert row["reasoning_tokens"] <= row["output_tokens"]


def test_every_line_is_accounted_for(truth: Any) -> None:
    kinds = ("requests", "duplicates", "malformed", "impossible", "failed", "other")
    for tally in truth["lines_by_source"].values():
        assert sum(tally[kind] for kind in kinds) == tally["lines"]
    requests = {row["source"]: row["requests"] for row in truth["by_source"]}
    assert {source: tally["requests"] for source, tally in truth["lines_by_source"].items()} == requests


def test_the_newest_bills_are_the_logs_and_the_named_variance(truth: Any) -> None:
    logged: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in truth["by_source_month"]:
        logged[truth["bill_of_source"][row["source"]], row["month"]] += Decimal(row["cost_usd"])
    for row in truth["expected_variance_usd"]:
        logged[row["source"], row["month"]] += Decimal(row["variance_usd"])
    assert {(row["source"], row["month"]): Decimal(row["total_usd"]) for row in truth["bills"]} == logged


def test_every_kind_of_fault_is_in_the_samples(truth: Any) -> None:
    found: Counter[str] = Counter()
    for tally in truth["lines_by_source"].values():
        found.update(tally)
    assert all(found[name] for name in (
        "duplicates", "duplicates_in_another_file", "cross_source_duplicates", "malformed", "impossible", "failed",
        "late", "offset_timestamps", "files_out_of_order"))
    assert truth["unpriced"]["requests"]
    assert truth["above_200k_requests"]
    assert {row["tier"] for row in truth["by_source_model_tier_day"]} == {"standard", "batch", "flex", "priority"}


def test_the_readme_tells_the_sums_of_the_truth(truth: Any) -> None:
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    total = truth["total"]
    assert f"{total['requests']:,} billed requests, {Decimal(total['cost_usd']):.2f} USD" in readme
    assert f"{total['unpriced_requests']} of them for a model" in readme


def test_a_broken_archive_is_sent_again_whole(truth: Any) -> None:
    cut = (SAMPLES / truth["cut_archive"]["path"]).read_bytes()
    whole = (SAMPLES / truth["cut_archive"]["sent_again_as"]).read_bytes()
    assert whole.startswith(cut)
    assert gzip.decompress(whole).endswith(b"}\n")
    with pytest.raises(EOFError):
        gzip.decompress(cut)


def test_the_hand_written_prices_are_those_of_genai_prices_on_every_day(truth: Any) -> None:
    providers = {provider.id: provider for provider in price_data.providers}
    first, last = (datetime.fromisoformat(truth[name]).replace(tzinfo=UTC) for name in ("first_day", "last_day"))
    for row in truth["prices_usd_per_million"]:
        model = providers[GENAI_PROVIDER.get(row["provider"], row["provider"])].find_model(row["model"])
        assert model is not None, row["model"]
        when = max(first, datetime.fromisoformat(row["from"]).replace(tzinfo=UTC))
        if row["tier"] != "standard":    # the row starts on the first day for which the tier's own price is known
            eve = when - timedelta(days=1)
            assert model.get_prices(eve, GENAI_TIER[row["tier"]]) == model.get_prices(eve)
        while when <= last and not superseded(truth, row, when):
            price = model.get_prices(when, GENAI_TIER[row["tier"]])
            stated = {name: Decimal(row[name]) for name in GENAI_UNIT if row[name] is not None}
            found = {name: rate(getattr(price, GENAI_UNIT[name], None), row["above_input_tokens"]) for name in stated}
            assert found == stated, (row, when)
            when += timedelta(days=1)


def superseded(truth: Any, row: Any, when: datetime) -> bool:
    same = ("provider", "model", "tier", "above_input_tokens")
    return any(row["from"] < other["from"] <= str(when.date()) for other in truth["prices_usd_per_million"]
               if all(row[name] == other[name] for name in same))


def rate(price: Any, above: int) -> Any:
    if not hasattr(price, "tiers"):
        return None if above else price
    steps: dict[int, Decimal] = {0: price.base, **{tier.start: tier.price for tier in price.tiers}}
    return steps[above]


def test_no_price_list_knows_the_unpriced_model(truth: Any) -> None:
    assert [provider.id for provider in price_data.providers
            if provider.id == "openai" and provider.find_model(truth["unpriced"]["model"])] == []


# The files themselves, read back without the generator: id, input tokens and output tokens of each billed line.
Read = Callable[[Any], tuple[str, int, int] | None]


def openai_body(body: Any) -> tuple[str, int, int] | None:
    used = (body or {}).get("usage")
    if used is None or used["prompt_tokens"] < used["prompt_tokens_details"]["cached_tokens"]:
        return None
    return body["id"], used["prompt_tokens"], used["completion_tokens"]


def anthropic_message(body: Any) -> tuple[str, int, int] | None:
    used = (body or {}).get("usage")
    if used is None or used["input_tokens"] < 0:
        return None
    asked = used["input_tokens"] + used["cache_creation_input_tokens"] + used["cache_read_input_tokens"]
    return body["id"], asked, used["output_tokens"]


def bedrock(line: Any) -> tuple[str, int, int] | None:
    used = line["input"]
    if "output" not in line or used["inputTokenCount"] < 0:
        return None
    asked = used["inputTokenCount"] + used["cacheReadInputTokenCount"] + used["cacheWriteInputTokenCount"]
    return line["requestId"], asked, line["output"]["outputTokenCount"]


def gemini(key: str | None, body: Any) -> tuple[str, int, int] | None:
    used = body.get("usageMetadata")
    if key is None or used is None or used["promptTokenCount"] < used.get("cachedContentTokenCount", 0):
        return None
    return key, used["promptTokenCount"], used.get("candidatesTokenCount", 0) + used.get("thoughtsTokenCount", 0)


def otel(line: Any) -> tuple[str, int, int] | None:
    span = line["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    values = {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}
    asked = values.get("gen_ai.usage.input_tokens", values.get("gen_ai.usage.prompt_tokens"))
    answered = values.get("gen_ai.usage.output_tokens", values.get("gen_ai.usage.completion_tokens"))
    if asked is None or answered is None or int(asked) < int(values.get("gen_ai.usage.cache_read.input_tokens", 0)):
        return None
    return values["gen_ai.response.id"], int(asked), int(answered)


def generic(line: Any) -> tuple[str, int, int] | None:
    if line["status"] != "ok" or int(line["input_uncached_tokens"]) < 0:
        return None
    asked = int(line["input_uncached_tokens"]) + int(line["input_cache_read_tokens"])
    return line["event_id"], asked, int(line["output_tokens"])


READERS: dict[str, tuple[str, Read]] = {
    "openai": ("openai/requests/*.jsonl", openai_body),
    "openai-batch": ("openai/batch/*_output.jsonl", lambda line: openai_body((line["response"] or {}).get("body"))),
    "anthropic": ("anthropic/messages/*.jsonl", lambda line: anthropic_message(line["response"])),
    "anthropic-batch": ("anthropic/batches/*/*_results.jsonl",
                        lambda line: anthropic_message(line["result"].get("message"))),
    "bedrock": ("bedrock/AWSLogs/**/*.json.gz", bedrock),
    "gemini": ("gemini/responses/*.jsonl", lambda line: gemini(line.get("responseId"), line)),
    "vertex": ("vertex/request_response_log/*.jsonl", lambda line: gemini(line["request_id"], line["full_response"])),
    "azure": ("azure/am-*/**/PT1H.json", lambda line: (line["CorrelationId"], line["PromptTokens"],
                                                     line["CompletionTokens"])
              if line["SequenceNumber"] == 0 and line["PromptTokens"] > 0 else None),
    "litellm": ("litellm/spend_logs/*.jsonl",
                lambda line: openai_body({"usage": line["metadata"]["usage_object"], "id": line["request_id"]})
                if line["status"] == "success" and line["custom_llm_provider"] == "mistral" else None),
    "otel": ("otel/traces-*.jsonl", otel),
    "claude-code": ("claude_code/projects/**/*.jsonl", lambda line: anthropic_message(line["message"])),
    "grok-csv": ("generic/*.csv", generic),
    "grok-jsonl": ("generic/*.jsonl", generic),
}


def lines_of(place: Path) -> Iterator[Any]:
    content = gzip.decompress(place.read_bytes()) if place.suffix == ".gz" else place.read_bytes()
    text = content.decode()
    if place.suffix == ".csv":
        yield from (row for row in csv.DictReader(text.splitlines()) if row["reported_currency"] is not None)
        return
    for line in text.split("\n"):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


@pytest.mark.parametrize("source", READERS)
def test_the_files_hold_the_tokens_of_the_truth(truth: Any, source: str) -> None:
    pattern, read = READERS[source]
    cut = SAMPLES / truth["cut_archive"]["path"]
    found: dict[str, tuple[int, int]] = {}
    for place in sorted(LOGS.glob(pattern)):
        for line in lines_of(place) if place != cut else ():
            one = read(line)
            if one is not None and one[2] >= 0:
                key, asked, answered = one
                found[key] = max((asked, answered), found.get(key, (asked, answered)))
    row = next(row for row in truth["by_source"] if row["source"] == source)
    assert (len(found), sum(asked for asked, _ in found.values()), sum(answered for _, answered in found.values())) == (
        row["requests"], row["input_tokens"], row["output_tokens"])


def exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def bill_sums() -> dict[str, Decimal]:
    """The USD of every newest bill, read from its files."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for place in LOGS.glob("openai/costs/as_of=*/*.json"):
        for bucket in exact(place.read_text())["data"]:
            sums["openai-costs"] += sum(Decimal(row["amount"]["value"]) for row in bucket["results"])
    for place in LOGS.glob("anthropic/cost_report/as_of=*/*.json"):
        for bucket in exact(place.read_text())["data"]:
            sums["anthropic-costs"] += sum(Decimal(row["amount"]) / 100 for row in bucket["results"])
    for place in LOGS.glob("bedrock/cur2/as_of=2026-10-31/data/*/*.csv.gz"):
        rows = csv.DictReader(gzip.decompress(place.read_bytes()).decode().splitlines())
        sums["bedrock-cur"] += sum(Decimal(row["line_item_unblended_cost"]) for row in rows)
    for source in ("vertex", "gemini"):
        for place in LOGS.glob(f"{source}/billing/as_of=*/*.jsonl"):
            sums[f"{source}-billing"] += sum(Decimal(exact(line)["cost"]) for line in place.read_text().splitlines())
    for bill, pattern, column in (("azure-costs", "azure/cost_export/**/*.csv", "Cost"),
                                  ("litellm-bill", "litellm/invoice/**/*.csv", "amount_usd"),
                                  ("otel-bill", "otel/invoice/**/*.csv", "amount_usd"),
                                  ("grok-bill", "generic/invoice/**/*.csv", "amount_usd")):
        for place in LOGS.glob(pattern):
            sums[bill] += sum(Decimal(row[column]) for row in csv.DictReader(place.read_text().splitlines()))
    return sums


def test_the_files_hold_the_bills_of_the_truth(truth: Any) -> None:
    told: dict[str, Decimal] = defaultdict(Decimal)
    for row in truth["bills"]:
        if row["as_of"] == "2026-10-31":
            told[row["source"]] += Decimal(row["total_usd"])
    assert bill_sums() == told
