"""OpenAI, and hosts that answer like it: response bodies of every endpoint with usage, and batch output files.

Cached and written tokens are inside the prompt count, reasoning inside the completion count. The tier that
served is in the response; a null tier is the standard one. Endpoints differ in spelling: chat completions say
`prompt_tokens`, responses, images and transcriptions `input_tokens`; a transcription may tell seconds only.
Source: types of the OpenAI Python SDK (completion_usage, response_usage, images_response, transcription, batch).
"""

from __future__ import annotations

from costops.transforms.parse.format import COUNT, JSON, NUMBER, TEXT, Fields, Format, Raw

_INPUT_DETAILS: Fields = {
    "cached_tokens": COUNT, "cache_write_tokens": COUNT, "audio_tokens": COUNT, "text_tokens": COUNT,
    "image_tokens": COUNT, "cache_write_tokens_details": {"ttl_30m_tokens": COUNT, "ttl_12h_tokens": COUNT},
}
_OUTPUT_DETAILS: Fields = {
    "reasoning_tokens": COUNT, "audio_tokens": COUNT, "text_tokens": COUNT, "image_tokens": COUNT,
    "accepted_prediction_tokens": COUNT, "rejected_prediction_tokens": COUNT,
}
USAGE: Fields = {
    "prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT,
    "input_tokens": COUNT, "output_tokens": COUNT,
    "prompt_tokens_details": _INPUT_DETAILS, "completion_tokens_details": _OUTPUT_DETAILS,
    "input_tokens_details": _INPUT_DETAILS, "output_tokens_details": _OUTPUT_DETAILS,
    "seconds": NUMBER, "type": TEXT,
    # other hosts' spellings of cached input, and OpenRouter's own price
    "cached_tokens": COUNT, "num_cached_tokens": COUNT, "prompt_cache_hit_tokens": COUNT,
    "prompt_cache_miss_tokens": COUNT, "prompt_token_details": {"cached_tokens": COUNT}, "cost": NUMBER,
}
_BODY: Fields = {
    "id": TEXT, "object": TEXT, "created": NUMBER, "created_at": NUMBER, "model": TEXT, "service_tier": TEXT,
    "usage": JSON, "metadata": {"team": TEXT, "application": TEXT, "user": TEXT}, "user": TEXT, "error": JSON,
}

_TIER = """CASE coalesce({0}.service_tier, 'default')
    WHEN 'default' THEN 'standard' WHEN 'auto' THEN 'standard' WHEN 'scale' THEN 'provisioned'
    WHEN 'fast' THEN 'priority' ELSE {0}.service_tier END"""


def _columns(body: str) -> dict[str, str]:
    """`core_usage` expressions over a response body whose usage is opened as `u`."""
    detail = "coalesce(u.prompt_tokens_details.{0}, u.input_tokens_details.{0})"
    made = "coalesce(u.completion_tokens_details.{0}, u.output_tokens_details.{0})"
    total = """coalesce(u.prompt_tokens, u.input_tokens,
        CASE WHEN u.completion_tokens IS NULL AND u.output_tokens IS NULL THEN u.total_tokens END, 0)"""
    read = f"""coalesce({detail.format('cached_tokens')}, u.cached_tokens, u.num_cached_tokens,
        u.prompt_cache_hit_tokens, u.prompt_token_details.cached_tokens, 0)"""
    late = f"coalesce({detail.format('cache_write_tokens_details.ttl_12h_tokens')}, 0)"
    written = f"coalesce({detail.format('cache_write_tokens')}, 0)"
    return {
        "record_id": f"coalesce(nullif({body}.id, ''), md5(concat(uri, '#', line_no)))",
        "used_at": f"coalesce(epoch(coalesce({body}.created, {body}.created_at)), file_at)",
        "provider": "coalesce($opt_provider, 'openai')",
        "model_id": f"{body}.model",
        "operation": f"""CASE {body}.object WHEN 'chat.completion' THEN 'chat' WHEN 'response' THEN 'responses'
            WHEN 'list' THEN 'embeddings' WHEN 'text_completion' THEN 'text_completion' ELSE {body}.object END""",
        "service_tier": _TIER.format(body),
        "user_id": f"coalesce({body}.metadata.user, {body}.user)",
        "team": f"{body}.metadata.team",
        "application": f"{body}.metadata.application",
        "uncached_input_tokens": f"{total} - {read} - {written}",
        "cache_read_tokens": read,
        "cache_write_5m_tokens": f"{written} - {late}",
        "cache_write_12h_tokens": f"nullif({late}, 0)",
        "output_tokens": "coalesce(u.completion_tokens, u.output_tokens, 0)",
        "reasoning_tokens": f"coalesce({made.format('reasoning_tokens')}, 0)",
        "audio_input_tokens": f"nullif({detail.format('audio_tokens')}, 0)",
        "audio_output_tokens": f"nullif({made.format('audio_tokens')}, 0)",
        "image_input_tokens": f"nullif({detail.format('image_tokens')}, 0)",
        "image_output_tokens": f"nullif({made.format('image_tokens')}, 0)",
        "reported_cost_usd": "usd(u.cost)",
        "audio_seconds": "cast(ceil(try_cast(u.seconds AS DECIMAL(18,3))) AS BIGINT)",
    }


REQUESTS = Format(
    kind="openai.requests",
    provider="openai",
    fields=_BODY,
    raw={"u": Raw("usage", USAGE)},
    columns=_columns("records"),
    skip="CASE WHEN error IS NOT NULL AND usage IS NULL THEN 'failed' END",
)

BATCH_OUTPUT = Format(
    kind="openai.batch_output",
    provider="openai",
    fields={"id": TEXT, "custom_id": TEXT, "error": JSON,
            "response": {"status_code": COUNT, "request_id": TEXT, "body": _BODY}},
    raw={"u": Raw("response.body.usage", USAGE)},
    columns=_columns("response.body") | {
        "operation": "'batch'",
        "service_tier": "'batch'",
        "team": """coalesce(response.body.metadata.team,
            CASE WHEN contains(custom_id, '/') THEN split_part(custom_id, '/', 1) END)""",
    },
    skip="CASE WHEN response IS NULL OR n(response.status_code) >= 400 THEN 'failed' END",
)

FORMATS = (REQUESTS, BATCH_OUTPUT)
