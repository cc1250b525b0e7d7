"""Planted faults, for the tests that prove a run can be killed anywhere.

`COSTOPS_FAULT=point:n:action` makes the n-th passage of a named point in the lake's writer kill the process,
stop, raise, or pause for two minutes after a line on standard error. Refused unless `COSTOPS_TESTING=1` is set as well.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_passed: dict[str, int] = {}


def fault(point: str) -> None:
    """Do what `COSTOPS_FAULT` says of this point, if anything."""
    plan = os.environ.get("COSTOPS_FAULT")
    if not plan or os.environ.get("COSTOPS_TESTING") != "1":
        return
    name, count, action = plan.split(":")
    if name != point:
        return
    _passed[point] = _passed.get(point, 0) + 1
    if _passed[point] != int(count):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    if action == "sleep":
        sys.stderr.write(f"planted pause at {point}\n")
        sys.stderr.flush()
        time.sleep(120)
    raise OSError(5, f"planted fault at {point}")
