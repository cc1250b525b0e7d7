"""A server on loopback that answers as the providers do, with their faults, over data made from a seed.

Page cursors are bound to the query, limits count buckets, keys are checked, and a share of all requests fails: with
429 and the provider's own headers, 500, 529, or a connection cut in the middle of the body. Beside these a server may
fall silent, trickle, or tell a page otherwise each time it is asked for.
"""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from time import sleep
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.replay.catalogues import catalogue_page

KEY = "sk-admin-planted-secret-4711"
Query = list[tuple[str, str]]


@dataclass
class Provider:
    """What the server knows and how it misbehaves."""

    faults: float = 0.0
    seed: int = 7
    restated: dict[date, int] = field(default_factory=dict)
    stuck: bool = False
    foreign: bool = False
    silent: dict[str, int] = field(default_factory=dict)
    """`nothing`, `half`, `trickle` -> how many of the first asks of each question are answered so, and never whole."""
    changing: bool = False
    """A page tells other figures each time it is asked for."""
    telling: int = 0
    expired_cursors: bool = False
    fail_after: int | None = None
    price_factor: float = 1.0
    lost_skus: int = 0
    published: str = "2026-11-01T10:00:00Z"
    keys: frozenset[str] = frozenset({KEY})
    asked: Counter[str] = field(default_factory=Counter)
    served: list[str] = field(default_factory=list)
    answered: int = 0
    slow: float = 0.0
    busy: int = 0
    most_at_once: int = 0
    lock: Lock = field(default_factory=Lock)
    over: Event = field(default_factory=Event)

    def fault(self, what: str) -> str | None:
        """The fault of this request, if any; no request fails more than three times."""
        with self.lock:
            self.asked[what] += 1
            times = self.asked[what]
            self.telling = times if self.changing else 0
        if quiet := next((how for how, most in self.silent.items() if times <= most), None):
            return quiet
        if times > 3 or not self.faults:
            return None
        draw = random.Random(f"{self.seed}|{what}|{times}")
        if draw.random() >= self.faults:
            return None
        return draw.choice(["429", "500", "529", "cut"])


def rows_of(day: date, salt: str, provider: Provider) -> list[dict[str, Any]]:
    """The rows of one day, from the day alone; a restated day has other figures."""
    draw = random.Random(f"{day}|{salt}|{provider.restated.get(day, provider.telling)}")
    found = []
    for model in ("gpt-5-mini-2025-08-07", "gpt-4o-2024-08-06")[: draw.randint(0, 2)]:
        plain, cached = draw.randint(1, 90_000), draw.randint(0, 9_000)
        found.append({"model": model, "plain": plain, "cached": cached, "output": draw.randint(1, 50_000)})
    return found


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days)]


def _paged(provider: Provider, query: Query, days: list[date], most: int) -> tuple[list[date], str | None] | None:
    """The days of this page and the next cursor; None where the cursor belongs to another query."""
    asked = dict(query)
    limit = int(asked.get("limit", "7"))
    if limit > most:
        raise ValueError(f"Invalid 'limit': {limit} is above {most}")
    bound = sha256(repr(sorted((k, v) for k, v in query if k != "page")).encode()).hexdigest()[:10]
    offset = 0
    if page := asked.get("page"):
        if provider.expired_cursors:
            return None
        told = json.loads(base64.urlsafe_b64decode(page))
        if told["q"] != bound:
            return None
        offset = told["o"]
    after = offset + limit
    more = after < len(days)
    following = offset if provider.stuck and offset else after
    cursor = base64.urlsafe_b64encode(json.dumps({"q": bound, "o": following}).encode()).decode() if more else None
    return days[offset:after], cursor


def openai_page(provider: Provider, path: str, query: Query) -> tuple[int, Any]:
    """A page of usage/completions or costs."""
    asked = dict(query)
    first = datetime.fromtimestamp(int(asked["start_time"]), UTC).date()
    last = datetime.fromtimestamp(int(asked["end_time"]), UTC).date()
    try:
        paged = _paged(provider, query, _days(first, last), 180 if path.endswith("costs") else 31)
    except ValueError as error:
        return 400, {"error": {"message": str(error), "type": "invalid_request_error", "param": "limit"}}
    if paged is None:
        return 400, {"error": {"message": "page does not belong to this query", "type": "invalid_request_error"}}
    data = []
    for day in paged[0]:
        start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        results = []
        for row in rows_of(day, "openai", provider):
            if path.endswith("costs"):
                results.append({
                    "object": "organization.costs.result", "project_id": "proj_a", "quantity": row["plain"],
                    "amount": {"value": row["plain"] / 1_000_000, "currency": "usd"}, "quantity_unit": "tokens",
                    "line_item": f"{row['model']}, input"})
            elif path.endswith("completions"):
                results.append({
                    "object": "organization.usage.completions.result", "model": row["model"],
                    "input_tokens": row["plain"] + row["cached"], "input_cached_tokens": row["cached"],
                    "input_uncached_tokens": row["plain"], "output_tokens": row["output"], "num_model_requests": 3,
                    "project_id": "proj_a", "batch": False, "service_tier": "default"})
        data.append({"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": results})
    return 200, {"object": "page", "data": data, "has_more": paged[1] is not None, "next_page": paged[1]}


