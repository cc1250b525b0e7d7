"""Anthropic: message bodies, bare or wrapped by the log that kept them, and results of message batches.

Cache reads and writes are outside `input_tokens`, thinking is inside `output_tokens`. A write without its
lifetime counts as five minutes. A body has no time: the wrapper's, the batch object's or the file's stands for it.
Compaction and advisor steps are billed but left out of the sums on top: each becomes a row of its own.
Source: types of the Anthropic Python SDK (usage, cache_creation, beta_usage, beta iterations_usage, batches).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from costops.transforms.parse.format import COUNT, JSON, NUMBER, TEXT, Fields, Format, Raw

USAGE: Fields = {
    "input_tokens": COUNT, "output_tokens": COUNT,
    "cache_creation_input_tokens": COUNT, "cache_read_input_tokens": COUNT,
    "cache_creation": {"ephemeral_5m_input_tokens": COUNT, "ephemeral_1h_input_tokens": COUNT},
    "output_tokens_details": {"thinking_tokens": COUNT},
    "server_tool_use": {"web_search_requests": COUNT, "web_fetch_requests": COUNT},
    "service_tier": TEXT, "inference_geo": TEXT, "speed": TEXT, "iterations": JSON,
}
_BODY: Fields = {"id": TEXT, "type": TEXT, "model": TEXT, "usage": JSON, "error": JSON}

_STEP = """'[{"type": "VARCHAR", "model": "VARCHAR", "input_tokens": "BIGINT", "output_tokens": "BIGINT",
    "cache_creation_input_tokens": "BIGINT", "cache_read_input_tokens": "BIGINT",
    "cache_creation": {"ephemeral_5m_input_tokens": "BIGINT", "ephemeral_1h_input_tokens": "BIGINT"}}]'"""


def steps(usage: str) -> str:
    """A `rows` SELECT: each record once with `step` NULL, and once more for each step that the sums leave out.

    Steps whose output adds up to the sum on top are in it already.
    """
    told = f"from_json({usage}.iterations, {_STEP})"
    return f"""SELECT *, unnest(_steps) AS step, generate_subscripts(_steps, 1) AS step_no FROM (
        SELECT *, CASE WHEN {usage}.iterations IS NULL THEN [NULL]
            WHEN {usage}.output_tokens = list_sum(list_transform({told}, lambda x: x.output_tokens)) THEN [NULL]
            ELSE list_concat([NULL], list_filter({told}, lambda x: x.type <> 'message')) END AS _steps
        FROM marked)"""


def tier(usage: str) -> str:
    """The tier that served, in our words."""
    return f"""CASE WHEN {usage}.speed = 'fast' AND coalesce({usage}.service_tier, 'standard') = 'standard' THEN 'fast'
        WHEN {usage}.service_tier = 'priority_on_demand' THEN 'priority'
        WHEN {usage}.service_tier = 'flex_discount' THEN 'flex' ELSE {usage}.service_tier END"""


def counts(usage: str) -> dict[str, str]:
    """Count columns over a usage object of this shape."""
    late = f"coalesce({usage}.cache_creation.ephemeral_1h_input_tokens, 0)"
    split = f"coalesce({usage}.cache_creation.ephemeral_5m_input_tokens, 0) + {late}"
    return {
        "uncached_input_tokens": f"coalesce({usage}.input_tokens, 0)",
        "cache_read_tokens": f"coalesce({usage}.cache_read_input_tokens, 0)",
        "cache_write_5m_tokens": f"coalesce({usage}.cache_creation_input_tokens, {split}) - {late}",
        "cache_write_1h_tokens": late,
        "output_tokens": f"coalesce({usage}.output_tokens, 0)",
        "reasoning_tokens": f"coalesce({usage}.output_tokens_details.thinking_tokens, 0)",
        "web_searches": f"nullif({usage}.server_tool_use.web_search_requests, 0)",
    }


def _stepped(columns: dict[str, str]) -> dict[str, str]:
    """Count columns that speak of the step where the row is one."""
    late = "coalesce(step.cache_creation.ephemeral_1h_input_tokens, 0)"
    step = {
        "uncached_input_tokens": "step.input_tokens", "cache_read_tokens": "step.cache_read_input_tokens",
        "cache_write_5m_tokens": f"coalesce(step.cache_creation_input_tokens, 0) - {late}",
        "cache_write_1h_tokens": late, "output_tokens": "step.output_tokens",
    }
    return {name: f"CASE WHEN step IS NULL THEN {told} ELSE {step.get(name, 'NULL')} END"
            for name, told in columns.items()}


