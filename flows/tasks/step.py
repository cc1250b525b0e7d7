"""One code path in process and under Prefect.

A step is a plain function with a retry policy. Inside a Prefect flow run it runs as a task of that run; without
one it is called directly, with the same retries, so that no server is started to run a batch job.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.within import in_flow
from costops.transforms.errors import Conflict, Unreachable

P = ParamSpec("P")
R = TypeVar("R")

_DELAYS = (1, 4, 16)
_CONFLICTS = 3


def step(*, network: bool = False, plain: Callable[..., bool] | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a step; `network` ones are tried again where the far end could not be reached.

    Where `plain` says so of the arguments, the step is no task of a flow run: it hands out tasks itself.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        retries = len(_DELAYS) if network else 0
        made = functools.cache(lambda: task_of(function, retries))
        direct = tenacity.retry(
            stop=tenacity.stop_after_attempt(retries + 1), reraise=True,
            wait=tenacity.wait_exponential_jitter(initial=1, exp_base=4, max=20),
            retry=tenacity.retry_if_exception_type(Unreachable))(function) if network else function

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            chosen = made() if in_flow() and not (plain and plain(*args, **kwargs)) else direct
            for _ in range(_CONFLICTS):
                try:
                    return chosen(*args, **kwargs)
                except Conflict as error:           # another writer was first: again, on what stands there now
                    LOGGER.warning("%s: %s", function.__name__, error)
                    for lake in (getattr(one, "lake", None) for one in args):
                        if lake is not None:
                            lake.forget()
            return chosen(*args, **kwargs)

        return call

    return wrap


def task_of(function: Callable[P, R], retries: int = len(_DELAYS)) -> Callable[P, R]:
    """The function as a Prefect task, tried again where the far end could not be reached."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    made: Callable[P, R] = task(
        name=function.__name__, retries=retries, retry_delay_seconds=list(_DELAYS) if retries else None,
        retry_jitter_factor=0.5 if retries else None, cache_policy=NO_CACHE, persist_result=False,
        retry_condition_fn=_unreachable if retries else None)(function)
    return made


def _unreachable(_task: object, _run: object, state: object) -> bool:
    """Try again only what may be reached next time."""
    try:
        state.result()  # type: ignore[attr-defined]
    except Unreachable:
        return True
    except Exception:  # noqa: BLE001  any other failure is final
        return False
    return False
