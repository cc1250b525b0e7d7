"""One writer at a time in a local lake: a file lock that dies with its holder, and the traces of a killed one."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.objects import Folder
from costops.transforms.errors import Refused

_DIRTY = "_state/.writing"


@contextmanager
def locked(store: Folder, wait: float) -> Iterator[None]:
    """Hold the lock; hidden temporary files that a killed holder left are removed first."""
    path = store.path("_state/lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise Refused(f"{store.uri}: cannot be written ({error.strerror}); mend the rights.") from error
    try:
        _take(handle, store, wait)
        marker = store.path(_DIRTY)
        if marker.exists():
            _sweep(store)

        def mark() -> None:
            store.before_put = None
            marker.touch()

        store.before_put = mark
        try:
            yield
        finally:
            store.before_put = None
        marker.unlink(missing_ok=True)          # not after an exception: what it left is swept the next time
    finally:
        os.close(handle)


def _take(handle: int, store: Folder, wait: float) -> None:
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            if time.monotonic() >= deadline:
                raise Refused(f"{store.uri}: another run is writing; wait for it, then run again.") from None
        time.sleep(0.2)


def _sweep(store: Folder) -> None:
    """Remove the hidden files that an interrupted put left; nothing reads them."""
    for folder, _, names in os.walk(store.root):
        for name in names:
            if name.startswith(".") and name.endswith(".tmp"):
                os.unlink(os.path.join(folder, name))  # noqa: PTH108, PTH118  a walk gives text
                LOGGER.info("removed %s/%s, left by an interrupted run", folder, name)
