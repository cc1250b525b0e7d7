"""One writer at a time in a bucket: a lease with an end, a number that only grows, and no trust in clocks alone.

The lease is an object that is only ever replaced by compare-and-swap. Its holder renews it in the background. Who
is stopped for longer than it lasts finds another holder when it wakes, and is refused before its next write. Should
it write all the same, the partition's own compare-and-swap refuses it: the lease saves work, the swap saves data.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from costops.flows.runtime.bucket import Bucket, Version
from costops.flows.runtime.logs import LOGGER
from costops.transforms.errors import Conflict, CostopsError, Refused

KEY = "_state/lock"
GRACE = 2.0


class Lease:
    """The right to write a bucket's lake. `check` is called before every write."""

    def __init__(self, store: Bucket, *, seconds: float | None = None) -> None:
        self.store = store
        self.seconds = seconds or float(os.environ.get("COSTOPS_LEASE_SECONDS", "60"))
        self.holder = _whoami()
        self.token = 0
        self._version: Version = {}
        self._until = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def acquire(self, wait: float = 0.0) -> None:
        """Take the lease when it is free, has ended, or its holder on this machine is dead; else wait, then refuse."""
        deadline = time.monotonic() + wait
        while True:
            body, version = self.store.peek(KEY)
            held = _read(body)
            if not _alive(held):
                with suppress(Conflict):
                    self._write(version, int(held.get("token", 0)) + 1)
                    break
                continue
            if time.monotonic() >= deadline:
                end = time.strftime("%H:%M:%SZ", time.gmtime(held["until"]))
                raise Refused(f"{self.store.uri}: another run is writing ({held['holder']}, at least until {end}); "
                              "wait for it, then run again.")
            time.sleep(min(1.0, self.seconds / 10))
        threading.Thread(target=self._renew, name="costops-lease", daemon=True).start()

    def check(self) -> None:
        """Refuse where the lease has gone to another holder while this process was stopped or cut off."""
        if time.monotonic() < self._until:
            return
        with self._lock:
            if time.monotonic() < self._until:
                return
            body, version = self.store.peek(KEY)
            held = _read(body)
            if held.get("token") != self.token or held.get("holder") != self.holder:
                raise self._lost(held)
            try:
                self._write(version, self.token)
            except Conflict:
                raise self._lost({}) from None

    def release(self) -> None:
        """Give it back; the number stays, so that it only ever grows."""
        self._stop.set()
        with self._lock, suppress(CostopsError):
            free = json.dumps({"token": self.token, "holder": None}).encode()
            self.store.swap(KEY, free, self._version)

    def _write(self, base: Version, token: int) -> None:
        began = time.monotonic()
        body = json.dumps({"token": token, "holder": self.holder, "until": round(time.time() + self.seconds, 3)})
        self._version = self.store.swap(KEY, body.encode(), base)
        self.token, self._until = token, began + self.seconds

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 3):
            with self._lock:
                if self._stop.is_set() or time.monotonic() >= self._until:
                    continue                    # run out: `check` decides, with a look at who holds it
                try:
                    self._write(self._version, self.token)
                except CostopsError as error:
                    LOGGER.warning("lease not renewed: %s", error)
                    self._until = 0.0

    def _lost(self, held: dict[str, Any]) -> Refused:
        return Refused(f"{self.store.uri}: this run was stopped longer than its lease, and "
                       f"{held.get('holder') or 'another'} writes now; nothing more was written. Run again.")


def _whoami() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty where there is none. Tells a reused id apart."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def _read(body: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(body) if body else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _alive(held: dict[str, Any]) -> bool:
    if not held.get("holder") or time.time() > float(held.get("until", 0)) + GRACE:
        return False
    host, _, rest = str(held["holder"]).rpartition(":")[0].rpartition(":")
    started = str(held["holder"]).rpartition(":")[2]
    if host == socket.gethostname() and Path("/proc/self/stat").exists() and rest.isdigit():
        return _started(int(rest)) == started
    return True
