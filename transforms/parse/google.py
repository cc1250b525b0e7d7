"""Google: Gemini answers, and request-response logs of Vertex AI with the partner models in them.

`promptTokenCount` includes cached tokens and leaves out those that tools put in; `candidatesTokenCount` leaves
out thoughts: output is both. A field that is absent is zero (Proto JSON). A streamed answer is an array of
chunks with running totals: the last one counts. Claude and open models on Vertex tell usage in their own words.
Sources: googleapis/python-genai types; docs.cloud.google.com/vertex-ai, request-response logging.
"""

from __future__ import annotations

from costops.transforms.parse import anthropic
from costops.transforms.parse.format import COUNT, JSON, TEXT, Fields, Format, Raw

USAGE: Fields = {
    "promptTokenCount": COUNT, "candidatesTokenCount": COUNT, "responseTokenCount": COUNT,
    "totalTokenCount": COUNT, "cachedContentTokenCount": COUNT, "thoughtsTokenCount": COUNT,
    "toolUsePromptTokenCount": COUNT, "trafficType": TEXT, "serviceTier": TEXT,
    "promptTokensDetails": JSON, "cacheTokensDetails": JSON, "candidatesTokensDetails": JSON,
    "responseTokensDetails": JSON, "toolUsePromptTokensDetails": JSON,
    # the same in Python's spelling
    "prompt_token_count": COUNT, "candidates_token_count": COUNT, "response_token_count": COUNT,
    "total_token_count": COUNT, "cached_content_token_count": COUNT, "thoughts_token_count": COUNT,
    "tool_use_prompt_token_count": COUNT, "traffic_type": TEXT,
    # the Interactions API
    "total_input_tokens": COUNT, "total_output_tokens": COUNT, "total_cached_tokens": COUNT,
    "total_tool_use_tokens": COUNT, "total_thought_tokens": COUNT, "total_tokens": COUNT,
    "input_tokens_by_modality": JSON, "output_tokens_by_modality": JSON,
}
_PARTNER: Fields = {**USAGE, **anthropic.USAGE, "prompt_tokens": COUNT, "completion_tokens": COUNT}


def _told(*keys: str) -> str:
    return f"coalesce({', '.join(f'u.{key}' for key in keys)}, 0)"


def _modality(parts: str, modality: str) -> str:
    """Tokens of one modality in a list of details."""
    return f"""coalesce(list_sum(list_transform(list_filter(from_json({parts},
        '[{{"modality": "VARCHAR", "tokenCount": "BIGINT"}}]'), lambda x: x.modality = '{modality}'),
        lambda x: x.tokenCount)), 0)"""


def _uncached(modality: str) -> str:
    return f"""CASE WHEN u.promptTokensDetails IS NOT NULL THEN cast(nullif(greatest(
        {_modality("u.promptTokensDetails", modality)} - {_modality("u.cacheTokensDetails", modality)}, 0), 0)
        AS BIGINT) END"""


def _some(parts: str, modality: str) -> str:
    return f"CASE WHEN {parts} IS NOT NULL THEN cast(nullif({_modality(parts, modality)}, 0) AS BIGINT) END"


_PROMPT = _told("promptTokenCount", "prompt_token_count", "total_input_tokens")
_TOOLS = _told("toolUsePromptTokenCount", "tool_use_prompt_token_count", "total_tool_use_tokens")
_CACHED = _told("cachedContentTokenCount", "cached_content_token_count", "total_cached_tokens")
_SHOWN = _told("candidatesTokenCount", "responseTokenCount", "candidates_token_count", "response_token_count",
               "total_output_tokens")
_THOUGHTS = _told("thoughtsTokenCount", "thoughts_token_count", "total_thought_tokens")
_MADE = "coalesce(u.candidatesTokensDetails, u.responseTokensDetails)"
_TRAFFIC = "upper(coalesce(u.trafficType, u.traffic_type, u.serviceTier))"

