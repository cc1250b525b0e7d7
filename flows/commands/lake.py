"""`lake`: verify, compact, retain, erase."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from datetime import date

from costops.flows.commands.show import emit
from costops.flows.runtime import clock
from costops.flows.runtime.settings import Settings, load
from costops.transforms.errors import Usage


def main(args: argparse.Namespace) -> int:
    """One of the actions."""
    settings = load(args.config)
    return {"verify": _verify, "compact": _compact, "retain": _retain, "erase": _erase}[args.action](args, settings)


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    """One row per fault; exit code 4 where there is any. With `--mend` after days that can be made again were."""
    from costops.flows.tasks.run import open_lake
    from costops.flows.tasks.verify import damaged_days, verify

    with open_lake(settings, write=False) as lake:
        faults = verify(lake)
        days = damaged_days(lake, faults)
    if args.mend and not args.dry_run and days:
        _make_again(settings, days)
        with open_lake(settings, write=False) as lake:
            faults = verify(lake)
    if faults.is_empty():
        print("The lake is whole.", file=sys.stderr)
        if args.format != "table":
            emit(faults, args.format)
        return 0
    emit(faults, args.format, title="What is wrong with the lake")
    return 4


def _make_again(settings: Settings, days: Mapping[str, Iterable[date]]) -> None:
    """Days that cannot be read, from their inputs; their sums are owed to the next run, should they differ."""
    from costops.flows.tasks.lost import make_again
    from costops.flows.tasks.pricing import working_book
    from costops.flows.tasks.run import open_run

    with open_run(settings, stages=("ingest",)) as run:
        for done in make_again(run, working_book(run), days):
            print(f"{done.source}: made again: {', '.join(map(str, sorted(done.changed)))}", file=sys.stderr)


def _compact(args: argparse.Namespace, settings: Settings) -> int:
    from costops.flows.tasks.retention import compact
    from costops.flows.tasks.run import open_lake

    with open_lake(settings, write=not args.dry_run) as lake:
        emit(compact(lake, dry_run=args.dry_run), args.format, title="Compacted" + _dry(args))
    return 0


def _retain(args: argparse.Namespace, settings: Settings) -> int:
    from costops.flows.tasks.retention import retain
    from costops.flows.tasks.run import open_lake

    with open_lake(settings, write=not args.dry_run) as lake:
        emit(retain(lake, settings, clock.today(), dry_run=args.dry_run), args.format, title="Too old" + _dry(args))
    return 0


def _erase(args: argparse.Namespace, settings: Settings) -> int:
    from costops.flows.tasks.erase import erase
    from costops.flows.tasks.run import open_run

    if not args.user:
        raise Usage("lake erase needs --user ID: the user id to take out of the lake.")
    with open_run(settings, stages=()) as run:
        emit(erase(run, args.user, by=args.by, dry_run=args.dry_run), args.format,
             title="Erased" + _dry(args))
    return 0


def _dry(args: argparse.Namespace) -> str:
    return ", dry run: nothing was written" if args.dry_run else ""
