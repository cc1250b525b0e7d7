"""Recorded answers of real hosts: each one with a usage object is parsed, or refused with a reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pytest
from tests.unit.parse.conftest import jsonl, parse

from costops.transforms.parse import generic
from costops.transforms.parse.format import Format
from costops.transforms.providers import FORMAT

Record = dict[str, Any]
NOON = "2026-01-01T12:00:00Z"

COHERE_V1 = generic.build({"columns": {
    "used_at": "date", "model_id": "request_model", "input_tokens": "body.meta.billed_units.input_tokens",
    "output_tokens": "body.meta.billed_units.output_tokens"}})
COHERE_V2 = generic.build({"columns": {
    "used_at": "date", "model_id": "request_model", "input_tokens": "body.usage.billed_units.input_tokens",
    "output_tokens": "body.usage.billed_units.output_tokens"}})
OLLAMA = generic.build({"columns": {
    "used_at": "body.created_at", "model_id": "body.model", "input_tokens": "body.prompt_eval_count",
    "output_tokens": "body.eval_count"}})
PINECONE = generic.build({"columns": {
    "used_at": "date", "model_id": "request_model", "input_tokens": "body.usage.total_tokens"}})


def _last_with_usage(events: list[Record]) -> Record:
    """The answer of an OpenAI-like stream; Groq tells usage in a place of its own."""
    told = [event.get("response") or event | (event.get("x_groq") or {}) | {"id": event.get("id")} for event in events]
    return next((one for one in reversed(told) if one.get("usage")), told[-1])


def _claude(events: list[Record]) -> Record:
    message = dict(next(event["message"] for event in events if event["type"] == "message_start"))
    usage = dict(message["usage"])
    for event in events:
        if event["type"] == "message_delta":
            usage |= {key: value for key, value in event["usage"].items() if value is not None}
    return message | {"usage": usage}


def _bedrock(record: Record, body: Record, place: str) -> Record:
    """The invocation log's record of an answer, with the counts that the answer tells."""
    usage = body.get("usage") or {}
    def count(*keys: str) -> int | None:
        return next((usage[key] for key in keys if usage.get(key) is not None), None)
    titan = [one.get("tokenCount") for one in body.get("results") or []]
    asked = unquote(re.sub(r"^.*/model/(.*)/[^/]*$", r"\1", record["path"]))
    return {
        "timestamp": _at(record), "requestId": place, "modelId": asked, "region": record["host"].split(".")[1],
        "operation": "Converse" if record["path"].endswith("/converse") else "InvokeModel",
        "input": {"inputTokenCount": count("inputTokens", "input_tokens", "prompt_tokens")
                  or body.get("inputTextTokenCount"),
                  "cacheReadInputTokenCount": count("cacheReadInputTokens", "cache_read_input_tokens"),
                  "cacheWriteInputTokenCount": count("cacheWriteInputTokens", "cache_creation_input_tokens")},
        "output": {"outputTokenCount": count("outputTokens", "output_tokens", "completion_tokens")
                   or (sum(titan) if titan else None), "outputBodyJson": body},
    }


def _at(record: Record) -> str:
    return parsedate_to_datetime(record["date"]).isoformat() if record.get("date") else NOON


def _feed(record: Record, place: str) -> tuple[Format, str | None, Record]:
    """Format, provider and record of one recorded answer."""
    host, path = record["host"] or record["path"], record["path"]
    events: list[Record] = record.get("sse_events_with_usage") or []
    body: Record = record.get("body", {})
    if host == "api.anthropic.com":
        return FORMAT["anthropic.messages"], None, {
            "timestamp": _at(record), "response": _claude(events) if events else body}
    if host.startswith("bedrock-runtime"):
        return FORMAT["bedrock.invocation_logs"], None, _bedrock(record, body, place)
    if "aiplatform" in host or host == "googleapis.com":
        return FORMAT["vertex.request_logs"], None, {
            "logging_time": _at(record), "request_id": place, "full_response": events or body,
            "model": re.sub(r"^.*(publishers/[^:]*).*$", r"\1", path)}
    if host == "generativelanguage.googleapis.com" or "usageMetadata" in body:
        if events and "usageMetadata" not in events[-1]:
            return FORMAT["gemini.responses"], None, {"timestamp": _at(record), **_interaction(events)}
        return FORMAT["gemini.responses"], None, (
            {"timestamp": _at(record), "response": events} if events else {"timestamp": _at(record), **body})
    wrapped = {"date": _at(record), "request_model": record["request_model"], "body": body}
    if host == "api.cohere.com":
        if events:
            wrapped["body"] = {"usage": events[-1]["delta"]["usage"]}
        return (COHERE_V1 if "meta" in body else COHERE_V2), "cohere", wrapped
    if path.startswith(("/api/chat", "/api/generate")):
        return OLLAMA, "ollama", wrapped
    if "pinecone" in host:
        return PINECONE, "pinecone", wrapped
    return FORMAT["openai.requests"], _provider(host), _last_with_usage(events) if events else body


