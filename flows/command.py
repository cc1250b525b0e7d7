"""The command line: a table of commands. Each one lives in `costops.flows.commands` and is imported when called."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

Configure = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True)
class Command:
    """One command: where its function is, what it says of itself, and its options."""

    name: str
    target: str
    help: str
    example: str
    options: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()
    rows: bool = False


def _o(*names: str, **more: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return names, more


_FROM = _o("--from", dest="start", metavar="DAY", help="first day, YYYY-MM-DD")
_TO = _o("--to", dest="end", metavar="DAY", help="last day, included")
_SOURCE = _o("--source", action="append", default=[], metavar="NAME", help="only this source; may repeat")
_STAGE = _o("--stage", action="append", default=[], metavar="NAME", help="only this stage; may repeat")
_DRY = _o("--dry-run", action="store_true", help="say what would change, write nothing")
_MONTH = _o("--month", required=True, metavar="YYYY-MM", help="the month")
_INPUT = _o("--input", metavar="FILE", help="a long CSV or Parquet file: unique_id, ds, y")
_OUTPUT = _o("--output", metavar="FILE", help="where to write: .csv or .parquet")

COMMANDS: tuple[Command, ...] = (
    Command("init", "workspace:init", "Write a workspace: a commented costops.toml and example notebooks.",
            "cost-ops init my-costs", (_o("dir", metavar="DIR", help="a new folder"),)),
    Command("demo", "workspace:demo", "The whole job on shipped sample logs: run, then close the sample month.",
            "cost-ops demo --dir demo", (_o("--dir", default="demo", metavar="DIR", help="where to work"),)),
    Command("run", "run:run", "The nightly job now: everything that is new.", "cost-ops run",
            (_FROM, _TO, _SOURCE, _STAGE), rows=True),
    Command("backfill", "run:backfill", "Do a range of days again, day by day; resumable.",
            "cost-ops backfill --from 2026-10-01 --to 2026-10-31 --dry-run",
            (_FROM, _TO, _SOURCE, _STAGE, _DRY), rows=True),
    Command("reprice", "run:reprice", "Price history again and print old, new and the difference.",
            "cost-ops reprice --from 2026-10-01 --to 2026-10-31 --dry-run",
            (_FROM, _TO, _DRY, _o("--price-book", metavar="REF", help="`now`, or what was known at a time")),
            rows=True),
    Command("reconcile", "month:reconcile", "Compare a month's computed cost with its bills, line by line.",
            "cost-ops reconcile --month 2026-10", (_MONTH,), rows=True),
    Command("close", "month:close", "Reconcile a month and lock it.", "cost-ops close --month 2026-10",
            (_MONTH, _o("--reopen", action="store_true", help="unlock a closed month first; this is recorded"),
             _o("--by", default="", metavar="NAME", help="who signs")), rows=True),
    Command("query", "data:query", "DuckDB SQL over the lake's views, or a rollup of the last hours or days.",
            'cost-ops query "SELECT team, sum(list_cost_usd) FROM out_spend_daily GROUP BY team"',
            (_o("sql", nargs="?", metavar="SQL", help="one SELECT over the views"),
             _o("--range", dest="span", metavar="24h", help="a rollup: 24h, 30d"),
             _o("--by", default="", metavar="KEYS", help="columns of the rollup, comma separated")), rows=True),
    Command("summary", "data:summary", "Spend by model, team or provider, with share, trend and what is unpriced.",
            "cost-ops summary --by-team",
            (_o("--by-model", dest="by", action="store_const", const="model_id", help="by model (the default)"),
             _o("--by-team", dest="by", action="store_const", const="team", help="by team"),
             _o("--by-provider", dest="by", action="store_const", const="provider", help="by provider"),
             _o("--by", dest="by", metavar="KEY", help="by any column of the rollup"), _FROM, _TO), rows=True),
    Command("export", "data:export", "Write a dataset as CSV, JSON, Parquet or XLSX.",
            "cost-ops export out_spend_daily --format csv --out spend.csv",
            (_o("dataset", metavar="DATASET", help="a name of the data dictionary"),
             _o("--format", default="csv", choices=["csv", "json", "parquet", "xlsx"], help="of the file"),
             _FROM, _TO, _o("--out", metavar="FILE", help="file to write; standard output without it"),
             _o("--raw", action="store_true", help="do not defuse cells that a spreadsheet would run"))),
    Command("forecast", "series:forecast", "Forecasts of the lake's spend, or of any long file of daily series.",
            "cost-ops forecast --input daily.csv --output forecast.csv --horizon 30",
            (_INPUT, _OUTPUT, _o("--horizon", type=int, metavar="DAYS", help="how far ahead; default as configured"),
             _o("--what-if", dest="what_if", action="append", default=[], metavar="CHANGE",
                help="a change: 'move MODEL to MODEL 30 percent', 'cache 60 percent', 'batch 40 percent', "
                     "'growth +20 percent', 'price MODEL -20 percent from DAY'; may repeat"),
             _o("--scenario", metavar="FILE", help="a TOML file of [[change]] blocks, before any --what-if"),
             _o("--drivers", metavar="FILE",
                help="with --input: a file of ds and one column per business driver, planned days included"),
             _o("--by-day", dest="by_day", action="store_true", help="with a scenario: per day, not per model")),
            rows=True),
    Command("anomalies", "series:anomalies", "Anomalies of the lake's spend, or of any long file of daily series.",
            "cost-ops anomalies --input daily.csv --output anomalies.csv", (_INPUT, _OUTPUT), rows=True),
    Command("prices", "prices:main", "The price book: list, show MODEL, check, diff A B, update.",
            "cost-ops prices show gpt-5-mini",
            (_o("action", choices=["list", "show", "check", "diff", "update"], help="what to do with the book"),
             _o("names", nargs="*", metavar="NAME", help="for show: a model; for diff: two books"),
             _o("--at", metavar="TIME", help="as charged at this time, ISO 8601"),
             _o("--provider", metavar="NAME", help="only this provider"),
             _o("--from", dest="feed", metavar="FILE",
                  help="saved catalogue pages (.json, or a folder), litellm's map (.json), or own prices (.yaml)"),
             _o("--force", action="store_true", help="take in a feed that the checks refuse")), rows=True),
    Command("config", "workspace:config", "Check the configuration, or show it with secrets masked.",
            "cost-ops config validate", (_o("action", choices=["validate", "show"], help="check it, or print it"),),
            rows=True),
    Command("doctor", "workspace:doctor", "Look at configuration, lake, sources and environment; say what to mend.",
            "cost-ops doctor", (), rows=True),
    Command("lake", "lake:main", "Operate the lake: verify, compact, retain, erase a user.",
            "cost-ops lake verify",
            (_o("action", choices=["verify", "compact", "retain", "erase"], help="what to do with the lake"), _DRY,
             _o("--mend", action="store_true",
                help="for verify: make days that cannot be read again from their inputs"),
             _o("--user", metavar="ID", help="for erase: the user id to take out"),
             _o("--by", default="", metavar="NAME", help="for erase: who asked")), rows=True),
)


EXIT_CODES: tuple[tuple[int, str, str], ...] = (
    (0, "done", "all gates pass"),
    (1, "a gate failed", "everything is written; the gate is named"),
    (2, "usage", "wrong arguments or configuration; nothing was written"),
    (3, "not reachable", "a source or store could not be reached after its retries; the rest was done"),
    (4, "the lake refuses", "damaged, written by a newer version, locked month, or held by another run"),
    (70, "a fault of the program", "please report what it printed; it is safe to run again"),
    (130, "interrupted", "it is safe to run again"),
)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="cost-ops", description="What LLM traffic really cost, why the bill differs, and what it will cost next.",
        epilog="Exit codes: " + "; ".join(f"{code} {name}" for code, name, _ in EXIT_CODES) + ".")
    top.add_argument("--version", action="store_true", help="print the version")
    subs = top.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        sub = subs.add_parser(command.name, help=command.help, description=command.help,
                              epilog=f"Example:  {command.example}",
                              formatter_class=argparse.RawDescriptionHelpFormatter)
        for names, more in command.options:
            sub.add_argument(*names, **more)
        sub.add_argument("--config", metavar="FILE", help="configuration; default ./costops.toml, else COSTOPS_CONFIG")
        if command.rows:
            sub.add_argument("--format", default="table", choices=["table", "json", "csv"], help="how rows are printed")
        sub.add_argument("-q", "--quiet", action="store_true", help="errors only")
        sub.add_argument("-v", "--verbose", action="count", default=0, help="say what is done; twice for more")
        sub.set_defaults(target=command.target)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is that of the contract."""
    top = parser()
    args = top.parse_args(argv)
    if args.version:
        from importlib.metadata import version

        print(f"cost-ops {version('llm-costops')}")
        return 0
    if not args.command:
        top.print_help()
        return 2
    signal.signal(signal.SIGTERM, _terminated)
    from costops.transforms.errors import CostopsError

    try:
        code = _call(args)
        sys.stdout.flush()
    except CostopsError as error:
        _say(f"cost-ops: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("cost-ops: interrupted; it is safe to run again.")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001  whatever it is, it must not look like a failed gate
        import traceback

        from costops.flows.runtime.logs import redact

        print(redact(traceback.format_exc()), file=sys.stderr)
        return 70
    return code


def _call(args: argparse.Namespace) -> int:
    from costops.flows.runtime.logs import setup

    setup(-1 if args.quiet else args.verbose)
    module, name = args.target.split(":")
    function = getattr(importlib.import_module(f"costops.flows.commands.{module}"), name)
    return int(function(args))


def _say(text: str) -> None:
    from costops.flows.runtime.logs import redact

    print(redact(" ".join(text.split())), file=sys.stderr)


def _terminated(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
