"""Lines as LiteLLM, OpenTelemetry and our own import shape have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from making.call import Call, hexed, stamp
from making.prices import cost
from making.text import csv_line, dumps, number, plain

LITELLM_PROVIDERS = {"mistral_ai": "mistral", "openai": "openai"}


def _litellm(call: Call, offset: int, status: str, tail: dict[str, Any]) -> str:
    spend = cost(call) if status == "success" else None
    used = call if status == "success" else None
    return dumps({
        "request_id": f"chatcmpl-{call.key}", "call_type": "acompletion", "api_key": hexed("key", call.team) * 2,
        "spend": number(spend or 0), "total_tokens": used.total + used.output if used else 0,
        "prompt_tokens": used.total if used else 0, "completion_tokens": used.output if used else 0,
        "startTime": stamp(call.at_us, offset), "endTime": stamp(call.at_us + 900_000, offset),
        "completionStartTime": None, "model": call.model, "model_id": "", "model_group": call.model, "api_base": "",
        "user": "", "metadata": {"user_api_key_team_alias": call.team, "status": status, **tail},
        "cache_hit": "False", "cache_key": "", "request_tags": [f"team:{call.team}"], "team_id": call.team,
        "end_user": None, "custom_llm_provider": LITELLM_PROVIDERS[call.provider], "status": status,
    })


def litellm(call: Call, offset: int) -> str:
    """A row of the spend log; cached tokens are only in the usage object."""
    return _litellm(call, offset, "success", {"usage_object": {
        "prompt_tokens": call.total, "completion_tokens": call.output, "total_tokens": call.total + call.output,
        "prompt_tokens_details": {"cached_tokens": call.read},
    }})


def litellm_failed(call: Call) -> str:
    """A row of a refused request: no tokens, no spend."""
    return _litellm(call, 0, "failure", {"error_information": {"error_code": "429"}})


def _value(value: str | int) -> dict[str, str]:
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def _span(call: Call, name: str, kind: int, attributes: dict[str, str | int], status: dict[str, Any]) -> str:
    return dumps({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": _value(call.team or "")}]},
        "scopeSpans": [{"scope": {"name": "app"}, "spans": [{
            "traceId": call.key, "spanId": call.key[:16] if kind == 3 else call.key[16:], "name": name, "kind": kind,
            "startTimeUnixNano": str(call.at_us * 1000), "endTimeUnixNano": str(call.at_us * 1000 + 900_000_000),
            "attributes": [{"key": key, "value": _value(value)} for key, value in attributes.items()],
            "status": status,
        }]}],
    }]})


def otel(call: Call, _offset: int) -> str:
    """A chat span; one in eight still has the names of before 2025."""
    old = int(call.key[0], 16) < 2
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "chat", "gen_ai.system" if old else "gen_ai.provider.name": "groq",
        "gen_ai.request.model": call.model, "gen_ai.response.model": call.model,
        "gen_ai.response.id": f"chatcmpl-{call.key}",
        "gen_ai.usage.prompt_tokens" if old else "gen_ai.usage.input_tokens": call.total,
        "gen_ai.usage.completion_tokens" if old else "gen_ai.usage.output_tokens": call.output,
    }
    if call.read:
        attributes["gen_ai.usage.cache_read.input_tokens"] = call.read
    return _span(call, f"chat {call.model}", 3, attributes, {})


def otel_failed(call: Call) -> str:
    """A chat span that ended in an error."""
    return _span(call, f"chat {call.model}", 3, {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "groq", "gen_ai.request.model": call.model,
        "error.type": "429"}, {"code": 2, "message": "rate limited"})


def otel_plain(call: Call) -> str:
    """A web server's span without any model in it."""
    return _span(call, "POST /v1/ask", 2, {"http.request.method": "POST"}, {})


GENERIC = ("event_id", "occurred_at", "provider", "model", "operation", "service_tier", "region", "is_batch", "status",
           "input_uncached_tokens", "input_cache_read_tokens", "input_cache_write_5m_tokens",
           "input_cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "input_audio_tokens",
           "output_audio_tokens", "web_searches", "team", "feature", "user_id", "api_key_ref", "reported_cost",
           "reported_currency")


def _generic(call: Call, offset: int, status: str) -> list[object]:
    spent = cost(call) if status == "ok" else None
    return [call.key, stamp(call.at_us, offset, 3), call.provider, call.model, "chat", "standard", None, False, status,
            call.uncached, call.read, 0, 0, call.output, call.reasoning, 0, 0, 0, call.team, "assistant",
            f"user-{int(call.key[:2], 16) % 40:02d}", f"key-{call.key[2]}",
            None if spent is None else plain(spent), None if spent is None else "USD"]


def generic_csv(call: Call, offset: int, status: str = "ok") -> str:
    """A line of our own CSV: five classes of tokens that do not overlap."""
    cells = _generic(call, offset, status)
    return csv_line(["" if cell is None else str(cell).lower() if isinstance(cell, bool) else cell for cell in cells])


def generic_jsonl(call: Call, offset: int, status: str = "ok") -> str:
    """The same keys as one JSON object."""
    return dumps(dict(zip(GENERIC, _generic(call, offset, status), strict=True)))


def _nothing(call: Call) -> Call:
    return replace(call, uncached=0, read=0, output=0, reasoning=0)


def generic_csv_failed(call: Call) -> str:
    """A failed request with no tokens."""
    return generic_csv(_nothing(call), 0, "error")


def generic_jsonl_failed(call: Call) -> str:
    """A failed request with no tokens."""
    return generic_jsonl(_nothing(call), 0, "error")
