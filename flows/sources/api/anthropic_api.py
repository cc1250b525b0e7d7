"""Anthropic's admin API: usage report, cost report, Claude Code analytics.

A cost report that begins too close to now is refused, so windows end with the last full UTC day: the caller sees to
that. Claude Code is asked for day by day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from costops.flows.sources.api.client import Answer, Api
from costops.flows.sources.api.landing import Chain
from costops.flows.sources.api.openai_api import cursor
from costops.transforms.window import Window

BASE_URL = "https://api.anthropic.com"
KEY_ENV = "ANTHROPIC_ADMIN_KEY"
VERSION = "2023-06-01"
_GROUPS = ("api_key_id", "workspace_id", "model", "service_tier", "context_window", "inference_geo")


def connect(key: str, *, base_url: str = BASE_URL, **more: Any) -> Api:
    """The client of an admin key."""
    return Api("anthropic", base_url, {"x-api-key": key, "anthropic-version": VERSION},
               key_from=more.pop("key_from", f"${KEY_ENV}"), **more)


def usage_report(api: Api, window: Window, *, width: str = "1d") -> list[Chain]:
    """The chain of message usage, grouped by everything that its price hangs on."""
    limit = {"1d": 31, "1h": 168, "1m": 1440}[width]
    return [_chain(api, "usage_report", "v1/organizations/usage_report/messages", [
        *_bounds(window), ("bucket_width", width), ("limit", str(limit)), *(("group_by[]", key) for key in _GROUPS)])]


def cost_report(api: Api, window: Window) -> list[Chain]:
    """The chain of daily costs by workspace and description."""
    return [_chain(api, "cost_report", "v1/organizations/cost_report", [
        *_bounds(window), ("bucket_width", "1d"), ("limit", "31"),
        ("group_by[]", "workspace_id"), ("group_by[]", "description")])]


def claude_code(api: Api, window: Window) -> list[Chain]:
    """A chain for each day of Claude Code analytics."""
    return [_chain(api, "claude_code", "v1/organizations/usage_report/claude_code", [
        ("starting_at", f"{day:%Y-%m-%d}"), ("limit", "1000")]) for day in window.days()]


def _bounds(window: Window) -> list[tuple[str, str]]:
    return [("starting_at", f"{window.start:%Y-%m-%d}T00:00:00Z"), ("ending_at", f"{window.end:%Y-%m-%d}T00:00:00Z")]


def _chain(api: Api, feed: str, path: str, query: list[tuple[str, str]]) -> Chain:
    def ask(page: str | None = None) -> Answer:
        return api.ask("GET", path, params=[*query, *([("page", page)] if page else [])])

    def after(told: Any, _: int) -> Callable[[], Answer] | None:
        page = cursor(told)
        return (lambda: ask(page)) if page else None

    return Chain(feed, f"{path}?{query}", ask, after, cursor)
