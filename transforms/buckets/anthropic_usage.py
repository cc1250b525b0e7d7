"""`anthropic.usage_report` (message tokens by bucket) and `claude_code.analytics` (tokens by developer and day).

The five token counts of the report are disjoint. It counts no requests, so `requests` is 0: completeness can be
checked on tokens only. What Claude Code analytics tells is in the report too when it is billed through the API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from costops.transforms.billing.text import Damaged, amount, instant
from costops.transforms.buckets.feed import (
    Found,
    Record,
    Told,
    UsageFormat,
    buckets_of,
    count,
    dollars,
    identity,
    width,
)

_TIERS = {"priority_on_demand": "priority", "flex_discount": "flex"}
_DIMENSIONS = ("api_key_id", "workspace_id", "account_id", "service_account_id", "model", "service_tier",
               "context_window", "inference_geo", "speed")


def unfold(told: Any, uri: str) -> tuple[list[Told], list[str]]:
    """The records of a page of the usage report."""
    return buckets_of(told, uri, ("starting_at", "ending_at"))


def row(record: Record) -> list[Found]:
    """The row of a result; a NULL workspace is the default one, as the cost report has it."""
    start, granularity = width(record)
    creation = record.get("cache_creation") or {}
    if record.get("uncached_input_tokens") is None or record.get("output_tokens") is None:
        return [Found(wrong=("missing_field", "uncached_input_tokens", "counts", json.dumps(sorted(record))[:150]))]
    dimensions = {key: record.get(key) for key in _DIMENSIONS if record.get(key) is not None}
    extra = {key: record[key] for key in ("context_window", "account_id", "service_account_id")
             if record.get(key) is not None}
    tier = record.get("service_tier") or "standard"
    return [Found({
        "record_id": identity(record["_start"], granularity, json.dumps(dimensions, sort_keys=True)),
        "granularity": granularity, "used_at": start, "provider": "anthropic", "model_id": record.get("model"),
        "operation": "chat", "service_tier": "fast" if record.get("speed") == "fast" else _TIERS.get(tier, tier),
        "region": record.get("inference_geo"), "project_id": record.get("workspace_id") or "default",
        "team": str(record["workspace_id"]).removeprefix("wrkspc_") if record.get("workspace_id") else None,
        "api_key_id": record.get("api_key_id"),
        "tags": json.dumps(extra, sort_keys=True) if extra else None, "requests": 0,
        "uncached_input_tokens": count(record["uncached_input_tokens"]),
        "cache_write_5m_tokens": count(creation.get("ephemeral_5m_input_tokens")) or 0,
        "cache_write_1h_tokens": count(creation.get("ephemeral_1h_input_tokens")) or 0,
        "cache_read_tokens": count(record.get("cache_read_input_tokens")) or 0,
        "output_tokens": count(record["output_tokens"]),
        "web_searches": count((record.get("server_tool_use") or {}).get("web_search_requests")) or None,
    })]


def unfold_code(told: Any, uri: str) -> tuple[list[Told], list[str]]:
    """The records of a page of Claude Code analytics; a page covers one day and may be one of several."""
    if not isinstance(told, Mapping) or not isinstance(told.get("data"), list):
        raise Damaged(f"no page with `data` in {uri}")
    records = [Told(identity(record.get("date"), json.dumps(record.get("actor"), sort_keys=True),
                             record.get("terminal_type"), record.get("customer_type")), line, record)
               for line, record in enumerate(told["data"], start=1)]
    return records, [one.bucket for one in records]


def row_code(record: Record) -> list[Found]:
    """A row for each model of a developer's day; cents are whole numbers here. Cache writes are not split by time."""
    actor = record.get("actor") or {}
    who = actor.get("email_address") or actor.get("api_key_name")
    start = instant(str(record.get("date") or ""))
    found = []
    for part in record.get("model_breakdown") or []:
        tokens, cost = part.get("tokens") or {}, part.get("estimated_cost") or {}
        cents = amount(str(cost.get("amount"))) if cost.get("amount") is not None else None
        extra = {"customer_type": record.get("customer_type"), "subscription_type": record.get("subscription_type"),
                 "terminal_type": record.get("terminal_type"), "actor_type": actor.get("type")}
        found.append(Found({
            "record_id": identity(record.get("date"), who, record.get("terminal_type"), record.get("customer_type"),
                                  part.get("model")),
            "used_at": start, "provider": "anthropic", "model_id": part.get("model"), "operation": "chat",
            "account_id": record.get("organization_id"), "application": "claude_code", "user_id": who,
            "api_key_id": actor.get("api_key_name"),
            "tags": json.dumps({k: v for k, v in extra.items() if v}, sort_keys=True), "requests": 0,
            "uncached_input_tokens": count(tokens.get("input")) or 0,
            "cache_read_tokens": count(tokens.get("cache_read")) or 0,
            "cache_write_5m_tokens": count(tokens.get("cache_creation")) or 0,
            "output_tokens": count(tokens.get("output")) or 0,
            "reported_cost_usd": dollars(cents.scaleb(-2)) if cents is not None else None,
        }))
    return found


FORMATS = (
    UsageFormat("anthropic.usage_report", "1d", unfold, row),
    UsageFormat("claude_code.analytics", "1d", unfold_code, row_code),
)
