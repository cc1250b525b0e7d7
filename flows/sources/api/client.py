"""One HTTP client for every provider: retries that listen to the provider, time-outs, and errors without secrets."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from costops.flows.sources.api.turns import Turns
from costops.transforms.errors import Unreachable

AGENT = "llm-costops (+https://github.com/llm-costops)"
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_FINAL_CODES = ("insufficient_quota", "enforced_spend_limit_reached", "contract_spend_limit_reached",
                "linked_organization_spend_limit_reached", "billing_hard_limit_reached")
_KEY_LIKE = re.compile(
    r"(sk-[A-Za-z0-9_\-]{6,}|pk-lf-[A-Za-z0-9\-]+|Bearer\s+\S+|eyJ[A-Za-z0-9_\-.]{20,}|AKIA[A-Z0-9]{12,})")
_FIRST_WAIT, _LONGEST_BACKOFF = 0.5, 30.0


class Rejected(Unreachable):
    """The provider refused the request itself (400): asking again will not help, asking otherwise may."""


class _TooSlow(httpx.ReadTimeout):
    """Bytes come, but the answer does not end."""


@dataclass(frozen=True)
class Answer:
    """A whole page as received, and what it says."""

    body: bytes
    told: Any


@dataclass
class Api:
    """Requests to one provider.

    `key_from` says in errors where the key is set. `timeout`: seconds without a byte after which a request is asked
    again; `longest_answer`: seconds that a whole answer may take, however steadily it trickles in. `turns` is shared by
    pulls that run at once. `sleep` and `jitter` are given by tests.
    """

    name: str
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    key_from: str = "the configured key"
    auth: tuple[str, str] | None = field(default=None, repr=False)
    attempts: int = 8
    timeout: float = 60.0
    longest_answer: float = 600.0
    longest_wait: float = 300.0
    largest: int = 256 << 20
    turns: Turns = field(default_factory=Turns)
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    asked: int = 0

    def __post_init__(self) -> None:
        self._http = httpx.Client(
            headers={"user-agent": AGENT, "accept": "application/json", **self.headers},
            auth=httpx.BasicAuth(*self.auth) if self.auth else None,
            timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, 15.0)), follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, method: str, path: str, *, params: list[tuple[str, str]] | None = None,
            body: Any = None) -> Answer:
        """The JSON answer to a request, asked again as often as the provider and patience allow."""
        url = self.place(path)
        host = urlsplit(url).netloc
        last = "no answer"
        for attempt in range(1, self.attempts + 1):
            self.asked += 1
            wait: float | None = None
            try:
                with self.turns.at(host):
                    status, headers, content = self._once(method, url, params, body)
            except httpx.TimeoutException as error:
                last = str(error) if isinstance(error, _TooSlow) else f"nothing came for {self.timeout:g} s"
            except (httpx.TransportError, httpx.StreamError) as error:
                last = f"{type(error).__name__}"
            else:
                if status == 200:
                    told = _json(content)
                    if told is not None:
                        return Answer(content, told)
                    last = "200 with a body that ends early"
                elif status not in _AGAIN or headers.get("x-should-retry") == "false" or _final(content):
                    raise self._error(status, url, content)
                else:
                    last = f"{status} {self._said(content)}"
                    wait = told_wait(headers)
                    self.turns.rest(host, min(wait or 0.0, self.longest_wait))
            if attempt == self.attempts:
                break
            self._pause(wait, attempt, url)
        raise Unreachable(f"{self.name}: {_bare(url)} did not answer after {self.attempts} attempts (last: {last}); "
                          "what was pulled is kept, the next run goes on from there.")

    def place(self, path: str) -> str:
        """The full address of a path or a next link; a link to another origin is refused."""
        url = urljoin(self.base_url.rstrip("/") + "/", path.lstrip("/") if "://" not in path else path)
        there = urlsplit(url)
        if _origin(self.base_url) != _origin(url):
            raise Unreachable(f"{self.name}: a next link leads to another host, {there.scheme}://{there.netloc}; it "
                              "was not followed. If the provider has moved, set `base_url`.")
        return url

    def _once(self, method: str, url: str, params: list[tuple[str, str]] | None,
              body: Any) -> tuple[int, httpx.Headers, bytes]:
        asked: list[tuple[str, str | int | float | bool | None]] = [*(params or [])]
        request = self._http.build_request(method, url, params=asked, json=body) if asked else \
            self._http.build_request(method, url, json=body)
        began = time.monotonic()
        response = self._http.send(request, stream=True)
        try:
            parts: list[bytes] = []
            size = 0
            for part in response.iter_bytes():
                size += len(part)
                if size > self.largest:
                    raise Unreachable(f"{self.name}: an answer of {_bare(url)} is larger than {self.largest} bytes; "
                                      "ask for a shorter window.")
                if time.monotonic() - began > self.longest_answer:
                    raise _TooSlow(f"the answer was not whole after {self.longest_answer:g} s")
                parts.append(part)
            return response.status_code, response.headers, b"".join(parts)
        finally:
            response.close()

    def _pause(self, wait: float | None, attempt: int, url: str) -> None:
        if wait is not None and wait > self.longest_wait:
            raise Unreachable(f"{self.name}: {_bare(url)} asks to wait {wait:.0f} s, longer than "
                              f"{self.longest_wait:.0f}; run again later, it goes on from the last complete page.")
        backoff = min(_LONGEST_BACKOFF, _FIRST_WAIT * 2 ** (attempt - 1))
        self.sleep(max(wait or 0.0, backoff * (0.5 + self.jitter() / 2)))

    def _error(self, status: int, url: str, content: bytes) -> Unreachable:
        said = self._said(content)
        if status in (401, 403):
            return Unreachable(f"{self.name}: {_bare(url)} refused {self.key_from} ({status} {said}); set one that is "
                               "valid and may read usage and costs.")
        if 300 <= status < 400:
            return Unreachable(f"{self.name}: {_bare(url)} answered with a redirect ({status}); set `base_url` to the "
                               "address it means.")
        kind = Rejected if status in (400, 404, 422) else Unreachable
        return kind(f"{self.name}: {_bare(url)} answered {status} {said}.")

    def _said(self, content: bytes) -> str:
        """The provider's words, short and without anything that could be a key."""
        told = _json(content)
        error = told.get("error") if isinstance(told, dict) else None
        text = " ".join(str(error[key]) for key in ("type", "code", "status", "message") if error.get(key)) \
            if isinstance(error, dict) else str(error or "")
        return self.clean(text)[:200]

    def clean(self, text: str) -> str:
        """Text with every secret of ours, and what looks like one, struck out."""
        for value in (*self.headers.values(), *(self.auth or ())):
            for secret in {value, value.removeprefix("Bearer ")}:
                if len(secret) > 5:
                    text = text.replace(secret, "***")
        return _KEY_LIKE.sub("***", text)


