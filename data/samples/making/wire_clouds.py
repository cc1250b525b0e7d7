"""Lines as Amazon Bedrock, Google and Azure write them."""

from __future__ import annotations

from typing import Any

from making.call import Call, stamp
from making.text import dumps

ACCOUNT = "111122223333"
AZURE_ACCOUNT = ("/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/rg-ai/providers/"
                 "Microsoft.CognitiveServices/accounts/ex-aoai")
YEAR_1_TO_1970_TICKS = 621_355_968_000_000_000


def _bedrock_head(call: Call, offset: int) -> dict[str, Any]:
    tagged = int(call.key[0], 16) < 13                # the rest is known by its role alone
    head: dict[str, Any] = {
        "schemaType": "ModelInvocationLog", "schemaVersion": "1.0", "timestamp": stamp(call.at_us, offset),
        "accountId": ACCOUNT,
        "identity": {"arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{call.team}/app"}, "region": "us-east-1",
        "requestId": call.key, "operation": "Converse", "modelId": call.model,
    }
    if tagged:
        head["requestMetadata"] = {"team": call.team}
    return head


def bedrock(call: Call, offset: int) -> str:
    """A model invocation log line. inputTokenCount leaves out cache reads and writes."""
    return dumps({
        **_bedrock_head(call, offset),
        "input": {"inputContentType": "application/json", "inputTokenCount": call.uncached,
                  "cacheReadInputTokenCount": call.read, "cacheWriteInputTokenCount": call.write_5m},
        "output": {"outputContentType": "application/json", "outputTokenCount": call.output},
    })


def bedrock_failed(call: Call) -> str:
    """A throttled call."""
    return dumps({**_bedrock_head(call, 0), "errorCode": "ThrottlingException",
                  "input": {"inputContentType": "application/json"}})


def _gemini_usage(call: Call) -> dict[str, Any]:
    """Google leaves out zeros; thoughts stand beside the candidates, cached tokens inside the prompt."""
    counts = {"promptTokenCount": call.total, "candidatesTokenCount": call.output - call.reasoning,
              "totalTokenCount": call.total + call.output, "cachedContentTokenCount": call.read,
              "thoughtsTokenCount": call.reasoning}
    return {name: count for name, count in counts.items() if count}


def gemini(call: Call, offset: int) -> str:
    """A generateContent answer."""
    return dumps({"candidates": [{"content": {"role": "model", "parts": []}, "finishReason": "STOP"}],
                  "modelVersion": call.model, "createTime": stamp(call.at_us, offset), "responseId": call.key,
                  "usageMetadata": _gemini_usage(call)})


def gemini_failed(_call: Call) -> str:
    """A refused answer."""
    return dumps({"error": {"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}})


def vertex(call: Call, offset: int) -> str:
    """A row of the request-response log table, exported as JSON."""
    when = stamp(call.at_us, offset)
    return dumps({
        "endpoint": None, "deployed_model_id": None,
        "logging_time": when if offset else when.replace("T", " ").replace("Z", " UTC"), "request_id": call.key,
        "request_payload": [], "response_payload": [], "model": f"publishers/google/models/{call.model}",
        "model_version": "default", "api_method": "generateContent", "full_request": {"labels": {"team": call.team}},
        "full_response": {"candidates": [{"finishReason": "STOP"}], "modelVersion": call.model,
                          "usageMetadata": {**_gemini_usage(call), "trafficType": "ON_DEMAND"}},
        "metadata": {}, "otel_log": None,
    })


def vertex_failed(call: Call) -> str:
    """A row of a request that was refused."""
    return dumps({
        "endpoint": None, "deployed_model_id": None,
        "logging_time": stamp(call.at_us).replace("T", " ").replace("Z", " UTC"), "request_id": call.key,
        "request_payload": [], "response_payload": [], "model": f"publishers/google/models/{call.model}",
        "model_version": "default", "api_method": "generateContent", "full_request": {"labels": {"team": call.team}},
        "full_response": {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, "metadata": {}, "otel_log": None,
    })


def _deployment(call: Call) -> str:
    return f"{call.team}-{call.model[:-11]}"


def azure(call: Call, offset: int, sequence: int = 0) -> str:
    """A gateway line. Only sequence 0 carries tokens; the others carry text."""
    used = call if sequence == 0 else None
    return dumps({
        "TimeGenerated": stamp(call.at_us, offset), "CorrelationId": call.key, "SequenceNumber": sequence,
        "DeploymentName": _deployment(call), "ModelName": call.model, "PromptTokens": used.total if used else 0,
        "CompletionTokens": used.output if used else 0, "TotalTokens": used.total + used.output if used else 0,
        "IsStreamCompletion": False, "RequestMessages": "", "ResponseMessages": "",
        "OperationName": "ChatCompletions_Create", "Region": "East US",
    })


def azure_diagnostic(call: Call, status: str = "200") -> str:
    """The resource log of the same request, which has no tokens."""
    start = YEAR_1_TO_1970_TICKS + call.at_us * 10
    return dumps({
        "time": stamp(call.at_us, digits=7), "resourceId": AZURE_ACCOUNT.upper(), "category": "RequestResponse",
        "operationName": "ChatCompletions_Create", "resultSignature": status, "durationMs": 900,
        "correlationId": call.key, "location": "eastus", "event": "ShoeboxCallResult",
        "properties": {"requestTime": start, "responseTime": start + 9_000_000, "streamType": "Non-Streaming",
                       "modelDeploymentName": _deployment(call), "modelName": call.model[:-11],
                       "modelVersion": call.model[-10:]},
    })