def anthropic_page(provider: Provider, path: str, query: Query) -> tuple[int, Any]:
    """A page of the usage report, the cost report, or Claude Code analytics."""
    asked = dict(query)
    first = date.fromisoformat(asked["starting_at"][:10])
    if path.endswith("claude_code"):
        rows = [{"date": f"{first}T00:00:00Z", "actor": {"type": "user_actor", "email_address": "dev@example.com"},
                 "customer_type": "api", "terminal_type": "vscode", "model_breakdown": [
                     {"model": "claude-opus-5", "tokens": {"input": 10, "output": 5, "cache_read": 0,
                                                           "cache_creation": 0},
                      "estimated_cost": {"currency": "USD", "amount": 12}}]}]
        return 200, {"data": rows, "has_more": False, "next_page": None}
    last = date.fromisoformat(asked["ending_at"][:10])
    paged = _paged(provider, query, _days(first, last), 31)
    if paged is None:
        return 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "bad page"}}
    data = []
    for day in paged[0]:
        results: list[dict[str, Any]] = []
        for row in rows_of(day, "anthropic", provider):
            if path.endswith("cost_report"):
                results.append({
                    "amount": f"{row['plain'] / 10_000:.4f}", "currency": "USD", "description": "Input Tokens",
                    "cost_type": "tokens", "model": "claude-opus-5", "service_tier": "standard",
                    "token_type": "uncached_input_tokens", "context_window": "0-200k", "inference_geo": "global",
                    "workspace_id": f"wrkspc_{row['model'][:6]}"})
            else:
                results.append({
                    "uncached_input_tokens": row["plain"], "cache_read_input_tokens": row["cached"],
                    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                    "output_tokens": row["output"], "server_tool_use": {"web_search_requests": 0},
                    "workspace_id": f"wrkspc_{row['model'][:6]}", "model": "claude-opus-5",
                    "service_tier": "standard", "context_window": "0-200k", "inference_geo": "global"})
        data.append({"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z",
                     "results": results})
    return 200, {"data": data, "has_more": paged[1] is not None, "next_page": paged[1]}


def gateway_page(path: str, query: Query, body: Any) -> tuple[int, Any]:
    """Langfuse, Helicone or OpenRouter."""
    asked = dict(query)
    data: list[dict[str, Any]]
    if "observations" in path:
        offset = int(asked.get("cursor", "0"))
        data = [{"id": f"o{offset + n}", "type": "GENERATION", "model": "gpt-5-mini", "startTime":
                 "2026-09-14T10:00:00Z", "usageDetails": {"input": 1, "output": 2, "total": 3}} for n in range(2)]
        return 200, {"data": data, "meta": {"cursor": str(offset + 2)} if offset < 4 else {}}
    if "query-clickhouse" in path:
        left = max(0, min(1000, 1500 - body["offset"]))
        data = [{"request_id": f"r{body['offset'] + n}", "response_status": 200, "provider": "OPENAI",
                 "request_created_at": "2026-09-14 10:00:00", "response_model": "gpt-5-mini", "prompt_tokens": 5,
                 "completion_tokens": 3} for n in range(left)]
        return 200, {"data": data, "error": None}
    return 200, {"data": [{"date": asked["date"], "model": "openai/gpt-5-mini", "endpoint_id": "e", "usage": 0.01,
                           "model_permaslug": "openai/gpt-5-mini", "provider_name": "OpenAI", "requests": 2,
                           "prompt_tokens": 10, "completion_tokens": 4, "cached_tokens": 0}]}


