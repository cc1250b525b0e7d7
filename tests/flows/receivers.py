"""People's end of an alert: a web server and a mail server on loopback that keep what they are told."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web:
    """Posts as (path, headers, document). `fail` answers so many times with 503 first."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.fail = 0
        self.url = ""


@contextmanager
def served(server: socketserver.BaseServer) -> Iterator[None]:
    """The server answers in a thread of its own until the block ends."""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def web() -> Iterator[Web]:
    kept = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if kept.fail:
                kept.fail -= 1
                self.send_response(503)
            else:
                kept.posts.append((self.path, dict(self.headers.items()), json.loads(body)))
                self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    with served(server):
        yield kept


class Mail:
    """Letters received, and the commands that brought them."""

    def __init__(self) -> None:
        self.letters: list[Message] = []
        self.said: list[str] = []
        self.url = ""


@contextmanager
def mail() -> Iterator[Mail]:
    kept = Mail()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 loopback")
            while line := self.rfile.readline():
                command = line.decode().strip()
                kept.said.append(command)
                word = command.upper().split(" ", 1)[0]
                if word == "EHLO":
                    self.say("250-loopback")
                    self.say("250 AUTH PLAIN")
                elif word == "AUTH":
                    self.say("235 welcome")
                elif word == "DATA":
                    self.say("354 go on")
                    body = b""
                    while (piece := self.rfile.readline()) != b".\r\n":
                        body += piece
                    kept.letters.append(message_from_bytes(body))
                    self.say("250 kept")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 fine")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    kept.url = f"smtp://robot:pass%20word@127.0.0.1:{server.server_address[1]}"
    with served(server):
        yield kept
