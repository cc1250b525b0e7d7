"""OpenTelemetry: GenAI spans in OTLP JSON lines, in every spelling met: current, deprecated, Traceloop,
OpenInference, Vercel.

Only spans of a single model call count; spans of agents, workflows and tools repeat the usage of those below them,
and so does a span that has a child with usage. Input should include cached tokens; where the cached ones exceed
it, it does not. Prompts and answers in attributes are not read.
Sources: open-telemetry/semantic-conventions gen-ai; OTLP file exporter; traceloop/openllmetry; Arize-ai/openinference.
"""

from __future__ import annotations

from costops.transforms.parse import vendor
from costops.transforms.parse.format import Format

_VALUE = 'STRUCT("stringValue" VARCHAR, "intValue" VARCHAR, "doubleValue" VARCHAR)'
_ATTRIBUTES = f'STRUCT("key" VARCHAR, "value" {_VALUE})[]'
_SPAN = ('STRUCT("traceId" VARCHAR, "spanId" VARCHAR, "parentSpanId" VARCHAR, "startTimeUnixNano" VARCHAR, '
         f'status STRUCT(code VARCHAR), attributes {_ATTRIBUTES})')
_RESOURCE_SPANS = (f'STRUCT(resource STRUCT(attributes {_ATTRIBUTES}), '
                   f'"scopeSpans" STRUCT(spans {_SPAN}[])[])[]')

_SPELLINGS = {
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt",
              "ai.usage.inputTokens", "ai.usage.promptTokens", "llm.usage.prompt_tokens"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion",
               "ai.usage.outputTokens", "ai.usage.completionTokens", "llm.usage.completion_tokens"),
    "read": ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
             "gen_ai.usage.input_tokens.cached", "gen_ai.usage.cached_tokens",
             "llm.token_count.prompt_details.cache_read", "ai.usage.cachedInputTokens"),
    "written": ("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens",
                "gen_ai.usage.cache_write.input_tokens", "llm.token_count.prompt_details.cache_write"),
    "reasoning": ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
                  "llm.token_count.completion_details.reasoning", "ai.usage.reasoningTokens"),
    "audio_in": ("llm.token_count.prompt_details.audio",),
    "audio_out": ("llm.token_count.completion_details.audio",),
}
_WORDS = {
    "response_model": ("gen_ai.response.model", "ai.response.model"),
    "request_model": ("gen_ai.request.model", "llm.model_name", "embedding.model_name", "ai.model.id"),
    "response_id": ("gen_ai.response.id", "ai.response.id"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "vercel_provider": ("ai.model.provider",),
    "operation": ("gen_ai.operation.name",),
    "span_kind": ("openinference.span.kind", "traceloop.span.kind"),
    "vercel_operation": ("ai.operationId", "operation.name"),
    "tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier", "gen_ai.response.service_tier"),
    "error": ("error.type",),
    "user": ("enduser.id", "user.id"),
    "conversation": ("gen_ai.conversation.id", "session.id"),
    "region": ("aws.region", "cloud.region"),
    "cost": ("llm.cost.total", "gen_ai.usage.cost"),
}


def _of(keys: tuple[str, ...]) -> str:
    """The first of several attributes that a span has."""
    found = ", ".join(f"list_extract(_values, list_position(_keys, '{key}'))" for key in keys)
    return f"coalesce({found})" if len(keys) > 1 else found


_TOLD = ", ".join(f"{_of(keys)} AS {name}" for name, keys in {**_SPELLINGS, **_WORDS}.items())
_SERVICE = """list_extract(list_filter(rs.resource.attributes, lambda x: x.key = 'service.name'), 1
    ).value.stringValue"""


def _each(values: str) -> str:
    """Unnest a list, an empty one as one NULL, so that no record is lost."""
    return f"unnest(CASE WHEN len({values}) > 0 THEN {values} ELSE [NULL] END)"


