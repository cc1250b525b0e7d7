"""`run`, `backfill`, `reprice`: what writes the lake."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any

from costops.flows.commands.show import emit
from costops.flows.runtime.settings import Settings, config_path, load
from costops.transforms.errors import Unreachable, Usage, nearest

if TYPE_CHECKING:
    from costops.flows.tasks.outcome import Outcome


def run(args: argparse.Namespace) -> int:
    """The nightly flow: in process, or as a Prefect run where an API is configured."""
    from costops.flows.tasks.run import STAGES

    settings = load(args.config)
    _known(args.source, [one.name for one in settings.sources], "--source")
    _known(args.stage, list(STAGES), "--stage")
    _prefect_here(settings)
    outcome = _nightly(settings)(
        config=str(config_path(args.config).resolve()), start=day_of(args.start, "--from"), end=day_of(args.end, "--to"),
        sources=args.source or None, stages=args.stage or None)
    return told(settings, outcome, args.format)


def _nightly(settings: Settings) -> Callable[..., Any]:
    """The flow where Prefect is asked for; else the same job without it, whose import alone takes a second."""
    if _with_prefect(settings):
        from costops.flows.nightly import nightly

        return _served(nightly)
    from costops.flows.tasks.work import night

    return night


def _with_prefect(settings: Settings) -> bool:
    """True where an API is configured, or workers are: they get their tasks through Prefect.

    Without an API Prefect starts a server of its own for as long as the run lasts.
    """
    return bool(os.environ.get("PREFECT_API_URL")) or settings.run.engine != "local"


def _served(flow: Callable[..., Any]) -> Callable[..., Any]:
    """The flow as a run of the server. A server that is gone is `Unreachable`, not a fault of the program."""
    @wraps(flow)
    def call(**given: Any) -> Any:
        import httpx

        try:
            return flow(**given)
        except (httpx.TransportError, RuntimeError) as error:
            if not isinstance(error, httpx.TransportError) and not isinstance(error.__cause__, httpx.TransportError):
                raise
            raise Unreachable(
                f"{os.environ.get('PREFECT_API_URL', 'Prefect')}: the server does not answer; what was written is "
                "whole. Start the server, or unset PREFECT_API_URL to run without it, then run again.") from error

    return call


def told(settings: Settings, outcome: Outcome, form: str) -> int:
    """Print how a run ended; its exit code."""
    if form == "table":
        from costops.flows.commands.data import spend_table

        spend_table(settings, "provider", form)
        for line in (*outcome.refusals, *outcome.unreachable, *outcome.failed_gates):
            print(f"cost-ops: {'gate failed: ' if line in outcome.failed_gates else ''}{line}", file=sys.stderr)
        if outcome.report:
            print(f"Report: {outcome.report}")
    else:
        import json

        print(json.dumps(outcome.as_dict(), indent=1))
    return outcome.exit_code


def backfill(args: argparse.Namespace) -> int:
    """A range of days again; with --dry-run only the plan."""
    if not args.start or not args.end:
        raise Usage("backfill needs --from DAY and --to DAY.")
    settings = load(args.config)
    _known(args.source, [one.name for one in settings.sources], "--source")
    _prefect_here(settings)
    from costops.flows.backfill import backfill as flow_of_days

    flow = _served(flow_of_days) if _with_prefect(settings) else flow_of_days.fn
    days: Any = {"start": day_of(args.start, "--from"), "end": day_of(args.end, "--to")}     # the flow checks them
    outcome = flow(config=str(config_path(args.config).resolve()), days=days,
                   sources=args.source or None, stages=args.stage or None, dry_run=args.dry_run)
    if args.dry_run:
        emit(outcome, args.format, title="What a backfill would do")
        return 0
    return told(settings, outcome, args.format)


def reprice(args: argparse.Namespace) -> int:
    """Price a range again with the book of now, or of a time."""
    from costops.flows.tasks.reprice import reprice as again
    from costops.flows.tasks.run import open_run
    from costops.flows.tasks.spend import aggregate
    from costops.transforms.window import Window

    window = Window.of_days(day_of(args.start, "--from"), day_of(args.end, "--to"))
    if window is None:
        raise Usage("reprice needs --from DAY and --to DAY.")
    with open_run(load(args.config), window=window) as one:
        changes, days = again(one, reference=args.price_book, dry_run=args.dry_run)
        if not args.dry_run:
            aggregate(one.lake, days)
    emit(changes, args.format, title="Repricing" + (", dry run" if args.dry_run else ""))
    return 0


def day_of(text: str | None, option: str) -> date | None:
    """A day as written on the command line, or the day of an instant.

    A day given with `--to` is included; an instant is where the window ends, so that midnight ends the day before.
    """
    if text is None:
        return None
    try:
        if "T" not in text:
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"{option} {text!r}: a day is written YYYY-MM-DD, for example 2026-10-01.") from None
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return (moment - timedelta(microseconds=1)).date() if option == "--to" else moment.date()


def _known(given: list[str], known: list[str], option: str) -> None:
    for name in given:
        if name not in known:
            raise Usage(f"{option} {name!r} is not known; {nearest(name, known)}")


def _prefect_here(settings: Settings) -> None:
    """Before Prefect is imported: it keeps its own files in the workspace, never in the user's home."""
    os.environ.setdefault("PREFECT_HOME", str(settings.home / ".prefect"))
    if settings.run.engine != "local":      # beside the workers a server of its own starts slowly
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")