_COUNTS = {
    "uncached_input_tokens": f"{_PROMPT} + {_TOOLS} - {_CACHED}",
    "cache_read_tokens": _CACHED,
    "output_tokens": f"{_SHOWN} + {_THOUGHTS}",
    "reasoning_tokens": _THOUGHTS,
    "audio_input_tokens": _uncached("AUDIO"),
    "audio_cache_read_tokens": _some("u.cacheTokensDetails", "AUDIO"),
    "audio_output_tokens": _some(_MADE, "AUDIO"),
    "image_input_tokens": _uncached("IMAGE"),
    "image_cache_read_tokens": _some("u.cacheTokensDetails", "IMAGE"),
    "image_output_tokens": _some(_MADE, "IMAGE"),
    "video_input_tokens": _uncached("VIDEO"),
}
# an exporter of the protocol buffer writes the enumeration's number: 1 is ON_DEMAND, 2 PROVISIONED_THROUGHPUT
_TIER = f"""CASE {_TRAFFIC} WHEN '1' THEN 'standard' WHEN '2' THEN 'provisioned' WHEN '0' THEN 'standard'
    WHEN 'ON_DEMAND' THEN 'standard' WHEN 'PROVISIONED_THROUGHPUT' THEN 'provisioned'
    WHEN 'ON_DEMAND_PRIORITY' THEN 'priority' WHEN 'ON_DEMAND_FLEX' THEN 'flex'
    WHEN 'TRAFFIC_TYPE_UNSPECIFIED' THEN 'standard' WHEN 'UNSPECIFIED' THEN 'standard' ELSE lower({_TRAFFIC}) END"""
_ALL = _told("totalTokenCount", "total_token_count", "total_tokens")
_CHECKS = {
    "impossible_count": f"least({_PROMPT}, {_TOOLS}, {_SHOWN}, {_THOUGHTS}) < 0",
    "impossible_count:cachedContentTokenCount": f"{_CACHED} > {_PROMPT}",
    # an answer about a stored cache tells its size, which is no usage
    "missing_field:promptTokenCount": f"{_ALL} > 0 AND {_PROMPT} + {_TOOLS} + {_SHOWN} + {_THOUGHTS} = 0",
}


def _last(chunks: str, key: str) -> str:
    """The value of a key in the last chunk of a streamed answer that has it."""
    return f"list_extract(json_extract({chunks}, '$[*].{key}'), -1)"


RESPONSES = Format(
    kind="gemini.responses",
    provider="gcp.gemini",
    fields={
        "responseId": TEXT, "modelVersion": TEXT, "createTime": TEXT, "usageMetadata": JSON, "usage_metadata": JSON,
        "response_id": TEXT, "model_version": TEXT, "error": JSON,
        "id": TEXT, "model": TEXT, "created": TEXT, "usage": JSON,
        "timestamp": TEXT, "request_id": TEXT, "response": JSON,
        "labels": {"team": TEXT, "application": TEXT, "user": TEXT},
    },
    raw={"u": Raw(f"""coalesce(usageMetadata, usage_metadata, usage, response->'$.usageMetadata',
        response->'$.usage', {_last("response", "usageMetadata")})""", USAGE)},
    columns={
        "record_id": f"""coalesce(responseId, response_id, id, response->>'$.responseId', response->>'$.id',
            {_last("response", "responseId")}->>'$', request_id, md5(concat(uri, '#', line_no)))""",
        "used_at": f"""coalesce(utc(createTime), utc(created), utc(timestamp), utc(response->>'$.createTime'),
            utc({_last("response", "createTime")}->>'$'), file_at)""",
        "provider": "coalesce($opt_provider, 'gcp.gemini')",
        "model_id": f"""coalesce(modelVersion, model_version, model, response->>'$.modelVersion',
            response->>'$.model', {_last("response", "modelVersion")}->>'$')""",
        "operation": "CASE WHEN usage IS NOT NULL THEN 'chat' ELSE 'generate_content' END",
        "service_tier": _TIER,
        "region": "$opt_region",
        "account_id": "$opt_account_id",
        "team": "labels.team",
        "application": "labels.application",
        "user_id": "labels.user",
        **_COUNTS,
    },
    skip="CASE WHEN u_raw IS NULL AND (error IS NOT NULL OR (response->'$.error') IS NOT NULL) THEN 'failed' END",
    checks=_CHECKS,
)

