"""Langfuse observations, Helicone requests, OpenRouter activity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from costops.flows.sources.api.client import Answer, Api
from costops.flows.sources.api.landing import Chain
from costops.transforms.window import Window

LANGFUSE_URL = "https://cloud.langfuse.com"
HELICONE_URL = "https://api.helicone.ai"
OPENROUTER_URL = "https://openrouter.ai/api/v1"
_FIELDS = "core,basic,time,model,usage,metrics,trace_context"
_LIMIT = 1000


def connect_langfuse(public_key: str, secret_key: str, *, base_url: str = LANGFUSE_URL, **more: Any) -> Api:
    """The client of a project's key pair."""
    return Api("langfuse", base_url, auth=(public_key, secret_key), key_from="the Langfuse key pair", **more)


def connect_helicone(key: str, *, base_url: str = HELICONE_URL, **more: Any) -> Api:
    """The client of a key."""
    return Api("helicone", base_url, {"authorization": f"Bearer {key}"}, key_from="the Helicone key", **more)


def connect_openrouter(key: str, *, base_url: str = OPENROUTER_URL, **more: Any) -> Api:
    """The client of a management key."""
    return Api("openrouter", base_url, {"authorization": f"Bearer {key}"}, key_from="the OpenRouter management key",
               **more)


def observations(api: Api, window: Window) -> list[Chain]:
    """The chain of observations of a window; usage and model come only when asked for, and no prompt is."""
    query = [("fields", _FIELDS), ("limit", str(_LIMIT)), ("fromStartTime", f"{window.start:%Y-%m-%d}T00:00:00Z"),
             ("toStartTime", f"{window.end:%Y-%m-%d}T00:00:00Z")]
    path = "api/public/v2/observations"

    def cursor(told: Any) -> str | None:
        found = (told.get("meta") or {}).get("cursor")
        return str(found) if found and told.get("data") else None

    def ask(page: str | None = None) -> Answer:
        return api.ask("GET", path, params=[*query, *([("cursor", page)] if page else [])])

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        page = cursor(told)
        return (lambda: ask(page)) if page else None

    return [Chain("observations", f"{path}?{query}", ask, after, cursor)]


def requests(api: Api, window: Window) -> list[Chain]:
    """A chain for each day: pages by offset stand still only over a closed, narrow window."""
    return [_helicone(api, Window(day, day.fromordinal(day.toordinal() + 1))) for day in window.days()]


def _helicone(api: Api, window: Window) -> Chain:
    bounds = {"gte": f"{window.start:%Y-%m-%d}T00:00:00.000Z", "lt": f"{window.end:%Y-%m-%d}T00:00:00.000Z"}
    where = {"request_response_rmt": {"request_created_at": bounds}}
    path = "v1/request/query-clickhouse"

    def ask(offset: int = 0) -> Answer:
        return api.ask("POST", path, body={
            "filter": where, "offset": offset, "limit": _LIMIT, "sort": {"created_at": "asc"}, "isCached": False,
            "includeInputs": False, "isPartOfExperiment": False, "isScored": False})

    def after(told: Any, pages: int) -> Callable[[], Answer] | None:
        return (lambda: ask(pages * _LIMIT)) if len(told.get("data") or []) >= _LIMIT else None

    return Chain("requests", f"{path}:{where}", ask, after, lambda _: None)


def activity(api: Api, window: Window) -> list[Chain]:
    """A chain of one answer for each day; OpenRouter keeps the last 30 complete days only."""
    def one(day: str) -> Chain:
        return Chain("activity", f"activity?date={day}", lambda: api.ask("GET", "activity", params=[("date", day)]),
                     lambda _, __: None, lambda _: None)
    return [one(f"{day:%Y-%m-%d}") for day in window.days()]