_ROWS = f"""WITH resources AS (
    SELECT * EXCLUDE ("resourceSpans"), {_each('"resourceSpans"')} AS rs FROM marked),
scopes AS (SELECT * EXCLUDE (rs), {_SERVICE} AS service, {_each('rs."scopeSpans"')} AS ss FROM resources),
spans AS (SELECT * EXCLUDE (ss), {_each("ss.spans")} AS span FROM scopes),
keyed AS (SELECT * EXCLUDE (span), span."traceId" AS trace_id, span."spanId" AS span_id,
    nullif(span."parentSpanId", '') AS parent_id, span."startTimeUnixNano" AS started, span.status.code AS code,
    list_transform(span.attributes, lambda x: x.key) AS _keys,
    list_transform(span.attributes, lambda x: coalesce(x.value.intValue, x.value.stringValue, x.value.doubleValue))
        AS _values
    FROM spans),
told AS MATERIALIZED (SELECT * EXCLUDE (_keys, _values), {_TOLD} FROM keyed)
SELECT told.*, parents.parent_id IS NOT NULL AS has_children
FROM told LEFT JOIN (SELECT DISTINCT trace_id, parent_id FROM told
    WHERE parent_id IS NOT NULL AND (input IS NOT NULL OR output IS NOT NULL)) AS parents
ON parents.trace_id = told.trace_id AND parents.parent_id = told.span_id"""

_COUNTS = ("input", "output", "read", "written", "reasoning", "audio_in", "audio_out")
_NOT_WHOLE = " OR ".join(
    rf"({name} IS NOT NULL AND (n({name}) IS NULL OR NOT regexp_full_match({name}, '\s*\+?[0-9]+(\.0*)?\s*')))"
    for name in _COUNTS)
_IN, _READ, _WRITTEN = "coalesce(n(input), 0)", "coalesce(n(read), 0)", "coalesce(n(written), 0)"
_NO_USAGE = "input IS NULL AND output IS NULL"

TRACES = Format(
    kind="otel.traces",
    provider="openai",
    fields={"resourceSpans": _RESOURCE_SPANS, "resourceMetrics": 'STRUCT("schemaUrl" VARCHAR)[]',
            "resourceLogs": 'STRUCT("schemaUrl" VARCHAR)[]'},
    rows=_ROWS,
    columns={
        "record_id": "concat(trace_id, '-', span_id)",
        "response_id": "response_id",
        "used_at": "nanos(started)",
        "provider": f"""coalesce($opt_provider, {vendor.provider('provider')},
            {vendor.provider("split_part(vercel_provider, '.', 1)")})""",
        "model_id": "coalesce(response_model, request_model)",
        "request_model": "CASE WHEN request_model <> response_model THEN request_model END",
        "operation": "coalesce(operation, CASE WHEN span_kind = 'EMBEDDING' THEN 'embeddings' END, 'chat')",
        "service_tier": "CASE tier WHEN 'default' THEN 'standard' WHEN 'auto' THEN 'standard' "
                        "WHEN 'scale' THEN 'provisioned' ELSE tier END",
        "region": "coalesce(region, $opt_region)",
        "account_id": "$opt_account_id",
        "user_id": "records.user",
        "team": "service",
        "application": "service",
        "uncached_input_tokens": f"{_IN} - CASE WHEN {_READ} + {_WRITTEN} > {_IN} THEN 0 ELSE {_READ} + {_WRITTEN} END",
        "cache_read_tokens": _READ,
        "cache_write_5m_tokens": _WRITTEN,
        "output_tokens": "coalesce(n(output), 0)",
        "reasoning_tokens": "coalesce(n(reasoning), 0)",
        "audio_input_tokens": "nullif(n(audio_in), 0)",
        "audio_output_tokens": "nullif(n(audio_out), 0)",
        "status": "CASE WHEN error IS NOT NULL THEN error WHEN code IN ('2', 'STATUS_CODE_ERROR') THEN 'error' "
                  "ELSE 'ok' END",
        "reported_cost_usd": "usd(cost)",
    },
    skip=f"""CASE WHEN "resourceMetrics" IS NOT NULL OR "resourceLogs" IS NOT NULL THEN 'other_signal'
        WHEN records._empty THEN NULL
        WHEN {_NO_USAGE} AND (error IS NOT NULL OR code IN ('2', 'STATUS_CODE_ERROR'))
            AND coalesce(request_model, response_model) IS NOT NULL THEN 'failed'
        WHEN {_NO_USAGE} OR has_children THEN 'other_span'
        WHEN operation IN ('invoke_agent', 'create_agent', 'execute_tool', 'invoke_workflow') THEN 'other_span'
        WHEN lower(span_kind) NOT IN ('llm', 'embedding', 'reranker') THEN 'other_span'
        WHEN starts_with(vercel_operation, 'ai.') AND NOT contains(vercel_operation, '.do') THEN 'other_span' END""",
    checks={"impossible_count": _NOT_WHOLE},
)

FORMATS = (TRACES,)
