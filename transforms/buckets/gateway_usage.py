"""`openrouter.activity` (days), `langfuse.observations` and `helicone.requests` (single requests).

Their own cost is an estimate, or OpenRouter's bill, and stays in `reported_cost_usd`. Signed links and prompt text
are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from costops.transforms.billing.text import Damaged, instant
from costops.transforms.buckets.feed import Found, Record, Told, UsageFormat, count, dollars, identity

PROVIDERS = {
    "openai": "openai", "anthropic": "anthropic", "azure": "azure.ai.openai", "amazon bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock", "aws": "aws.bedrock", "google": "gcp.gemini", "google ai studio": "gcp.gemini",
    "google vertex": "gcp.vertex_ai", "vertex": "gcp.vertex_ai", "mistral": "mistral_ai", "groq": "groq",
    "deepseek": "deepseek", "xai": "x_ai", "x_ai": "x_ai", "cohere": "cohere", "perplexity": "perplexity",
    "openrouter": "openrouter", "together": "together_ai", "fireworks": "fireworks_ai",
}
_BY_NAME = (("claude", "anthropic"), ("gpt", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"),
            ("text-embedding-", "openai"), ("gemini", "gcp.gemini"), ("mistral", "mistral_ai"),
            ("deepseek", "deepseek"), ("grok", "x_ai"))
_KEYS = {
    "uncached_input_tokens": ("input", "input_tokens", "prompt", "prompt_tokens", "promptTokenCount",
                              "input_uncached_tokens"),
    "cache_read_tokens": ("input_cached_tokens", "input_cache_read", "cache_read_input_tokens", "input_cached",
                          "cached_tokens", "prompt_details.cache_read", "cachedContentTokenCount",
                          "input_cache_read_tokens"),
    "cache_write_5m_tokens": ("input_cache_creation_5m", "input_cache_creation", "cache_creation_input_tokens",
                              "input_cache_write", "prompt_details.cache_write"),
    "cache_write_1h_tokens": ("input_cache_creation_1h",),
    "output_tokens": ("output", "output_tokens", "completion", "completion_tokens", "candidatesTokenCount"),
    "reasoning_tokens": ("output_reasoning_tokens", "output_reasoning", "reasoning_tokens", "reasoning",
                         "completion_details.reasoning", "thoughtsTokenCount"),
    "audio_input_tokens": ("input_audio_tokens", "input_audio", "prompt_details.audio"),
    "audio_output_tokens": ("output_audio_tokens", "output_audio", "completion_details.audio"),
    "total": ("total", "total_tokens", "totalTokenCount"),
}
_OURS = {spelling: ours for ours, spellings in _KEYS.items() for spelling in spellings}


def provider_of(word: str | None, model: str | None) -> str | None:
    """The provider of a gateway's word for it, else of the model's name."""
    if word and (known := PROVIDERS.get(word.strip().lower())):
        return known
    name = (model or "").rsplit("/", 1)[-1].lower()
    return next((made for start, made in _BY_NAME if name.startswith(start)), word.lower() if word else None)


def _records(told: Any, uri: str, key: str, keys: tuple[str, ...]) -> tuple[list[Told], list[str]]:
    if not isinstance(told, Mapping) or not isinstance(told.get("data"), list):
        error = told.get("error") if isinstance(told, Mapping) else None
        raise Damaged(f"no page with `data` in {uri}: {json.dumps(error, default=str)[:100]}")
    found = [Told(f"{key}|" + "|".join(str(record.get(name)) for name in keys), int(record.get("_line") or line),
                  record) for line, record in enumerate(told["data"], start=1)]
    return found, [one.bucket for one in found]


def unfold_activity(told: Any, uri: str) -> tuple[list[Told], list[str]]:
    """The rows of an activity answer, each its own bucket: the answer is not paged."""
    return _records(told, uri, "activity", ("date", "endpoint_id", "model_permaslug", "workspace_id", "provider_name"))


def row_activity(record: Record) -> list[Found]:
    """A day of an endpoint: cached tokens beyond the prompt are replays of a cached answer, and cut to it."""
    prompt, cached = count(record.get("prompt_tokens")) or 0, count(record.get("cached_tokens")) or 0
    odd = None
    if cached > prompt:
        odd = ("impossible_count", "cached_tokens", "at most prompt_tokens", f"{cached} of {prompt}")
        cached = prompt
    own = dollars(record.get("byok_usage_inference"))
    upstream = provider_of(record.get("provider_name"), record.get("model"))
    extra = {"endpoint_id": record.get("endpoint_id"), "upstream": upstream, "byok_usage_inference":
             str(record["byok_usage_inference"]) if own else None, "workspace_id": record.get("workspace_id")}
    return [Found({
        "record_id": identity(record.get("date"), record.get("endpoint_id"), record.get("model_permaslug"),
                              record.get("workspace_id"), record.get("provider_name")),
        "used_at": instant(str(record.get("date") or "")), "provider": upstream if own else "openrouter",
        "model_id": record.get("model_permaslug") or record.get("model"), "request_model": record.get("model"),
        "operation": "chat", "project_id": record.get("workspace_id"),
        "tags": json.dumps({k: v for k, v in extra.items() if v}, sort_keys=True),
        "requests": count(record.get("requests")), "uncached_input_tokens": prompt - cached,
        "cache_read_tokens": cached, "output_tokens": count(record.get("completion_tokens")) or 0,
        "reasoning_tokens": count(record.get("reasoning_tokens")) or None,
        "reported_cost_usd": dollars(record.get("usage")),
    }, odd=odd)]


def unfold_observations(told: Any, uri: str) -> tuple[list[Told], list[str]]:
    """The observations of a page, or lines of an export; an id told again replaces what it said before."""
    return _records(told, uri, "observation", ("id",))


def row_observation(record: Record) -> list[Found]:
    """A generation or embedding. Which counts lie in which is told by `total`: no provider's habit is assumed."""
    if record.get("type") not in ("GENERATION", "EMBEDDING"):
        return [Found(skip="other_event")]
    usage = record.get("usageDetails") or {}
    counts: dict[str, int] = {}
    odd = None
    for name, value in usage.items():
        ours, number = _OURS.get(name), count(value)
        if ours is None:
            odd = ("unknown_unit", name, "a known usage key", str(value)) if number else odd
        elif ours in counts and number is not None and counts[ours] != number:
            return [Found(wrong=("impossible_count", name, "one figure for each class", json.dumps(usage)[:150]))]
        elif number is not None:
            counts[ours] = number
    if not any(counts.get(name) for name in ("uncached_input_tokens", "output_tokens", "cache_read_tokens")):
        return [Found(skip="no_usage")]
    cells, differs = _disjoint(counts)
    cost = record.get("totalCost")
    model = record.get("model")
    return [Found({
        "record_id": str(record.get("id")), "response_id": record.get("responseId"),
        "used_at": instant(str(record.get("startTime") or "")), "provider": provider_of(None, model),
        "model_id": model, "operation": "embeddings" if record["type"] == "EMBEDDING" else "chat",
        "project_id": record.get("projectId"), "user_id": record.get("userId"),
        "application": record.get("traceName") or record.get("name"),
        "tags": json.dumps({"environment": record.get("environment"), "trace_id": record.get("traceId")}),
        "requests": 1, **cells, "reported_cost_usd": dollars(cost) if cost is not None else
        dollars((record.get("costDetails") or {}).get("total")),
    }, odd=odd or differs)]


