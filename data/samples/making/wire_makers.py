"""Lines as OpenAI and Anthropic write them."""

from __future__ import annotations

from typing import Any

from making.call import Call, stamp
from making.text import dumps

OPENAI_TIERS = {"standard": "default", "flex": "flex", "priority": "priority", "batch": "default"}


def openai_body(call: Call) -> dict[str, Any]:
    """A chat completion. Cached tokens are a part of prompt_tokens, reasoning a part of completion_tokens."""
    return {
        "id": f"chatcmpl-{call.key}", "object": "chat.completion", "created": call.second, "model": call.model,
        "service_tier": OPENAI_TIERS[call.tier],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "", "refusal": None},
                     "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": call.total, "completion_tokens": call.output, "total_tokens": call.total + call.output,
            "prompt_tokens_details": {"cached_tokens": call.read, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": call.reasoning, "audio_tokens": 0},
        },
    }


def openai(call: Call, _offset: int) -> str:
    """A response body with the caller's metadata."""
    return dumps({**openai_body(call), "metadata": {"team": call.team}})


def openai_failed(_call: Call) -> str:
    """An error body: no id, no usage, nothing to bill."""
    return dumps({"error": {"message": "Rate limit reached.", "type": "requests", "param": None,
                            "code": "rate_limit_exceeded"}})


def openai_batch(call: Call, _offset: int) -> str:
    """A line of a batch output file."""
    return dumps({
        "id": f"batch_req_{call.key}", "custom_id": f"{call.team}/{call.key[:12]}",
        "response": {"status_code": 200, "request_id": f"req_{call.key}", "body": openai_body(call)}, "error": None,
    })


def openai_batch_failed(call: Call) -> str:
    """A request of a batch that ran out of time."""
    return dumps({"id": f"batch_req_{call.key}", "custom_id": f"{call.team}/{call.key[:12]}", "response": None,
                  "error": {"code": "batch_expired", "message": "This request could not be executed before the "
                                                                "completion window expired."}})


def openai_batch_object(day: str, start: int, done: int, failed: int) -> str:
    """The batch object beside an output file."""
    return dumps({
        "id": f"batch_{day}", "object": "batch", "endpoint": "/v1/chat/completions", "errors": None,
        "completion_window": "24h", "status": "completed", "output_file_id": f"file-{day}", "created_at": start,
        "in_progress_at": start + 60, "completed_at": start + 86_000,
        "request_counts": {"total": done + failed, "completed": done, "failed": failed},
    }) + "\n"


def anthropic_message(call: Call) -> dict[str, Any]:
    """A message. input_tokens leaves out cache reads and writes."""
    return {
        "id": f"msg_{call.key}", "type": "message", "role": "assistant", "model": call.model, "content": [],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {
            "input_tokens": call.uncached, "cache_creation_input_tokens": call.write_5m + call.write_1h,
            "cache_read_input_tokens": call.read,
            "cache_creation": {"ephemeral_5m_input_tokens": call.write_5m, "ephemeral_1h_input_tokens": call.write_1h},
            "output_tokens": call.output, "service_tier": call.tier, "inference_geo": "not_available",
        },
    }


def anthropic(call: Call, offset: int) -> str:
    """A message as a gateway logs it, with time, request id and workspace."""
    return dumps({"timestamp": stamp(call.at_us, offset), "request_id": f"req_{call.key}",
                  "workspace_id": f"wrkspc_{call.team}", "response": anthropic_message(call)})


def anthropic_failed(call: Call) -> str:
    """An overloaded answer."""
    return dumps({"timestamp": stamp(call.at_us), "request_id": f"req_{call.key}",
                  "response": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}})


def anthropic_batch(call: Call, _offset: int) -> str:
    """A succeeded line of a batch result file."""
    return dumps({"custom_id": f"{call.team}/{call.key[:12]}",
                  "result": {"type": "succeeded", "message": anthropic_message(call)}})


def anthropic_batch_failed(call: Call) -> str:
    """A line that ran out of time."""
    return dumps({"custom_id": f"{call.team}/{call.key[:12]}", "result": {"type": "expired"}})


def anthropic_batch_object(day: str, done: int, failed: int) -> str:
    """The message batch object beside a folder of results."""
    return dumps({
        "id": f"msgbatch_{day}", "type": "message_batch", "processing_status": "ended",
        "request_counts": {"processing": 0, "succeeded": done, "errored": 0, "canceled": 0, "expired": failed},
        "created_at": f"{day}T00:00:00Z", "expires_at": f"{day}T23:59:59Z", "ended_at": f"{day}T23:53:20Z",
    }) + "\n"