_PAYLOAD = """CASE WHEN json_valid(response_payload[1]) AND json_valid(response_payload[-1]) THEN nullif(
    json_merge_patch(coalesce(json_extract(response_payload[1], '$.message.usage'), '{}'),
    coalesce(json_extract(response_payload[-1], '$.usage'), '{}')), '{}'::JSON) END"""
_FIRST = "CASE WHEN json_valid(response_payload[1]) THEN response_payload[1]::JSON END"
_ANSWERED_BY = f"""coalesce(full_response->>'$.modelVersion', full_response->>'$.model_version',
    full_response->>'$.model', {_last("full_response", "modelVersion")}->>'$',
    ({_FIRST})->>'$.model', ({_FIRST})->>'$.message.model')"""
_ASKED = "regexp_extract(model, '[^/]*$')"
_CLAUDE = anthropic.counts("u")

VERTEX = Format(
    kind="vertex.request_logs",
    provider="gcp.vertex_ai",
    fields={
        "logging_time": TEXT, "request_id": TEXT, "model": TEXT, "api_method": TEXT, "full_response": JSON,
        "response_payload": "VARCHAR[]",
        "full_request": {"labels": {"team": TEXT, "application": TEXT, "user": TEXT}},
    },
    raw={"u": Raw(f"""coalesce(full_response->'$.usageMetadata', full_response->'$.usage_metadata',
        full_response->'$.usage', {_last("full_response", "usageMetadata")},
        {_last("full_response", "usage_metadata")}, {_PAYLOAD})""", _PARTNER)},
    columns={
        "record_id": "request_id",
        "used_at": "utc(logging_time)",
        "provider": "coalesce($opt_provider, 'gcp.vertex_ai')",
        "model_id": f"coalesce({_ANSWERED_BY}, nullif({_ASKED}, ''))",
        "request_model": f"CASE WHEN {_ASKED} <> coalesce({_ANSWERED_BY}, '') THEN nullif({_ASKED}, '') END",
        "operation": """CASE api_method WHEN 'generateContent' THEN 'generate_content'
            WHEN 'streamGenerateContent' THEN 'generate_content' WHEN 'rawPredict' THEN 'chat'
            WHEN 'streamRawPredict' THEN 'chat' ELSE api_method END""",
        "service_tier": f"coalesce({_TIER}, {anthropic.tier('u')})",
        "region": "$opt_region",
        "account_id": "$opt_account_id",
        "team": "full_request.labels.team",
        "application": "full_request.labels.application",
        "user_id": "full_request.labels.user",
        **_COUNTS,
        "uncached_input_tokens":
            f"{_COUNTS['uncached_input_tokens']} + coalesce(u.input_tokens, u.prompt_tokens, 0)",
        "cache_read_tokens": f"{_CACHED} + {_CLAUDE['cache_read_tokens']}",
        "cache_write_5m_tokens": _CLAUDE["cache_write_5m_tokens"],
        "cache_write_1h_tokens": _CLAUDE["cache_write_1h_tokens"],
        "output_tokens": f"{_COUNTS['output_tokens']} + coalesce(u.output_tokens, u.completion_tokens, 0)",
        "reasoning_tokens": f"{_THOUGHTS} + {_CLAUDE['reasoning_tokens']}",
        "web_searches": _CLAUDE["web_searches"],
    },
    skip="CASE WHEN u_raw IS NULL AND (full_response->'$.error') IS NOT NULL THEN 'failed' END",
    checks={name: f"u.input_tokens IS NULL AND u.prompt_tokens IS NULL AND {wrong}"
            for name, wrong in _CHECKS.items()},
)

FORMATS = (RESPONSES, VERTEX)