def _disjoint(counts: dict[str, int]) -> tuple[dict[str, int], tuple[str, str, str, str] | None]:
    """Leaves of counts that may be disjoint or nested, as their total says; reasoning comes to lie in the output."""
    total = counts.get("total")
    leaves = {name: counts.get(name, 0) for name in (
        "uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")}
    cached = sum(leaves.values()) - leaves["uncached_input_tokens"]
    audio = counts.get("audio_input_tokens", 0)
    output, reasoning = counts.get("output_tokens", 0), counts.get("reasoning_tokens", 0)
    spoken = counts.get("audio_output_tokens", 0)
    plain = leaves["uncached_input_tokens"]
    apart = plain + audio + cached + output + reasoning + spoken
    made = {name: value for name, value in counts.items() if name not in ("total", "uncached_input_tokens")}
    if total is not None and total == plain + output and apart != total:
        return {**made, **leaves, "uncached_input_tokens": plain - cached, "output_tokens": output}, None
    made |= {**leaves, "uncached_input_tokens": plain + audio, "output_tokens": output + reasoning + spoken}
    if total is None or total == apart:
        return made, None
    return made, ("usage_total_differs", "total", f"{apart} as the sum of its parts", str(total))


def unfold_requests(told: Any, uri: str) -> tuple[list[Told], list[str]]:
    """The requests of a Helicone answer; an id told again replaces what it said before."""
    return _records(told, uri, "request", ("request_id",))


def row_request(record: Record) -> list[Found]:
    """A request: Anthropic's prompt excludes cached tokens, the others' include them. Failures cost nothing."""
    status = count(record.get("response_status")) or 0
    prompt, output = count(record.get("prompt_tokens")) or 0, count(record.get("completion_tokens")) or 0
    if not 200 <= status < 300 and not prompt and not output:
        return [Found(skip="failed")]
    model = record.get("response_model") or record.get("request_model")
    provider = provider_of(record.get("provider"), model)
    read = count(record.get("prompt_cache_read_tokens")) or 0
    write = count(record.get("prompt_cache_write_tokens")) or 0
    plain = prompt if provider == "anthropic" else prompt - read - write
    properties = record.get("request_properties") or {}
    asked = record.get("request_model")
    return [Found({
        "record_id": str(record.get("request_id")), "response_id": record.get("response_id"),
        "used_at": instant(str(record.get("request_created_at") or "")), "provider": provider, "model_id": model,
        "request_model": asked if asked != model else None, "operation": "chat",
        "user_id": record.get("request_user_id"), "team": properties.get("team") or properties.get("Team"),
        "application": properties.get("application") or properties.get("app"),
        "tags": json.dumps(properties, sort_keys=True) if properties else None, "requests": 1,
        "uncached_input_tokens": plain, "cache_read_tokens": read, "cache_write_5m_tokens": write,
        "output_tokens": output, "reasoning_tokens": count(record.get("reasoning_tokens")) or None,
        "audio_input_tokens": count(record.get("prompt_audio_tokens")) or None,
        "audio_output_tokens": count(record.get("completion_audio_tokens")) or None,
        "status": "ok" if 200 <= status < 300 else str(status),
        "reported_cost_usd": dollars(record.get("cost") if record.get("cost") is not None else record.get("costUSD")),
    })]


FORMATS = (
    UsageFormat("openrouter.activity", "1d", unfold_activity, row_activity),
    UsageFormat("langfuse.observations", "request", unfold_observations, row_observation, lines=True),
    UsageFormat("helicone.requests", "request", unfold_requests, row_request, lines=True),
)
