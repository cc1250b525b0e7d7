"""Pull: a source that is an API lands its pages in the lake as received; its reader takes them from there as files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import date, timedelta
from queue import Empty, SimpleQueue
from threading import Thread

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.logs import LOGGER
from costops.flows.runtime.settings import Source
from costops.flows.sources.api.kinds import Access, pull_source
from costops.flows.sources.api.turns import Stopped, Turns
from costops.flows.sources.files import Found
from costops.flows.tasks.run import Run
from costops.transforms.errors import Usage
from costops.transforms.window import Window

FIRST_DAYS = 30
"""How far back the first pull of a source reaches where it names no `start`."""

AT_ONCE = 4
"""Sources that are pulled at once."""

_PATIENCE = 5.0
"""Seconds that an interruption waits for pulls to end."""


class Landing:
    """The landing zone of one source in the lake's store: `raw/<name>/...`, never rewritten."""

    def __init__(self, lake: Lake, name: str, turns: Turns | None = None) -> None:
        self.store, self.root, self.turns = lake.store, f"raw/{name}/", turns

    def names(self, prefix: str) -> list[str]:
        """Names that start with the prefix, in order."""
        folder = prefix.rsplit("/", 1)[0] + "/" if "/" in prefix else ""
        return [name for item in self.store.list(self.root + folder)
                if (name := item.key.removeprefix(self.root)).startswith(prefix)]

    def read(self, name: str) -> bytes:
        """The bytes of a page."""
        body = self.store.read(self.root + name)
        if body is None:
            raise FileNotFoundError(name)
        return body

    def land(self, name: str, body: bytes) -> None:
        """Write a page whole or not at all; none once the run is being ended."""
        if self.turns:
            self.turns.going_on()
        self.store.put(self.root + name, body)


def pull_all(run: Run, sources: Sequence[Source]) -> dict[str, list[Found] | Exception]:
    """Every source pulled, a few at once: what is there of each, or why it could not be had.

    Sources of one host share its limits. What lands does not depend on which pull is faster, and one that fails stops
    no other; an interruption ends them all, with whole pages only.
    """
    turns, done = Turns(), dict[str, list[Found] | Exception]()
    todo: SimpleQueue[Source] = SimpleQueue()
    for source in sources:
        todo.put(source)
    threads = [Thread(target=_work, args=(run, todo, turns, done), name=f"pull-{number}", daemon=True)
               for number in range(min(AT_ONCE, len(sources)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        turns.stop()
        for thread in threads:
            thread.join(_PATIENCE / len(threads))
        raise
    return done


def _work(run: Run, todo: SimpleQueue[Source], turns: Turns, done: dict[str, list[Found] | Exception]) -> None:
    """Pull one source after the other until none is left."""
    while True:
        try:
            source = todo.get_nowait()
        except Empty:
            return
        try:
            done[source.name] = pull(run, source, turns)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  it is raised where the source is taken
            done[source.name] = error


def pull(run: Run, source: Source, turns: Turns) -> list[Found]:
    """Ask for what is new, and for the last days again; every page that has ever landed.

    Raises `Unreachable` where the provider does not answer; what had landed until then stays and is not asked again.
    """
    landing, key = Landing(run.lake, source.name, turns), f"_state/pulls/{source.name}.json"
    window = _window(run, source, run.lake.store.read(key))
    if window.days():
        pulled = pull_source(source.kind, _access(source, turns), landing, window, today=run.now.date(),
                             as_of=run.now.replace(tzinfo=None, microsecond=0))
        LOGGER.info("%s: %d pages asked for, %d had landed before", source.name, pulled.asked, pulled.kept)
        run.lake.store.put(key, json.dumps({"through": str(window.end - timedelta(days=1))}).encode())
    return [Found(run.lake.store, item, item.key) for item in run.lake.store.list(landing.root)
            if item.key.endswith((".json", ".jsonl"))]


def _window(run: Run, source: Source, state: bytes | None) -> Window:
    """The days to ask for: the restatement window and what came after it, full days only."""
    end = run.now.date()
    if run.window is not None:
        return Window(run.window.start, max(run.window.start, min(run.window.end, end)))
    start = date.fromisoformat(source.start) if source.start else end - timedelta(days=FIRST_DAYS)
    if state:
        through = date.fromisoformat(json.loads(state)["through"])
        start = max(start, through + timedelta(days=1 - source.restatement_days))
    return Window(min(start, end), end)


def _access(source: Source, turns: Turns) -> Access:
    for name in (source.api_key_env, source.secret_env):
        if name and not os.environ.get(name):
            raise Usage(f"sources.{source.name}: the environment variable {name} is not set; set it and run again.")
    patience = _timeout(source)
    client = {"turns": turns, "sleep": turns.sleep, **({"timeout": patience} if patience else {})}
    return Access(
        key=os.environ.get(source.api_key_env) if source.api_key_env else None,
        secret=os.environ.get(source.secret_env) if source.secret_env else None, base_url=source.base_url,
        key_from=f"${source.api_key_env}", options=source.options,
        client={} if source.kind == "aws.cost_explorer" else client)


def _timeout(source: Source) -> float | None:
    """Seconds without a byte after which a request is asked again, where the source sets them."""
    told = source.options.get("timeout")
    if told is not None and (isinstance(told, bool) or not isinstance(told, int | float) or told <= 0):
        raise Usage(f"sources.{source.name}: options.timeout is {told!r}; write seconds above 0, for example 120.")
    return told
