"""`reconcile` and `close`: a month, line by line."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import polars as pl

from costops.flows.commands.show import emit
from costops.flows.runtime.settings import load
from costops.transforms.window import month_window

if TYPE_CHECKING:
    from costops.flows.tasks.run import Run
    from costops.reconcile.month import Reconciled

MOST_TOLD = 5
"""So many learnings are printed, the costliest first; the report has all."""


def reconcile(args: argparse.Namespace) -> int:
    """Compare, publish, print the summary."""
    return _month(args, lock=False)


def close(args: argparse.Namespace) -> int:
    """Compare, lock, publish."""
    return _month(args, lock=True)


def _month(args: argparse.Namespace, *, lock: bool) -> int:
    from costops.flows.tasks import month as do
    from costops.flows.tasks.publish import publish_months
    from costops.flows.tasks.run import open_run

    month_window(args.month)
    with open_run(load(args.config), stages=("reconcile", "close") if lock else ("reconcile",)) as run:
        if lock and args.reopen:
            _reopen(run, args)
        run.notes["months"] = (args.month,)
        do.reconcile(run)
        if lock:
            run.notes["close"] = {"month": args.month, "by": args.by}
            do.close(run)
            result = run.notes["reconciled"][args.month]
            run.notes["documents"][args.month] = do.documents(run, args.month, result, do.read_lock(run.lake, args.month))
        publish_months(run)
        run.lake.catalog()
        result = run.notes["reconciled"][args.month]
        _print(result, args)
        for line in (*run.refusals, *(str(gate) for gate in run.gates if gate.failed)):
            print(f"cost-ops: {line}", file=sys.stderr)
        if args.format == "table":
            print(f"{'Locked' if lock else 'Reconciled'}: {args.month}. Report: {run.notes.get('month_report', '')}")
        return run.exit_code


def _reopen(run: Run, args: argparse.Namespace) -> None:
    """Unlock the month and take in the bills that came since."""
    from costops.flows.tasks import month as do
    from costops.flows.tasks.stages import STEPS

    do.reopen(run, args.month, by=args.by, reason="cost-ops close --reopen")
    run.only = tuple(source.name for source in run.settings.sources if source.feeds_bills)
    STEPS["ingest"](run)
    run.only = ()


def _print(result: Reconciled, args: argparse.Namespace) -> None:
    summary, causes = result.summary, result.causes
    if args.format != "table":
        emit(causes, args.format)
        return
    emit(summary.select("issuer", "outcome", "computed_usd", "billed_usd", "gap_usd", "lines", "matched_lines"), "table",
         title=f"Computed against billed, {args.month}")
    named = causes.filter(pl.col("cause_usd") != 0).group_by("issuer", "cause").agg(
        pl.col("cause_usd").sum(), pl.len().alias("rows")).sort(pl.col("cause_usd").abs(), descending=True)
    if not named.is_empty():
        emit(named, "table", title="Why they differ")
    told = result.learnings.filter(pl.col("amount_usd") != 0).head(MOST_TOLD)
    if not told.is_empty():
        emit(told.select(about=pl.coalesce("subject", "model_id"), at_stake_usd="amount_usd", what_to_do="action"),
             "table", title="What to do")


