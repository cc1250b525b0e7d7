"""One claim per kind: the samples as told, and the edges where providers differ."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.parse.conftest import Parse

from costops.transforms.errors import Usage
from costops.transforms.parse import generic

COUNTS = ("uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
          "output_tokens", "reasoning_tokens")
TIME = "2026-10-01T10:00:00Z"


def counts(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row[name] for name in COUNTS)


def sample(shared: Path, name: str) -> list[Any]:
    text = (shared / "formats" / "samples" / name).read_text()
    return text.splitlines() if name.endswith("l") else [json.loads(text)]


# -- Anthropic ---------------------------------------------------------------------------------------------------

def test_a_bare_message_takes_its_day_from_the_file(parsed: Parse, shared: Path) -> None:
    row = parsed("anthropic.messages", sample(shared, "anthropic_message.json"), name="log-2026-09-14.jsonl").only()
    assert counts(row) == (412, 18000, 2600, 0, 734, 300)
    assert (row["input_tokens"], row["web_searches"], row["region"]) == (21012, 2, "global")
    assert row["used_at"] == datetime(2026, 9, 14)


def message(usage: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"timestamp": TIME, "workspace_id": "wrkspc_search",
            "response": {"id": "msg_1", "type": "message", "model": "claude-opus-5", "usage": usage, **more}}


def test_a_write_without_lifetime_counts_as_five_minutes(parsed: Parse) -> None:
    row = parsed("anthropic.messages", [message({"input_tokens": 1, "output_tokens": 2,
                                                 "cache_creation_input_tokens": 9})]).only()
    assert counts(row) == (1, 0, 9, 0, 2, 0)
    assert (row["team"], row["project_id"]) == ("search", "wrkspc_search")
    split = {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5}
    row = parsed("anthropic.messages", [message({"input_tokens": 1, "output_tokens": 2, "cache_creation": split,
                                                 "cache_creation_input_tokens": 9})]).only()
    assert counts(row) == (1, 0, 4, 5, 2, 0)


def test_parts_above_their_sum_are_impossible(parsed: Parse) -> None:
    split = {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6}
    told = parsed("anthropic.messages", [message({"input_tokens": 1, "output_tokens": 2, "cache_creation": split,
                                                  "cache_creation_input_tokens": 9})])
    assert told.verdicts == {"impossible_count:usage.cache_creation": 1}


@pytest.mark.parametrize(("usage", "tier"), [
    ({}, "standard"), ({"service_tier": "priority_on_demand"}, "priority"), ({"service_tier": "flex_discount"}, "flex"),
    ({"speed": "fast", "service_tier": "standard"}, "fast"), ({"service_tier": "moonbeam"}, "moonbeam")])
def test_the_tier_that_served_in_our_words(parsed: Parse, usage: dict[str, Any], tier: str) -> None:
    told = parsed("anthropic.messages", [message({"input_tokens": 1, "output_tokens": 1, **usage})])
    assert told.only()["service_tier"] == tier


def test_compaction_and_advisor_are_billed_apart_from_their_message(parsed: Parse) -> None:
    usage = {"input_tokens": 220, "output_tokens": 8, "iterations": [
        {"type": "compaction", "input_tokens": 100, "output_tokens": 131, "cache_creation_input_tokens": 50},
        {"type": "advisor_message", "model": "claude-fable-5", "input_tokens": 9, "output_tokens": 4},
        {"type": "message", "input_tokens": 220, "output_tokens": 8}]}
    rows = parsed("anthropic.messages", [message(usage)]).rows.sort("record_id")
    assert rows.select("record_id", "model_id", "operation", "requests", "input_tokens", "output_tokens").rows() == [
        ("msg_1", "claude-opus-5", "chat", 1, 220, 8),
        ("msg_1#2", "claude-opus-5", "compaction", 0, 150, 131),
        ("msg_1#3", "claude-fable-5", "advisor_message", 0, 9, 4)]


def test_an_error_is_no_usage_and_a_body_without_usage_is_missing_some(parsed: Parse, shared: Path) -> None:
    told = parsed("anthropic.messages", [*sample(shared, "anthropic_error_429.json"), {"timestamp": TIME, "response": {
        "id": "msg_1", "model": "claude-opus-5"}}, '{"timestamp": "2026', "[]"])
    assert told.verdicts == {"skip:failed": 1, "missing_field:usage": 1, "malformed_record": 2}


def test_a_count_that_no_answer_has_is_set_aside(parsed: Parse) -> None:
    bad: list[Any] = [-1, "NaN", 1.5, 10**30, 10**16]
    told = parsed("anthropic.messages", [message({"input_tokens": one, "output_tokens": 1}) for one in bad])
    assert told.rows.is_empty()
    assert sum(n for verdict, n in told.verdicts.items() if verdict.startswith("impossible_count")) == len(bad)


def test_a_batch_is_dated_by_its_object_and_named_by_its_prefix(parsed: Parse, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "batches" / "msgbatch_7"
    folder.mkdir(parents=True)
    (tmp_path / "batches" / "msgbatch_7.json").write_text('{"id": "msgbatch_7", "created_at": "2026-10-01T00:00:00Z", '
                                                          '"ended_at": "2026-10-02T01:00:00+02:00"}')
    lines = [line.replace("doc-00001", "search/1") for line in sample(shared, "anthropic_batch_results.jsonl")]
    (folder / "results.jsonl").write_text("\n".join(lines))
    told = parsed("anthropic.batch_results", folder / "results.jsonl", root=tmp_path)
    row = told.only()
    assert told.verdicts == {"ok": 1, "skip:failed": 2}
    assert (row["team"], row["service_tier"], row["used_at"]) == (
        "search", "batch", datetime(2026, 10, 1, 23))
    unnamed = parsed("anthropic.batch_results", lines, name="results.jsonl")
    assert unnamed.verdicts == {"missing_field:used_at": 1, "skip:failed": 2}


def test_a_claude_code_message_told_again_keeps_its_largest_state(parsed: Parse) -> None:
    def line(output: int, at: str) -> dict[str, Any]:
        return {"type": "assistant", "timestamp": at, "sessionId": "s", "uuid": f"u{output}", "message": {
            "id": "msg_1", "model": "claude-opus-4-6", "usage": {"input_tokens": 3, "output_tokens": output}}}
    told = parsed("claude_code.sessions", [
        line(9, "2026-02-12T16:02:27.718Z"), line(40, "2026-02-12T16:02:29Z"), line(12, "2026-02-12T16:02:30Z"),
        {"type": "user", "timestamp": TIME, "message": {"role": "user", "content": "x"}},
        {"type": "summary", "summary": "x", "leafUuid": "y"},
        {"type": "assistant", "timestamp": TIME, "message": {"id": "x", "model": "<synthetic>", "usage": {
            "input_tokens": 0, "output_tokens": 0}}}])
    assert told.verdicts == {"ok": 3, "skip:other_event": 2, "skip:synthetic": 1}
    assert told.kept()["output_tokens"].to_list() == [40]
    assert told.kept()["application"].to_list() == ["claude-code"]


# -- Bedrock -----------------------------------------------------------------------------------------------------

def test_bedrock_profiles_keep_their_geography_and_principals_their_names(parsed: Parse, shared: Path) -> None:
    told = parsed("bedrock.invocation_logs", sample(shared, "bedrock_invocation_log.jsonl"))
    first = told.rows.row(0, named=True)
    assert told.verdicts == {"ok": 3, "skip:failed": 1}
    assert counts(first) == (1200, 8000, 0, 0, 350, 0)
    assert (first["model_id"], first["team"], first["user_id"], first["region"]) == (
        "global.anthropic.claude-haiku-4-5-20251001-v1:0", "search", "alice@example.com", "us-east-1")
    assert told.rows["team"].to_list() == ["search", "search", "SearchAppRole"]


def test_bedrock_splits_cache_writes_where_the_answer_tells_it(parsed: Parse) -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    def line(usage: dict[str, Any]) -> dict[str, Any]:
        return {"timestamp": TIME, "requestId": str(usage), "modelId": arn,
                "input": {"inputTokenCount": 1, "cacheWriteInputTokenCount": 10},
                "output": {"outputTokenCount": 2, "outputBodyJson": {"usage": usage}}}
    stream = line({}) | {"requestId": "s", "output": {"outputTokenCount": 2, "outputBodyJson": [{"chunk": 1}]}}
    told = parsed("bedrock.invocation_logs", [
        line({"cacheDetails": [{"ttl": "5m", "inputTokens": 4}, {"ttl": "1h", "inputTokens": 6}]}),
        line({"cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 7}}), stream,
        {"timestamp": TIME, "requestId": "none", "modelId": arn}])
    assert told.rows.select("cache_write_5m_tokens", "cache_write_1h_tokens").rows() == [(4, 6), (3, 7), (10, 0)]
    assert set(told.rows["model_id"]) == {arn}
    assert told.verdicts == {"ok": 3, "missing_field:input.inputTokenCount": 1}


# -- Google ------------------------------------------------------------------------------------------------------

def test_gemini_output_is_candidates_and_thoughts_and_input_has_tool_prompts(parsed: Parse, shared: Path) -> None:
    row = parsed("gemini.responses", sample(shared, "google_generate_content.json")).only()
    assert counts(row) == (560, 1000, 0, 0, 500, 200)
    assert (row["image_input_tokens"], row["record_id"], row["service_tier"]) == (100, "exResp1", "standard")


def test_a_streamed_answer_counts_its_last_chunk_once(parsed: Parse) -> None:
    chunks = [{"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": made, "thoughtsTokenCount": 2},
               "modelVersion": "gemini-3-flash", "responseId": "r"} for made in (1, 5, 7)] + [{"candidates": []}]
    row = parsed("gemini.responses", [{"timestamp": TIME, "response": chunks}]).only()
    assert counts(row) == (9, 0, 0, 0, 9, 2)
    row = parsed("vertex.request_logs", [{"logging_time": "2026-10-01 10:00:00 UTC", "request_id": "1",
                                          "model": "publishers/google/models/gemini-3-flash",
                                          "full_response": chunks}]).only()
    assert counts(row) == (9, 0, 0, 0, 9, 2)


def test_live_answers_and_contradictions(parsed: Parse) -> None:
    def live(**usage: int) -> dict[str, Any]:
        return {"timestamp": TIME, "responseId": str(usage), "modelVersion": "gemini-3-live", "usageMetadata": usage}
    told = parsed("gemini.responses", [live(promptTokenCount=5, responseTokenCount=7),
                                       live(promptTokenCount=5, cachedContentTokenCount=6, toolUsePromptTokenCount=9),
                                       live(totalTokenCount=900), live(promptTokenCount=-5, toolUsePromptTokenCount=9)])
    assert counts(told.only()) == (5, 0, 0, 0, 7, 0)
    assert told.verdicts == {"ok": 1, "impossible_count:cachedContentTokenCount": 1,
                             "missing_field:promptTokenCount": 1, "impossible_count": 1}


@pytest.mark.parametrize(("traffic", "tier"), [
    ("ON_DEMAND", "standard"), ("PROVISIONED_THROUGHPUT", "provisioned"), ("ON_DEMAND_PRIORITY", "priority"),
    ("ON_DEMAND_FLEX", "flex"), ("ON_DEMAND_OFFPEAK", "on_demand_offpeak")])
def test_vertex_traffic_tells_the_tier(parsed: Parse, traffic: str, tier: str) -> None:
    row = parsed("vertex.request_logs", [{
        "logging_time": "2026-10-01 10:00:00.5 UTC", "request_id": "1", "model": "publishers/google/models/gemini-3",
        "full_response": {"usage_metadata": {"prompt_token_count": 3, "candidates_token_count": 2,
                                             "traffic_type": traffic}}}]).only()
    assert (row["service_tier"], row["model_id"], row["input_tokens"]) == (tier, "gemini-3", 3)


def test_claude_on_vertex_is_read_from_its_payload(parsed: Parse, shared: Path) -> None:
    told = parsed("vertex.request_logs", sample(shared, "google_vertex_reqresp_log.jsonl"))
    assert told.rows.select("model_id", "request_model", "input_tokens", "output_tokens", "team").rows() == [
        ("gemini-2.5-flash", None, 1500, 500, "search"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", 700, 90, None)]


# -- Azure -------------------------------------------------------------------------------------------------------

def test_apim_counts_the_row_with_tokens_and_not_the_message_chunks(parsed: Parse, shared: Path) -> None:
    told = parsed("azure.apim_llm_logs", sample(shared, "azure_apim_llmlog.jsonl"))
    assert told.verdicts == {"ok": 1, "skip:message_chunk": 1}
    assert (told.only()["team"], told.only()["project_id"]) == ("gpt4o-prod", "gpt4o-prod")


@pytest.mark.parametrize(("deployment", "model", "team"), [
    ("team-03-gpt-4o", "gpt-4o-mini", "team-03"), ("chat", "gpt-4o", "chat"), ("-gpt-4o", "gpt-4o", "-gpt-4o")])
def test_the_deployment_names_the_team(parsed: Parse, deployment: str, model: str, team: str) -> None:
    row = parsed("azure.apim_llm_logs", [{
        "TimeGenerated": "2026-10-28T11:48:27+05:30", "CorrelationId": "1", "DeploymentName": deployment,
        "ModelName": model, "PromptTokens": 1, "CompletionTokens": 1}]).only()
    assert (row["team"], row["used_at"]) == (team, datetime(2026, 10, 28, 6, 18, 27))


# -- LiteLLM -----------------------------------------------------------------------------------------------------

def test_litellm_rows_of_the_table_and_of_the_callback_say_the_same(parsed: Parse, shared: Path) -> None:
    table = parsed("litellm.spend_logs", sample(shared, "litellm_spend_logs.jsonl"))
    assert table.verdicts == {"ok": 2, "skip:gateway_cache": 1, "skip:failed": 1}
    first, second = table.rows.sort("record_id").rows(named=True)
    assert counts(first) == (552, 2048, 0, 0, 540, 384)
    assert counts(second) == (412, 18000, 2600, 0, 734, 0)
    assert (second["web_searches"], second["provider"], second["reported_cost_usd"]) == (
        2, "anthropic", Decimal("0.065660000000"))
    callback = parsed("litellm.spend_logs", sample(shared, "litellm_standard_logging_payload.json")).only()
    same = ("record_id", "used_at", "provider", "model_id", "team", "input_tokens", "reported_cost_usd", "api_key_id")
    assert [callback[name] for name in same] == [first[name] for name in same]


@pytest.mark.parametrize(("prompt", "uncached"), [(100, 10), (70, 20), (30, 30)])
def test_the_numbers_tell_whether_litellm_counts_cached_input(parsed: Parse, prompt: int, uncached: int) -> None:
    row = parsed("litellm.spend_logs", [{
        "request_id": "1", "startTime": TIME, "model": "anthropic/claude-opus-5", "custom_llm_provider": "anthropic",
        "metadata": {"usage_object": {"prompt_tokens": prompt, "completion_tokens": 1, "cache_read_input_tokens": 50,
                                      "cache_creation_input_tokens": 40}}}]).only()
    assert counts(row) == (uncached, 50, 40, 0, 1, 0)
    assert row["model_id"] == "claude-opus-5"


def test_openai_cached_input_above_the_prompt_is_impossible_at_a_gateway_too(parsed: Parse) -> None:
    told = parsed("litellm.spend_logs", [{
        "request_id": "1", "startTime": TIME, "model": "gpt-5", "custom_llm_provider": "openai", "metadata": {
            "usage_object": {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}}}])
    assert told.verdicts == {"impossible_count": 1}


# -- OpenTelemetry -----------------------------------------------------------------------------------------------

def span(attributes: dict[str, Any], number: int = 1, parent: str = "", **more: Any) -> dict[str, Any]:
    def value(told: Any) -> dict[str, Any]:
        return {"intValue": str(told)} if isinstance(told, int) else {"stringValue": told}
    return {"traceId": "t", "spanId": f"s{number}", "parentSpanId": parent,
            "startTimeUnixNano": "1793271719052094000", "status": {}, **more,
            "attributes": [{"key": key, "value": value(told)} for key, told in attributes.items()]}


def traces(*spans: dict[str, Any]) -> dict[str, Any]:
    service = [{"key": "service.name", "value": {"stringValue": "search"}}]
    return {"resourceSpans": [{"resource": {"attributes": service}, "scopeSpans": [{"spans": list(spans)}]}]}


def test_sample_spans_in_current_and_old_words(parsed: Parse, shared: Path) -> None:
    told = parsed("otel.traces", sample(shared, "otlp_genai_traces.jsonl"))
    assert told.verdicts == {"ok": 3, "skip:failed": 1}
    assert [counts(row) for row in told.rows.sort("used_at").rows(named=True)] == [
        (552, 2048, 0, 0, 540, 384), (412, 18000, 2600, 0, 734, 0), (800, 0, 0, 0, 120, 0)]
    assert told.rows.sort("used_at")["response_id"].to_list() == ["chatcmpl-exA1", "msg_01exA", None]


@pytest.mark.parametrize(("attributes", "provider"), [
    ({"gen_ai.system": "OpenAI", "gen_ai.response.model": "m", "gen_ai.usage.prompt_tokens": 10,
      "gen_ai.usage.completion_tokens": 3, "gen_ai.usage.cache_read_input_tokens": 4,
      "gen_ai.usage.reasoning_tokens": 2}, "openai"),
    ({"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.provider": "openai",
      "llm.token_count.prompt": 10, "llm.token_count.completion": 3, "llm.token_count.prompt_details.cache_read": 4,
      "llm.token_count.completion_details.reasoning": 2}, "openai"),
    ({"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "m", "ai.model.provider": "anthropic.messages",
      "ai.usage.inputTokens": 10, "ai.usage.outputTokens": 3, "ai.usage.cachedInputTokens": 4,
      "ai.usage.reasoningTokens": 2}, "anthropic")])
def test_every_spelling_of_usage(parsed: Parse, attributes: dict[str, Any], provider: str) -> None:
    row = parsed("otel.traces", [traces(span(attributes))]).only()
    assert counts(row) == (6, 4, 0, 0, 3, 2)
    assert (row["provider"], row["model_id"], row["team"], row["record_id"]) == (provider, "m", "search", "t-s1")


def test_only_leaf_spans_of_a_model_count(parsed: Parse) -> None:
    usage = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 1,
             "gen_ai.usage.output_tokens": 1}
    told = parsed("otel.traces", [
        traces(span(usage, 1), span(usage, 2, "s1"), span({"http.method": "GET"}, 3)),
        traces(span(usage | {"gen_ai.operation.name": "invoke_agent"}, 4)),
        traces(span(usage | {"openinference.span.kind": "CHAIN"}, 5)),
        traces(span(usage | {"ai.operationId": "ai.generateText"}, 6)),
        traces(), {"resourceMetrics": [{"schemaUrl": "x"}]}, '{"resourceSpans": [{'])
    assert told.verdicts == {"ok": 1, "skip:other_span": 6, "skip:other_signal": 1, "malformed_record": 1}
    assert told.only()["record_id"] == "t-s2"


def test_exclusive_input_and_bad_counts_of_spans(parsed: Parse) -> None:
    base = {"gen_ai.system": "anthropic", "gen_ai.request.model": "m", "gen_ai.usage.output_tokens": 1}
    told = parsed("otel.traces", [
        traces(span(base | {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 9})),
        traces(span(base | {"gen_ai.usage.input_tokens": -5}, 2)),
        traces(span(base | {"gen_ai.usage.input_tokens": "x"}, 3)),
    ])
    assert counts(told.only()) == (5, 9, 0, 0, 1, 0)
    assert told.verdicts == {"ok": 1, "impossible_count": 2}


def test_a_repeated_attribute_stops_nothing(parsed: Parse) -> None:
    twice = span({"gen_ai.system": "openai", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 5})
    twice["attributes"] += twice["attributes"]
    assert parsed("otel.traces", [traces(twice)]).only()["input_tokens"] == 5


# -- Any other ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["generic_usage.csv", "generic_usage.jsonl"])
def test_our_own_header(parsed: Parse, shared: Path, name: str) -> None:
    told = parsed("generic.usage", shared / "formats" / "samples" / name)
    assert told.verdicts == {"ok": 2, "skip:failed": 1}
    second = told.rows.sort("used_at").row(1, named=True)
    assert counts(second) == (412, 18000, 2600, 0, 734, 300)
    assert (second["record_id"], second["response_id"], second["reported_cost_usd"]) == (
        "anthropic:exA2", "exA2", Decimal("0.065660000000"))


def test_named_columns_read_a_list_of_events(parsed: Parse) -> None:
    form = generic.build({"columns": {
        "used_at": "at", "model_id": "p.model", "input_tokens": "p.in", "cache_read_tokens": "p.read",
        "output_tokens": "p.out", "application": "=it's ours"}, "only": {"kind": "send"}, "time": "ms"})
    line = {"kind": "send", "at": 1793271719052, "p": {"model": "claude-x", "in": 10, "read": 4, "out": 2}}
    told = parsed(form, [line, line, line | {"kind": "other"}, line | {"p": {"model": "claude-x"}}])
    assert told.verdicts == {"ok": 2, "skip:other_event": 1, "missing_field:usage": 1}
    assert told.kept().height == 2, "equal rows of one input are both kept"
    row = told.rows.row(0, named=True)
    assert counts(row) == (6, 4, 0, 0, 2, 0)
    assert (row["provider"], row["application"], row["used_at"]) == (
        "anthropic", "it's ours", datetime(2026, 10, 29, 11, 1, 59, 52000))


def test_the_same_input_told_twice_has_the_same_ids(parsed: Parse, tmp_path: Path) -> None:
    form = generic.build({"columns": {"used_at": "t", "model_id": "m", "output_tokens": "o"}})
    line = '{"t": 1793271719, "m": "gpt-5", "o": 1}\n'
    (tmp_path / "a.jsonl").write_text(line * 2)
    (tmp_path / "b.jsonl").write_text(line * 2)
    told = parsed(form, [tmp_path / "a.jsonl", tmp_path / "b.jsonl"], root=tmp_path)
    assert (told.rows.height, told.kept().height) == (4, 2)


@pytest.mark.parametrize(("options", "words"), [
    ({"columns": {"used_at": "t", "model": "m"}}, "did you mean 'model_id'"),
    ({"columns": {"used_at": "t", "model_id": "m"}}, "at least one count"),
    ({"columns": {"output_tokens": "o", "model_id": "m"}}, "used_at"),
    ({"columns": {"used_at": "a.b", "model_id": "a", "output_tokens": "o"}}, "'a'"),
    ({"columns": {"used_at": "a'b", "model_id": "m", "output_tokens": "o"}}, "no field path"),
    ({"time": "fortnights"}, "fortnights"), ({"input": "sideways"}, "sideways")])
def test_a_wrong_mapping_is_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(Usage, match=words):
        generic.build(options)


# -- OpenAI-like hosts -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("usage", [
    {"cached_tokens": 4}, {"num_cached_tokens": 4}, {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6},
    {"prompt_token_details": {"cached_tokens": 4}}, {"prompt_tokens_details": {"cached_tokens": 4}}])
def test_hosts_spell_cached_input_in_their_own_way(parsed: Parse, usage: dict[str, Any]) -> None:
    row = parsed("openai.requests", [{"id": "1", "created": 1793271719, "model": "m", "usage": {
        "prompt_tokens": 10, "completion_tokens": 1, **usage}}], {"provider": "groq"}).only()
    assert (row["uncached_input_tokens"], row["cache_read_tokens"], row["provider"]) == (6, 4, "groq")
