"""AWS Bedrock: model invocation logs. One record per call; cache reads and writes are outside `inputTokenCount`.

The log has no split of cache writes by lifetime and no tier: where the body of the answer is in the record (not
a stream's, not one stored apart), its usage object tells both. Prompts and answers are not read.
Sources: Bedrock user guide, model invocation logging; botocore bedrock-runtime TokenUsage.
"""

from __future__ import annotations

from costops.transforms.parse.format import COUNT, JSON, TEXT, Fields, Format

_BODY_USAGE: Fields = {
    "cacheDetails": JSON, "service_tier": TEXT,
    "cache_creation": {"ephemeral_5m_input_tokens": COUNT, "ephemeral_1h_input_tokens": COUNT},
    "output_tokens_details": {"thinking_tokens": COUNT},
}
_BODY = "output.outputBodyJson"
_WRITTEN = "coalesce(n(input.cacheWriteInputTokenCount), 0)"
_HOUR = f"""least({_WRITTEN}, coalesce(n({_BODY}.usage.cache_creation.ephemeral_1h_input_tokens),
    list_sum(list_transform(list_filter(from_json({_BODY}.usage.cacheDetails,
        '[{{"ttl": "VARCHAR", "inputTokens": "BIGINT"}}]'), lambda x: x.ttl = '1h'), lambda x: x.inputTokens)), 0))"""
_ARN = "split_part(identity.arn, ':', 6)"
_PROFILE = "starts_with(modelId, 'arn:') AND (contains(modelId, ':inference-profile/') OR " \
           "contains(modelId, ':foundation-model/'))"

INVOCATIONS = Format(
    kind="bedrock.invocation_logs",
    provider="aws.bedrock",
    fields={
        "timestamp": TEXT, "accountId": TEXT, "region": TEXT, "requestId": TEXT, "operation": TEXT, "modelId": TEXT,
        "errorCode": TEXT, "identity": {"arn": TEXT},
        "requestMetadata": {"team": TEXT, "application": TEXT, "user": TEXT},
        "input": {"inputTokenCount": COUNT, "cacheReadInputTokenCount": COUNT, "cacheWriteInputTokenCount": COUNT},
        "output": {"outputTokenCount": COUNT,
                   "outputBodyJson": {"usage": _BODY_USAGE, "serviceTier": {"type": TEXT}}},
    },
    columns={
        "record_id": "requestId",
        "used_at": "utc(timestamp)",
        "provider": "coalesce($opt_provider, 'aws.bedrock')",
        "model_id": f"CASE WHEN {_PROFILE} THEN regexp_extract(modelId, '[^/]*$') ELSE modelId END",
        "request_model": f"CASE WHEN {_PROFILE} THEN modelId END",
        "operation": """CASE operation WHEN 'Converse' THEN 'chat' WHEN 'ConverseStream' THEN 'chat'
            ELSE operation END""",
        "service_tier": f"""CASE coalesce({_BODY}.serviceTier.type, {_BODY}.usage.service_tier, 'default')
            WHEN 'default' THEN 'standard' WHEN 'reserved' THEN 'provisioned'
            ELSE coalesce({_BODY}.serviceTier.type, {_BODY}.usage.service_tier) END""",
        "region": "coalesce(region, $opt_region)",
        "account_id": "coalesce(accountId, $opt_account_id)",
        "user_id": f"coalesce(requestMetadata.user, nullif(regexp_extract({_ARN}, '[^/]*$'), ''))",
        "team": f"""coalesce(requestMetadata.team,
            CASE WHEN starts_with({_ARN}, 'assumed-role/') THEN split_part({_ARN}, '/', 2) END)""",
        "application": "requestMetadata.application",
        "uncached_input_tokens": "coalesce(n(input.inputTokenCount), 0)",
        "cache_read_tokens": "coalesce(n(input.cacheReadInputTokenCount), 0)",
        "cache_write_5m_tokens": f"{_WRITTEN} - {_HOUR}",
        "cache_write_1h_tokens": _HOUR,
        "output_tokens": "coalesce(n(output.outputTokenCount), 0)",
        "reasoning_tokens": f"coalesce(n({_BODY}.usage.output_tokens_details.thinking_tokens), 0)",
    },
    skip="""CASE WHEN errorCode IS NOT NULL AND coalesce(n(output.outputTokenCount), 0) = 0 THEN 'failed' END""",
    checks={"missing_field:input.inputTokenCount":
            "input.inputTokenCount IS NULL AND output.outputTokenCount IS NULL"},
)

FORMATS = (INVOCATIONS,)
