"""LiteLLM: rows of its spend log table, and the payload that its callbacks log.

Prompt tokens include cache reads. Whether they include cache writes depends on the release, whether they include
reads at all on the endpoint: the numbers decide (see `_UNCACHED`). An answer from the gateway's own cache was
not billed. The booked cost is the gateway's opinion.
Sources: BerriAI/litellm schema.prisma and StandardLoggingPayload; docs of spend tracking.
"""

from __future__ import annotations

from costops.transforms.parse import vendor
from costops.transforms.parse.format import COUNT, JSON, NUMBER, TEXT, Fields, Format, Raw

_LIFETIMES: Fields = {"ephemeral_5m_input_tokens": COUNT, "ephemeral_1h_input_tokens": COUNT}
USAGE: Fields = {
    "prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT,
    "prompt_tokens_details": {
        "cached_tokens": COUNT, "cache_creation_tokens": COUNT, "cache_write_tokens": COUNT, "audio_tokens": COUNT,
        "text_tokens": COUNT, "image_tokens": COUNT, "video_tokens": COUNT, "web_search_requests": COUNT,
        "cache_creation_token_details": _LIFETIMES, "character_count": COUNT, "image_count": COUNT,
        "video_length_seconds": NUMBER,
    },
    "completion_tokens_details": {
        "reasoning_tokens": COUNT, "audio_tokens": COUNT, "text_tokens": COUNT, "image_tokens": COUNT,
        "accepted_prediction_tokens": COUNT, "rejected_prediction_tokens": COUNT,
    },
    "cache_creation_input_tokens": COUNT, "cache_read_input_tokens": COUNT, "cache_creation": _LIFETIMES,
    "server_tool_use": {"web_search_requests": COUNT, "web_fetch_requests": COUNT},
    "service_tier": TEXT, "inference_geo": TEXT, "cost": NUMBER,
}

_IN = "coalesce(u.prompt_tokens, 0)"
_READ = "coalesce(u.prompt_tokens_details.cached_tokens, u.cache_read_input_tokens, 0)"
_WRITTEN = """coalesce(u.cache_creation_input_tokens, u.prompt_tokens_details.cache_creation_tokens,
    u.prompt_tokens_details.cache_write_tokens, 0)"""
_HOUR = f"""least({_WRITTEN}, coalesce(u.cache_creation.ephemeral_1h_input_tokens,
    u.prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens, 0))"""
_ANTHROPIC = f"coalesce(u.cache_read_input_tokens, 0) > 0 OR {_WRITTEN} > 0"
_UNCACHED = f"""CASE WHEN {_IN} >= {_READ} + {_WRITTEN} OR NOT ({_ANTHROPIC}) THEN {_IN} - {_READ} - {_WRITTEN}
    WHEN {_IN} >= {_READ} THEN {_IN} - {_READ} ELSE {_IN} END"""
_WORD = "lower(coalesce(status, metadata.status, ''))"

SPEND = Format(
    kind="litellm.spend_logs",
    provider="openai",
    fields={
        "request_id": TEXT, "id": TEXT, "call_type": TEXT, "api_key": TEXT, "spend": NUMBER, "response_cost": NUMBER,
        "prompt_tokens": COUNT, "completion_tokens": COUNT, "startTime": TEXT, "model": TEXT, "model_group": TEXT,
        "custom_llm_provider": TEXT, "user": TEXT, "team_id": TEXT, "organization_id": TEXT, "end_user": TEXT,
        "cache_hit": TEXT, "status": TEXT,
        "metadata": {
            "status": TEXT, "usage_object": JSON, "user_api_key_hash": TEXT, "user_api_key_team_id": TEXT,
            "user_api_key_user_id": TEXT, "user_api_key_org_id": TEXT, "user_api_key_end_user_id": TEXT,
        },
    },
    raw={"u": Raw("""coalesce(metadata.usage_object, CASE WHEN prompt_tokens IS NOT NULL THEN
        json_object('prompt_tokens', n(prompt_tokens), 'completion_tokens', n(completion_tokens)) END)""", USAGE)},
    columns={
        "record_id": "coalesce(request_id, id)",
        "used_at": "CASE WHEN contains(startTime, '-') THEN utc(startTime) ELSE epoch(startTime) END",
        "provider": f"coalesce($opt_provider, {vendor.provider('custom_llm_provider')})",
        "model_id": """CASE WHEN starts_with(model, concat(custom_llm_provider, '/'))
            THEN substr(model, length(custom_llm_provider) + 2) ELSE model END""",
        "request_model": "CASE WHEN model_group <> model THEN nullif(model_group, '') END",
        "operation": """CASE call_type WHEN 'acompletion' THEN 'chat' WHEN 'completion' THEN 'chat'
            WHEN 'anthropic_messages' THEN 'chat' WHEN 'aembedding' THEN 'embeddings'
            WHEN 'embedding' THEN 'embeddings' WHEN 'aresponses' THEN 'responses' WHEN 'responses' THEN 'responses'
            WHEN 'atext_completion' THEN 'text_completion' ELSE call_type END""",
        "service_tier": "CASE u.service_tier WHEN 'default' THEN 'standard' WHEN 'auto' THEN 'standard' "
                        "ELSE u.service_tier END",
        "region": "coalesce(u.inference_geo, $opt_region)",
        "account_id": "coalesce(nullif(organization_id, ''), metadata.user_api_key_org_id, $opt_account_id)",
        "api_key_id": "coalesce(nullif(api_key, ''), metadata.user_api_key_hash)",
        "user_id": """coalesce(nullif(end_user, ''), nullif("user", ''), metadata.user_api_key_end_user_id,
            metadata.user_api_key_user_id)""",
        "team": "coalesce(nullif(team_id, ''), nullif(metadata.user_api_key_team_id, ''))",
        "uncached_input_tokens": _UNCACHED,
        "cache_read_tokens": _READ,
        "cache_write_5m_tokens": f"{_WRITTEN} - {_HOUR}",
        "cache_write_1h_tokens": _HOUR,
        "output_tokens": "coalesce(u.completion_tokens, 0)",
        "reasoning_tokens": "coalesce(u.completion_tokens_details.reasoning_tokens, 0)",
        "audio_input_tokens": "nullif(u.prompt_tokens_details.audio_tokens, 0)",
        "audio_output_tokens": "nullif(u.completion_tokens_details.audio_tokens, 0)",
        "image_input_tokens": "nullif(u.prompt_tokens_details.image_tokens, 0)",
        "image_output_tokens": "nullif(u.completion_tokens_details.image_tokens, 0)",
        "web_searches": "nullif(coalesce(u.server_tool_use.web_search_requests, "
                        "u.prompt_tokens_details.web_search_requests), 0)",
        "status": f"CASE WHEN {_WORD} IN ('', 'success') THEN 'ok' ELSE {_WORD} END",
        "reported_cost_usd": "usd(coalesce(spend, response_cost))",
    },
    skip=f"""CASE WHEN lower(cache_hit) = 'true' THEN 'gateway_cache'
        WHEN {_WORD} = 'failure' AND coalesce(n(prompt_tokens), 0) + coalesce(n(completion_tokens), 0) = 0
        THEN 'failed' END""",
)

FORMATS = (SPEND,)
