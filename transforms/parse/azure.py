"""Azure OpenAI: token rows of API Management's LLM log; diagnostic logs, which hold no tokens.

The token row of a request has sequence number 0; the others hold pieces of the messages. The log has no count of
cached tokens, so all input is uncached. The team is the deployment's name before its model: team-03-gpt-4o.
Source: learn.microsoft.com/azure/api-management/api-management-howto-llm-logs.
"""

from __future__ import annotations

from costops.transforms.parse.format import COUNT, TEXT, Format

_MODEL_AT = "strpos(DeploymentName, concat('-', nullif(split_part(ModelName, '-', 1), '')))"

APIM = Format(
    kind="azure.apim_llm_logs",
    provider="azure.ai.openai",
    fields={"TimeGenerated": TEXT, "CorrelationId": TEXT, "SequenceNumber": COUNT, "DeploymentName": TEXT,
            "ModelName": TEXT, "PromptTokens": COUNT, "CompletionTokens": COUNT, "TotalTokens": COUNT,
            "OperationName": TEXT, "Region": TEXT},
    columns={
        "record_id": "CorrelationId",
        "used_at": "utc(TimeGenerated)",
        "provider": "coalesce($opt_provider, 'azure.ai.openai')",
        "model_id": "ModelName",
        "operation": """CASE OperationName WHEN 'ChatCompletions_Create' THEN 'chat'
            WHEN 'Embeddings_Create' THEN 'embeddings' WHEN 'Completions_Create' THEN 'text_completion'
            ELSE OperationName END""",
        "region": "coalesce(nullif(Region, ''), $opt_region)",
        "account_id": "$opt_account_id",
        "project_id": "nullif(DeploymentName, '')",
        "team": f"CASE WHEN {_MODEL_AT} > 1 THEN left(DeploymentName, {_MODEL_AT} - 1) "
                "ELSE nullif(DeploymentName, '') END",
        "uncached_input_tokens": "coalesce(n(PromptTokens), 0)",
        "output_tokens": "coalesce(n(CompletionTokens), 0)",
    },
    skip="CASE WHEN coalesce(n(SequenceNumber), 0) <> 0 THEN 'message_chunk' END",
    checks={"missing_field:PromptTokens": "PromptTokens IS NULL AND CompletionTokens IS NULL"},
)

DIAGNOSTICS = Format(
    kind="azure.diagnostic_logs",
    provider="azure.ai.openai",
    fields={"time": TEXT, "category": TEXT, "operationName": TEXT, "correlationId": TEXT},
    columns={
        "record_id": "correlationId",
        "used_at": "utc(time)",
        "provider": "coalesce($opt_provider, 'azure.ai.openai')",
        "model_id": "NULL::VARCHAR",
        "operation": "operationName",
        "output_tokens": "0",
    },
    skip="'no_usage'",
)

FORMATS = (APIM, DIAGNOSTICS)
