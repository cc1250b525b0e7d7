"""OpenAI's admin API: usage of every endpoint, and costs. One chain of pages for each.

Array parameters go out in the bracket form that the official client sends. `limit` counts buckets. The end of the
window is fixed once: a page cursor is bound to the whole query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any

from costops.flows.sources.api.client import Answer, Api
from costops.flows.sources.api.landing import Chain
from costops.transforms.window import Window

BASE_URL = "https://api.openai.com/v1"
KEY_ENV = "OPENAI_ADMIN_KEY"
_MODEL = ("project_id", "user_id", "api_key_id", "model")
ENDPOINTS: dict[str, tuple[str, ...]] = {
    "completions": (*_MODEL, "batch", "service_tier"), "embeddings": _MODEL, "moderations": _MODEL, "images": _MODEL,
    "audio_speeches": _MODEL, "audio_transcriptions": _MODEL, "vector_stores": ("project_id",),
    "code_interpreter_sessions": ("project_id",), "file_search_calls": ("project_id", "user_id", "api_key_id"),
    "web_search_calls": _MODEL,
}
"""Endpoint -> the dimensions that we group by, all that its price or attribution can hang on."""


def connect(key: str, *, base_url: str = BASE_URL, **more: Any) -> Api:
    """The client of an admin key."""
    return Api("openai", base_url, {"authorization": f"Bearer {key}"}, key_from=more.pop("key_from", f"${KEY_ENV}"),
               **more)


def usage(api: Api, window: Window, *, width: str = "1d", endpoints: Sequence[str] = tuple(ENDPOINTS)) -> list[Chain]:
    """A chain for each usage endpoint."""
    limit = {"1d": 31, "1h": 168, "1m": 1440}[width]
    return [_chain(api, f"usage/{name}", f"organization/usage/{name}", window, [
        ("bucket_width", width), ("limit", str(limit)), *(("group_by[]", key) for key in ENDPOINTS[name])])
        for name in endpoints]


def costs(api: Api, window: Window) -> list[Chain]:
    """The chain of daily costs by project and line item."""
    return [_chain(api, "costs", "organization/costs", window, [
        ("bucket_width", "1d"), ("limit", "31"), ("group_by[]", "project_id"), ("group_by[]", "line_item")])]


def _chain(api: Api, feed: str, path: str, window: Window, more: list[tuple[str, str]]) -> Chain:
    query = [("start_time", str(_epoch(window.start))), ("end_time", str(_epoch(window.end))), *more]

    def ask(page: str | None = None) -> Answer:
        return api.ask("GET", path, params=[*query, *([("page", page)] if page else [])])

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        page = cursor(told)
        return (lambda: ask(page)) if page else None

    return Chain(feed, f"{path}?{query}", ask, after, cursor)


def cursor(told: Any) -> str | None:
    """The next page of an answer that says it has one."""
    return str(told["next_page"]) if told.get("has_more") and told.get("next_page") else None


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
