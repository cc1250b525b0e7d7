"""The workers that a run may hand its heavy parts to: those of a Dask or Ray cluster, through Prefect's task runners."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeVar

from costops.flows.runtime.engine import Engine
from costops.flows.tasks.step import task_of
from costops.transforms.errors import Unreachable, Usage

J = TypeVar("J")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Promise(Protocol[R_co]):
    """What a worker is going to answer."""

    def result(self) -> R_co:
        """Wait for it. Raises what the worker raised."""
        ...


class Pool:
    """Workers. Each job is a task of the flow run, tried again where its source or store could not be reached."""

    def __init__(self, runner: Any, workers: int) -> None:
        self.runner, self.workers = runner, workers

    def submit(self, function: Callable[[J], R], job: J, *, name: str) -> Promise[R]:
        """Have a worker call a function of a module on a plain value; `name` is shown in the UI."""
        made: Promise[R] = self.runner.submit(_task(function).with_options(task_run_name=name), parameters={"job": job})
        return made


@contextmanager
def open_pool(engine: Engine) -> Iterator[Pool]:
    """The cluster at the configured address; without one a cluster of this machine for as long as this lasts."""
    runner = _RUNNERS[engine.engine](engine)
    with ExitStack() as stack:
        try:
            stack.enter_context(runner)
            getattr(runner, "client", None)     # Dask connects when it is first used
        except Exception as error:  # the libraries raise whatever they met, `Exception` itself included
            raise Unreachable(f"run.address: no {engine.engine} cluster at {engine.address or 'this machine'} "
                              f"({type(error).__name__}); start it or name another, then run again.") from error
        yield Pool(runner, engine.workers)


def _dask(engine: Engine) -> Any:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError:
        raise _missing("dask") from None
    if engine.address:
        return DaskTaskRunner(address=engine.address)
    return DaskTaskRunner(cluster_kwargs={"n_workers": engine.workers, "threads_per_worker": 1,
                                          "dashboard_address": None})


def _ray(engine: Engine) -> Any:
    try:
        from prefect_ray.task_runners import RayTaskRunner
    except ImportError:
        raise _missing("ray") from None
    if engine.address:
        return RayTaskRunner(address=engine.address)
    return RayTaskRunner(init_kwargs={"num_cpus": engine.workers, "include_dashboard": False})


def _missing(name: str) -> Usage:
    return Usage(f'run.engine = "{name}": prefect-{name} is not installed; install llm-costops[{name}], here and on '
                 "the workers.")


_RUNNERS: dict[str, Callable[[Engine], Any]] = {"dask": _dask, "ray": _ray}


@functools.cache
def _task(function: Callable[..., Any]) -> Any:
    return task_of(function)
