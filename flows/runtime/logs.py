"""Logging for people and machines, with credentials taken out before anything is written."""

from __future__ import annotations

import json
import logging
import os
import re
import sys

LOGGER = logging.getLogger("costops")

_SECRET = re.compile(
    r"(sk-[A-Za-z0-9_-]{8,}|AKIA[0-9A-Z]{12,}|(?i:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|(?i:(?:api[_-]?key|token|secret|password|signature|x-amz-signature|sig)=)[^&\s\"']+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@))"
)


def redact(text: str) -> str:
    """`text` without anything that looks like a credential, nor the value of any variable named by an `*_env` key."""
    for value in _known_secrets():
        text = text.replace(value, "***")
    return _SECRET.sub("***", text)


_names: set[str] = {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}


def secret_variables(names: set[str]) -> None:
    """Remember the environment variables whose values must never be printed."""
    _names.update(names)


def _known_secrets() -> list[str]:
    return [value for name in _names if len(value := os.environ.get(name, "")) >= 6]


class _Redacting(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self.as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        if self.as_json:
            line = json.dumps({"at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"), "level": record.levelname,
                               "message": record.getMessage()}, ensure_ascii=False)
        else:
            line = super().format(record)
        return redact(line)


def setup(verbosity: int = 0) -> None:
    """Log to stderr: warnings and up; `verbosity` 1 adds progress, 2 everything; -1 errors only."""
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting(as_json=os.environ.get("COSTOPS_LOG") == "json"))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False
