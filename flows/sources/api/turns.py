"""Whose turn it is at a host, when several pulls run at once: few requests at a time, and none while the host rests.

What a provider says to one pull (`Retry-After`, 429) holds for all pulls of the same host.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Event

AT_ONE_HOST = 2


class Stopped(BaseException):
    """The run is being ended: a pull goes no further."""


class Turns:
    """Turns at hosts: at most `most` requests at once at each, none before a wait that the host asked for is over.

    `stop` ends all waiting at once. `clock` is given by tests.
    """

    def __init__(self, most: int = AT_ONE_HOST, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.clock = most, clock
        self._busy: dict[str, int] = {}
        self._rests: dict[str, float] = {}
        self._changed = Condition()
        self._stopped = Event()

    @contextmanager
    def at(self, host: str) -> Iterator[None]:
        """Wait for a turn, and give it back."""
        with self._changed:
            while (left := self._left(host)) is not None:
                self._changed.wait(left)
            self._busy[host] = self._busy.get(host, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._busy[host] -= 1
                self._changed.notify_all()

    def _left(self, host: str) -> float | None:
        """Seconds until it is worth looking again; None where it is our turn."""
        self.going_on()
        rest = self._rests.get(host, 0.0) - self.clock()
        if rest > 0:
            return min(rest, 1.0)
        return 1.0 if self._busy.get(host, 0) >= self.most else None

    def rest(self, host: str, seconds: float) -> None:
        """The host asked for a pause."""
        with self._changed:
            self._rests[host] = max(self._rests.get(host, 0.0), self.clock() + seconds)

    def sleep(self, seconds: float) -> None:
        """A pause of one pull, that a stop ends."""
        self._stopped.wait(seconds)
        self.going_on()

    def stop(self) -> None:
        """End all waiting."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def going_on(self) -> None:
        """Raise `Stopped` where the run is being ended."""
        if self._stopped.is_set():
            raise Stopped
