"""The process that `Nursery` talks to: imports once, then forks a child per line of JSON."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import date
from io import StringIO
from typing import Any


def main() -> None:
    import pyarrow.pandas_compat  # noqa: F401  half a second, at the first query's result

    import costops.flows.backfill
    import costops.flows.commands.month
    import costops.flows.nightly  # noqa: F401  warm
    from costops.transforms.prices import book

    original = book.book

    def ready_made() -> Any:
        import polars as pl

        return pl.read_ipc(sys.argv[1])

    for module in list(sys.modules.values()):
        if getattr(module, "book", None) is original:
            module.book = ready_made  # type: ignore[attr-defined]
    say("ready")
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            do(asked)
        say(child)
        _, status = os.waitpid(child, 0)
        say(os.waitstatus_to_exitcode(status))


def do(asked: dict[str, Any]) -> None:
    """In the child: one call, then the exit code of the contract."""
    from costops.flows.runtime.logs import setup
    from costops.flows.tasks import ingest
    from costops.transforms.errors import CostopsError

    os.environ.update(asked["env"])
    ingest.BATCH_FILES = int(asked["env"].get("TEST_BATCH_FILES", ingest.BATCH_FILES))
    os.dup2(2, 1)
    setup(-1)
    code = 70
    try:
        code = CALLS[str(asked["call"])](**asked["arguments"])
    except CostopsError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException:  # noqa: BLE001  the child ends here whatever happens
        traceback.print_exc()
    finally:
        os._exit(code)


def run(**given: Any) -> int:
    from costops.flows.nightly import nightly

    code: int = nightly.fn(**given).exit_code
    return code


def backfill(start: str, end: str, **given: Any) -> int:
    from costops.flows.backfill import backfill as flow

    days = {"start": date.fromisoformat(start), "end": date.fromisoformat(end)}
    redo: Any = flow.fn
    code: int = redo(days=days, **given).exit_code
    return code


def command(words: list[str]) -> int:
    from costops.flows.command import main

    with redirect_stdout(StringIO()):
        return main(words)


CALLS: dict[str, Callable[..., int]] = {"run": run, "backfill": backfill, "command": command}


def say(what: object) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    main()
