"""An HTTP proxy in front of the S3 server that fails as networks do: on purpose, and at a chosen request."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

DRIP = float(os.environ.get("COSTOPS_DRIP", "0.2"))
"""Seconds between two bytes of a dripping answer; 1 is the long form."""

Plan = Callable[[str, str, int], str | None]
"""Method, path and number of the request -> `503`, `409`, `lose` (done, but no answer), `cut` (half a body), `reset`
(half a body, then the connection is reset), `hang` (taken, never answered), `slow`, `drip` (a byte a second), `one` (a
listing in pages of one), None."""


class Proxy:
    """`url` goes where `target` goes, save for what `plan` says."""

    def __init__(self, target: str, plan: Plan) -> None:  # noqa: C901  one handler, whole
        self.asked: list[tuple[str, str, str | None]] = []
        lock = threading.Lock()
        gone = self._gone = threading.Event()
        client = httpx.Client(base_url=target, timeout=60)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                with lock:
                    does = plan(self.command, self.path, len(proxy.asked))
                    proxy.asked.append((self.command, self.path, does))
                if does == "503":
                    self._answer(503, b"<Error><Code>SlowDown</Code></Error>", {"Content-Type": "application/xml"})
                    return
                if does == "409":
                    self._answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>",
                                 {"Content-Type": "application/xml"})
                    return
                if does == "hang":
                    gone.wait(60)
                    self.close_connection = True
                    return
                kept = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "connection")}
                path = re.sub(r"max-keys=\d+&?", "", self.path) + "&max-keys=1" if does == "one" else self.path
                answer = client.request(self.command, path, content=body, headers={
                    **kept, "Host": self.headers["Host"]})
                if does == "lose":
                    self.close_connection = True
                    return
                passed = {key: value for key, value in answer.headers.items() if key.lower() not in (
                    "content-length", "connection", "transfer-encoding", "content-encoding", "date", "server")}
                length_told = int(answer.headers.get("content-length", 0)) if self.command == "HEAD" else None
                self._answer(answer.status_code, answer.content, passed, does, length_told)

            def _answer(self, status: int, body: bytes, headers: dict[str, str], does: str | None = None,
                        length: int | None = None) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                if self.command == "HEAD":
                    return
                if does == "cut" and len(body) > 1:
                    self.wfile.write(body[: len(body) // 2])
                    self.close_connection = True
                    return
                if does == "reset" and len(body) > 1:
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()         # lingering for no time: the other side sees a reset, not an end
                    self.close_connection = True
                    return
                if does in ("slow", "drip"):
                    size, pause = (2048, 0.02) if does == "slow" else (1, DRIP)
                    with suppress(OSError):         # who waits no longer hangs up
                        for place in range(0, len(body), size):
                            self.wfile.write(body[place:place + size])
                            self.wfile.flush()
                            time.sleep(pause)
                    return
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _any  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def proxied(target: str, plan: Plan) -> Iterator[Proxy]:
    """A proxy for the time of a test."""
    proxy = Proxy(target, plan)
    try:
        yield proxy
    finally:
        proxy.close()