def _interaction(events: list[Record]) -> Record:
    told: list[Record] = [event.get("interaction") or event for event in events]
    found = dict(next((one for one in reversed(told) if one.get("usage")), told[-1]))
    found.setdefault("usage", (events[-1].get("metadata") or {}).get("usage"))
    return found


def _provider(host: str) -> str | None:
    known = {"openai.com": "openai", "openai.azure.com": "azure.ai.openai", "groq.com": "groq",
             "mistral.ai": "mistral_ai", "openrouter.ai": "openrouter", "deepseek.com": "deepseek",
             "together": "together_ai", "writer.com": "writer", "voyageai.com": "voyage", "bedrock": "aws.bedrock"}
    return next((name for part, name in known.items() if part in host), host)


def _answers(shared: Path) -> Iterator[tuple[str, str, Record]]:
    for file in sorted((shared / "data" / "traces").glob("responses_*.jsonl.gz")):
        for number, record in enumerate(jsonl(file)):
            yield record["host"] or record["path"], f"{file.name}#{number}", record


class Recorded:
    """Every recorded answer run through the format of its host."""

    def __init__(self, shared: Path, scratch: Path) -> None:
        feeds: dict[tuple[str, str, str | None], tuple[Format, list[Record]]] = {}
        for host, place, record in _answers(shared):
            form, provider, made = _feed(record, place)
            feeds.setdefault((host, f"{form.kind}-{id(form)}", provider), (form, []))[1].append(made)
        self.answers: Counter[str] = Counter()
        self.outcomes: dict[str, Counter[str]] = {}
        rows = []
        for number, ((host, _, provider), (form, records)) in enumerate(feeds.items()):
            path = scratch / f"{number}-2026-01-01.jsonl"
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
            told = parse(form, [path], {"provider": provider} if provider else {}, root=scratch)
            self.answers[host] += len(records)
            outcome = self.outcomes.setdefault(host, Counter())
            for verdict, times in told.verdicts.items():
                outcome[verdict] += times
            rows.append(told.rows.with_columns(pl.lit(host).alias("source")))
        self.rows = pl.concat(rows)


@pytest.fixture(scope="module")
def recorded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(shared, tmp_path_factory.mktemp("answers"))


def test_every_recorded_answer_is_parsed_or_refused_with_a_reason(recorded: Recorded) -> None:
    print()
    for host, outcome in sorted(recorded.outcomes.items()):
        print(f"{host:60} {recorded.answers[host]:5} {dict(outcome)}")
    assert sum(recorded.answers.values()) == 2034
    refused = sum((outcome for outcome in recorded.outcomes.values()), Counter[str]())
    assert refused == {
        "ok": 2014 + 5,  # five advisor or compaction steps are billed apart from their message
        "missing_field:model_id": 13, "missing_field:usage": 4, "missing_field:promptTokenCount": 1,
        "impossible_count": 2,
    }


def test_recorded_tokens_add_up_to_what_the_hosts_said(recorded: Recorded, shared: Path) -> None:
    output: Counter[str] = Counter()
    for host, _, record in _answers(shared):
        if host == "api.anthropic.com":
            answer = record["body"] if "body" in record else _claude(record["sse_events_with_usage"])
            usage = answer["usage"]
            output[host] += usage["output_tokens"] + sum(
                step["output_tokens"] for step in usage.get("iterations") or [] if step["type"] != "message")
        elif host == "api.openai.com":
            body = record["body"] if "body" in record else _last_with_usage(record["sse_events_with_usage"])
            if body.get("model"):
                output[host] += body["usage"].get("completion_tokens", body["usage"].get("output_tokens", 0))
        elif "aiplatform" in host:
            meta = (record.get("body") or (record.get("sse_events_with_usage") or [{}])[-1]).get("usageMetadata", {})
            output["vertex"] += meta.get("candidatesTokenCount", 0) + meta.get("thoughtsTokenCount", 0)
    told = recorded.rows.with_columns(
        pl.when(pl.col("source").str.contains("aiplatform")).then(pl.lit("vertex")).otherwise("source").alias("host"))
    assert dict(told.group_by("host").agg(pl.sum("output_tokens")).filter(
        pl.col("host").is_in(list(output))).iter_rows()) == dict(output)