def told_wait(headers: httpx.Headers | Mapping[str, str]) -> float | None:
    """Seconds to wait as the provider says: the longest of all its headers; None where it says nothing."""
    found: list[float] = []
    for name, value in headers.items():
        key = name.lower()
        if key == "retry-after-ms":
            found += _seconds(value, 0.001)
        elif key == "retry-after" or (key.startswith("x-ms-ratelimit-") and key.endswith("retry-after")):
            found += _seconds(value, 1.0) or _until(value)
        elif key.startswith("anthropic-ratelimit-") and key.endswith("-reset") and "retry-after" not in headers:
            found += _until(value)
    return max(found) if found else None


def _seconds(value: str, unit: float) -> list[float]:
    try:
        return [max(0.0, float(value) * unit)]
    except ValueError:
        return []


def _until(value: str) -> list[float]:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return []
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return [max(0.0, (at - datetime.now(UTC)).total_seconds())]


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _final(content: bytes) -> bool:
    """Whether the error is one that waiting does not mend."""
    return any(code.encode() in content for code in _FINAL_CODES)


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; the usual port may be written or not. An address with a user in it has no origin."""
    parts = urlsplit(url)
    try:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        port = -1
    return parts.scheme, parts.netloc if "@" in parts.netloc else parts.hostname or "", port


def _bare(url: str) -> str:
    """An address without its query, which may hold tokens."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