def _columns(body: str) -> dict[str, str]:
    """`core_usage` expressions over message bodies, whose usage is opened as `u`."""
    told = body.format("id")
    return {
        "record_id": f"CASE WHEN step IS NULL THEN {told} ELSE concat({told}, '#', step_no) END",
        "response_id": f"CASE WHEN step IS NOT NULL THEN {told} END",
        "provider": "coalesce($opt_provider, 'anthropic')",
        "model_id": f"coalesce(step.model, {body.format('model')})",
        "operation": "coalesce(step.type, 'chat')",
        "service_tier": tier("u"),
        "region": "u.inference_geo",
        "account_id": "$opt_account_id",
        "requests": "CASE WHEN step IS NULL THEN 1 ELSE 0 END",
        **_stepped(counts("u")),
    }


_SPLIT_TOO_LARGE = """u.cache_creation_input_tokens IS NOT NULL AND u.cache_creation_input_tokens <
    coalesce(u.cache_creation.ephemeral_5m_input_tokens, 0) + coalesce(u.cache_creation.ephemeral_1h_input_tokens, 0)"""

MESSAGES = Format(
    kind="anthropic.messages",
    provider="anthropic",
    fields={**_BODY, "timestamp": TEXT, "request_id": TEXT, "workspace_id": TEXT, "organization_id": TEXT,
            "api_key_id": TEXT, "response": _BODY},
    raw={"u": Raw("coalesce(response.usage, usage)", USAGE)},
    rows=steps("u"),
    columns={
        **_columns("coalesce(response.{0}, records.{0})"),
        "used_at": "coalesce(utc(timestamp), file_at)",
        "account_id": "coalesce(organization_id, $opt_account_id)",
        "project_id": "workspace_id",
        "api_key_id": "api_key_id",
        "team": "regexp_replace(workspace_id, '^wrkspc_', '')",
    },
    skip="""CASE WHEN u_raw IS NULL AND (coalesce(response.type, type) = 'error'
        OR response.error IS NOT NULL OR error IS NOT NULL) THEN 'failed' END""",
    checks={"impossible_count:usage.cache_creation": _SPLIT_TOO_LARGE},
)


def _batch_objects(uri: str) -> tuple[str, ...]:
    """Places of the batch object: beside the results' folder, in it, or beside the file, named by the batch's id."""
    folder, _, name = uri.rpartition("/")
    above, _, last = folder.rpartition("/")
    ids = dict.fromkeys([last, *re.findall(r"msgbatch_[A-Za-z0-9-]+", name)])
    places = [f"{folder}.json"] if folder else []
    for one in ids:
        places += [f"{root}/{one}.json" if root else f"{one}.json" for root in (folder, above) if one]
    return tuple(dict.fromkeys([*places, f"{folder}/batch.json" if folder else "batch.json"]))


def _batch_at(body: bytes) -> datetime | None:
    """When the batch ended, else when it was made; None where the file is no batch object."""
    try:
        told = json.loads(body)
        moment = told.get("ended_at") or told.get("created_at")
        return datetime.fromisoformat(moment).astimezone(UTC) if moment else None
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None


BATCH_RESULTS = Format(
    kind="anthropic.batch_results",
    provider="anthropic",
    fields={"custom_id": TEXT, "result": {"type": TEXT, "message": _BODY}},
    raw={"u": Raw("result.message.usage", USAGE)},
    rows=steps("u"),
    columns={
        **_columns("result.message.{0}"),
        "used_at": "file_at",
        "operation": "'batch'",
        "service_tier": "'batch'",
        "team": "CASE WHEN contains(custom_id, '/') THEN split_part(custom_id, '/', 1) END",
    },
    skip="CASE WHEN result.type <> 'succeeded' THEN 'failed' END",
    checks=MESSAGES.checks,
    sidecar=_batch_objects,
    sidecar_at=_batch_at,
)

CLAUDE_CODE = Format(
    kind="claude_code.sessions",
    provider="anthropic",
    fields={"type": TEXT, "timestamp": TEXT, "requestId": TEXT, "uuid": TEXT, "sessionId": TEXT,
            "costUSD": NUMBER, "message": {"id": TEXT, "model": TEXT, "usage": JSON}},
    raw={"u": Raw("message.usage", USAGE)},
    rows=steps("u"),
    columns={
        **_columns("message.{0}"),
        "record_id": """concat(coalesce(message.id, requestId, uuid),
            CASE WHEN step IS NOT NULL THEN concat('#', step_no) ELSE '' END)""",
        "used_at": "utc(timestamp)",
        "operation": "coalesce(step.type, 'chat')",
        "project_id": "sessionId",
        "application": "'claude-code'",
        "reported_cost_usd": "CASE WHEN step IS NULL THEN usd(costUSD) END",
    },
    skip="""CASE WHEN message.model = '<synthetic>' THEN 'synthetic'
        WHEN u_raw IS NULL AND (type IS NOT NULL OR sessionId IS NOT NULL) THEN 'other_event' END""",
    checks=MESSAGES.checks,
)

FORMATS = (MESSAGES, BATCH_RESULTS, CLAUDE_CODE)
