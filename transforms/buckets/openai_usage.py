"""`openai.usage`: pages of every /organization/usage endpoint, told apart by `results[].object`.

`input_tokens` includes cached and written tokens; the row has the leaves. Web search calls count searches only: the
requests behind them are counted by completions. Vector stores are bytes held, no unit of ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from costops.transforms.billing.text import Damaged
from costops.transforms.buckets.feed import Found, Record, Told, UsageFormat, buckets_of, count, identity, width

_OPERATIONS = {
    "completions": "chat", "decisions": "chat", "embeddings": "embeddings", "moderations": "moderation",
    "images": "image_generation", "audio_speeches": "speech", "audio_transcriptions": "transcription",
    "web_searches": "web_search", "code_interpreter_sessions": "code_interpreter", "file_searches": "file_search",
    "vector_stores": "vector_store",
}
_TIERS = {None: "standard", "default": "standard", "auto": "standard", "scale": "provisioned", "fast": "priority"}
_DIMENSIONS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source", "size", "source",
               "vector_store_id", "context_level")


def unfold(told: Any, uri: str) -> tuple[list[Told], list[str]]:
    """The records of a page, or of a map of endpoint to page."""
    if isinstance(told, Mapping) and "data" not in told:
        pages = {name: page for name, page in told.items() if isinstance(page, Mapping) and "data" in page}
        if not pages:
            raise Damaged(f"no page with `data`: {json.dumps(told.get('error'), default=str)[:100]}")
        found: list[Told] = []
        names: list[str] = []
        for name, page in pages.items():
            records, buckets = buckets_of(page, uri, ("start_time", "end_time"), _endpoint(page) or name)
            found += [Told(one.bucket, len(found) + one.line, one.record) for one in records]
            names += buckets
        return found, names
    return buckets_of(told, uri, ("start_time", "end_time"), _endpoint(told) or _named(uri))


def _named(uri: str) -> str:
    """The endpoint of a page without results, by its place."""
    asked = {"web_search_calls": "web_searches", "file_search_calls": "file_searches"}
    for name in (*asked, *_OPERATIONS):
        if name in uri:
            return asked.get(name, name)
    return uri


def _endpoint(page: Any) -> str | None:
    if not isinstance(page, Mapping):
        return None
    for bucket in page.get("data") or []:
        for result in bucket.get("results", bucket.get("result")) or []:
            return str(result.get("object", "")).removeprefix("organization.usage.").removesuffix(".result")
    return None


def row(record: Record) -> list[Found]:
    """The row of a result; the parts of the input must add up to it."""
    name = str(record.get("object", "")).removeprefix("organization.usage.").removesuffix(".result")
    if name not in _OPERATIONS:
        return [Found(wrong=("unknown_unit", "object", "a known result type", name))]
    start, granularity = width(record)
    batch = record.get("batch") is True
    tier = record.get("service_tier")
    dimensions = {key: record.get(key) for key in _DIMENSIONS if record.get(key) is not None}
    extra = {key: value for key, value in dimensions.items()
             if key in ("api_source", "size", "source", "vector_store_id", "context_level")}
    cells: dict[str, Any] = {
        "record_id": identity(name, record["_start"], granularity, json.dumps(dimensions, sort_keys=True)),
        "granularity": granularity, "used_at": start, "provider": "openai", "model_id": record.get("model"),
        "operation": _OPERATIONS[name], "service_tier": "batch" if batch else _TIERS.get(tier, tier),
        "project_id": record.get("project_id"), "api_key_id": record.get("api_key_id"),
        "user_id": record.get("user_id"), "account_id": record.get("organization_id"),
        "tags": json.dumps(extra, sort_keys=True) if extra else None,
        "requests": count(record.get("num_model_requests")),
    }
    if name in ("completions", "decisions", "embeddings", "moderations"):
        return [_tokens(record, cells)]
    return [_other(name, record, cells)]


def _tokens(record: Record, cells: dict[str, Any]) -> Found:
    total, cached = count(record.get("input_tokens")), count(record.get("input_cached_tokens")) or 0
    written = count(record.get("input_cache_write_tokens")) or 0
    long = count(record.get("input_cache_write_12h_tokens")) or 0
    short = count(record.get("input_cache_write_30m_tokens"))
    plain = count(record.get("input_uncached_tokens"))
    if total is None:
        return Found(wrong=("missing_field", "input_tokens", "a count", "none"))
    plain = total - cached - written if plain is None else plain
    if plain + cached + written != total or (short is not None and short + long != written):
        return Found(wrong=("impossible_count", "input_tokens", "cached + written + uncached",
                            f"{total} for {cached} + {written} + {plain}"))
    cells |= {
        "uncached_input_tokens": plain, "cache_read_tokens": cached, "cache_write_5m_tokens": written - long,
        "cache_write_12h_tokens": long or None, "output_tokens": count(record.get("output_tokens")) or 0,
        "audio_input_tokens": count(record.get("input_audio_tokens")) or None,
        "audio_cache_read_tokens": count(record.get("input_cached_audio_tokens")) or None,
        "audio_output_tokens": count(record.get("output_audio_tokens")) or None,
        "image_input_tokens": count(record.get("input_image_tokens")) or None,
        "image_cache_read_tokens": count(record.get("input_cached_image_tokens")) or None,
        "image_output_tokens": count(record.get("output_image_tokens")) or None,
    }
    return Found(cells)


def _other(name: str, record: Record, cells: dict[str, Any]) -> Found:
    units = {"images": ("images", "images"), "audio_speeches": ("characters", "characters"),
             "audio_transcriptions": ("seconds", "audio_seconds"), "web_searches": ("num_requests", "web_searches"),
             "code_interpreter_sessions": ("num_sessions", "code_sessions")}
    if name not in units:
        field = "usage_bytes" if name == "vector_stores" else "num_requests"
        value = count(record.get(field)) or 0
        return Found(skip="other_unit", odd=("unknown_unit", f"{name}.{field}", "a unit of the vocabulary", str(value))
                     if value else None)
    theirs, ours = units[name]
    cells[ours] = count(record.get(theirs))
    if name == "web_searches":
        cells["requests"] = 0
    if not cells[ours] and not cells["requests"]:
        return Found(skip="nothing used")
    return Found(cells)


FORMAT = UsageFormat("openai.usage", "1d", unfold, row)