def cloud_page(provider: Provider, path: str, query: Query, body: Any, origin: str) -> tuple[int, Any]:
    """Azure's query, Cost Explorer, or BigQuery."""
    if "CostManagement" in path:
        second = any(key == "$skiptoken" for key, _ in query)
        host = "http://198.51.100.7:9" if provider.foreign else origin
        day = int(body["timePeriod"]["from"][:10].replace("-", "")) + second
        cells: list[Any] = [1.25, 500.0, day, "/subscriptions/s/resourcegroups/r", "gpt 4o 1120 Inp glbl Tokens",
                            "EUR"]
        names = ("totalCost", "totalUsage", "UsageDate", "ResourceId", "Meter", "Currency")
        link = None if second else f"{host}{path}?api-version=2025-03-01&$skiptoken=AQ"
        return 200, {"properties": {"nextLink": link, "rows": [cells], "columns": [
            {"name": name, "type": "Number"} for name in names]}}
    if "queries" in path:
        token = dict(query).get("pageToken")
        fields: list[dict[str, Any]] = [
            {"name": name, "type": "STRING"} for name in ("billing_account_id", "cost", "currency")]
        fields += [{"name": "usage_start_time", "type": "TIMESTAMP"},
                   {"name": "invoice", "type": "RECORD", "fields": [{"name": "month", "type": "STRING"}]}]
        row: dict[str, list[Any]] = {"f": [
            {"v": "b"}, {"v": "0.5" if token else "0.25"}, {"v": "EUR"}, {"v": "1789380000000000"},
            {"v": {"f": [{"v": "202609"}]}}]}
        done = path.endswith("/job1")
        return 200, {"schema": {"fields": fields}, "jobReference": {"jobId": "job1", "location": "EU"},
                     "jobComplete": done, "rows": [row] if done else [], "pageToken": None if token else "t2"}
    token = body.get("NextPageToken")
    began = date.fromisoformat(body["TimePeriod"]["Start"])
    result = {"TimePeriod": {"Start": f"{began}", "End": f"{began + timedelta(days=1)}"}, "Total": {},
              "Estimated": False,
              "Groups": [{"Keys": ["Amazon Bedrock", "USE1-NovaLite-output-tokens" if token
                                   else "USE1-NovaLite-input-tokens"],
                          "Metrics": {"UnblendedCost": {"Amount": "0.00015", "Unit": "USD"},
                                      "UsageQuantity": {"Amount": "2.5", "Unit": "N/A"}}}]}
    return 200, {"GroupDefinitions": body["GroupBy"], "ResultsByTime": [result],
                 **({} if token else {"NextPageToken": "more"})}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    provider: Provider

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it
        pass

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))) or b"{}"))

    def _answer(self, body: Any) -> None:
        with self.provider.lock:
            self.provider.busy += 1
            self.provider.most_at_once = max(self.provider.most_at_once, self.provider.busy)
        sleep(self.provider.slow)
        with self.provider.lock:
            self.provider.busy -= 1
        provider, parts = self.provider, urlsplit(self.path)
        query = parse_qsl(parts.query)
        if not self._allowed():
            message = f"Incorrect API key provided: {self.headers.get('authorization')}"
            self._send(401, {"error": {"message": message, "type": "authentication_error",
                                       "code": "invalid_api_key"}})
            return
        what = f"{self.path}|{json.dumps(body, sort_keys=True)}"
        with provider.lock:
            over = provider.fail_after is not None and provider.answered >= provider.fail_after
        fault = "401" if over else provider.fault(what)
        status, told = self._told(parts.path, query, body) if not over else (401, {"error": {"code": "expired"}})
        if fault in provider.silent:
            self._fall_silent(fault, json.dumps(told).encode())
        elif fault == "429":
            self._send(429, {"error": {"type": "rate_limit_error", "message": "slow down"}}, {
                "retry-after": "1", "x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after": "3"})
        elif fault in ("500", "529"):
            self._send(int(fault), {"error": {"type": "api_error", "message": "try again"}})
        else:
            if fault is None and status == 200:
                with provider.lock:
                    provider.answered += 1
                    provider.served.append(what)
            self._send(status, told, cut=fault == "cut")

    def _fall_silent(self, how: str, content: bytes) -> None:
        """No answer, half of one, or one byte after the other, until the client has gone or the server ends."""
        self.close_connection = True
        if how == "nothing":
            self.provider.over.wait(5)
            return
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        for at in range(len(content) // 2, len(content) - 1) if how == "trickle" else ():
            if self.provider.over.wait(0.02):
                return
            try:
                self.wfile.write(content[at:at + 1])
            except OSError:
                return
        self.provider.over.wait(5)

    def _told(self, path: str, query: Query, body: Any) -> tuple[int, Any]:
        if path.startswith("/v1/organizations/"):
            return anthropic_page(self.provider, path, query)
        if path.startswith("/v1/organization/"):
            return openai_page(self.provider, path, query)
        if path.startswith(("/offers/", "/api/retail/")) or path.endswith("/skus"):
            return catalogue_page(self.provider, path, query, f"http://{self.headers['host']}")
        if any(word in path for word in ("observations", "clickhouse", "activity")):
            return gateway_page(path, query, body)
        return cloud_page(self.provider, path, query, body, f"http://{self.headers['host']}")

    def _allowed(self) -> bool:
        if self.path.startswith(("/offers/", "/api/retail/")):
            return True
        told = self.headers.get("authorization") or self.headers.get("x-api-key") or self.headers.get(
            "x-goog-api-key") or ""
        if told.startswith("AWS4-HMAC-SHA256"):
            return True
        if told.startswith("Basic "):
            told = base64.b64decode(told[6:]).decode().split(":", 1)[1]
        return told.removeprefix("Bearer ") in self.provider.keys

    def _send(self, status: int, told: Any, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        content = json.dumps(told).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True


@contextmanager
def serving(provider: Provider) -> Iterator[str]:
    """The address of a server for this provider while the block runs."""
    handler = type("Handler", (_Handler,), {"provider": provider})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    provider.over.clear()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        provider.over.set()
        server.shutdown()
        server.server_close()
