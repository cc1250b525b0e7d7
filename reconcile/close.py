"""The life of a month: provisional while bills move, settled when they rest, locked when a person signs.

A locked month is never rewritten. What changes afterwards becomes dated correction rows beside it, and an alarm;
opening it again is explicit, and the lock remembers who did it and why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.reconcile.exact import USD
from costops.transforms.errors import Refused, Usage
from costops.transforms.window import month_window

PROVISIONAL, SETTLED, LOCKED = "provisional", "settled", "locked"
QUIET_DAYS = 3
"""A bill that has not changed for so long after the month's end is taken to rest."""

VERSION = 1
_KEY = ("month", "issuer", "source", "account_id", "model_id", "unit", "day", "cause")


@dataclass(frozen=True)
class Corrections:
    """What changed since a lock: all its correction rows, those of today included, and the sums that an alarm tells."""

    rows: pl.DataFrame
    before_usd: Decimal
    after_usd: Decimal

    @property
    def changed(self) -> bool:
        """True where anything differs."""
        return not self.rows.is_empty()


def status_of(month: str, bills: pl.DataFrame, today: date, *, lock: Mapping[str, Any] | None = None,
              quiet_days: int = QUIET_DAYS) -> str:
    """The status of a month.

    `bills`: one row per bill with `as_of` (when it was written last, NULL unknown) and `missing` (no bill yet).
    """
    if lock is not None and lock.get("status") == LOCKED:
        return LOCKED
    end = month_window(month).end
    if today < end or bills.is_empty() or bills["missing"].any():
        return PROVISIONAL
    written = [at.date() for at in bills["as_of"].drop_nulls().to_list()]
    rests = all(at >= end and today - at >= timedelta(days=quiet_days) for at in written)
    return SETTLED if rests and len(written) == bills.height else PROVISIONAL


@dataclass(frozen=True)
class Basis:
    """What a lock rests on: bill source -> snapshot id, the hash of the price book, and sums worth printing."""

    snapshots: Mapping[str, str]
    price_book: str
    totals: Mapping[str, Any]


def lock_document(month: str, causes: pl.DataFrame, basis: Basis, *, signed_by: str, at: datetime,
                  history: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The lock of a month: what it rests on, its sums, who signed, and a hash over all of it.

    `history` is that of the lock before, where the month was opened again. Without a name nothing is locked.
    """
    if not signed_by.strip():
        raise Usage("A month is locked by a person: give the name that signs.")
    body: dict[str, Any] = {
        "version": VERSION, "month": month, "status": LOCKED, "snapshots": dict(sorted(basis.snapshots.items())),
        "price_book": basis.price_book, "causes_sha256": causes_hash(causes), "rows": causes.height,
        "totals": {key: str(basis.totals[key]) for key in sorted(basis.totals)}, "signed_by": signed_by.strip(),
        "signed_at": at.isoformat(timespec="seconds"), "history": [dict(one) for one in history],
    }
    return {**body, "sha256": _hash(body)}


def verified(lock: Mapping[str, Any]) -> Mapping[str, Any]:
    """The lock, if nobody changed it since; else refused."""
    body = {key: value for key, value in lock.items() if key != "sha256"}
    if _hash(body) != lock.get("sha256"):
        raise Refused(f"The lock of {lock.get('month')} was changed by hand: its hash is {lock.get('sha256')}, its "
                      f"content gives {_hash(body)}. Restore it from a backup, or reopen the month.")
    return lock


def stale(lock: Mapping[str, Any], snapshots: Mapping[str, str]) -> list[str]:
    """Bill sources whose snapshot is no longer the one that the lock rests on."""
    held: Mapping[str, str] = lock["snapshots"]
    return sorted(name for name in {*held, *snapshots} if held.get(name) != snapshots.get(name))


def corrections(lock: Mapping[str, Any], locked: pl.DataFrame, now: pl.DataFrame, at: date,
                earlier: pl.DataFrame | None = None) -> Corrections:
    """Dated delta rows from a locked month's causes to what they would be today; the locked rows stay as they are.

    Each row carries `corrected_on` and `correction_of` (the lock's hash). A key that only one side has is a delta
    from or to zero. `earlier` are the rows of before: those of other days stand, and today's are what is left.
    """
    amounts = ("cause_usd", "computed_usd", "billed_usd", "gap_usd")
    kept = None if earlier is None else earlier.filter(
        (pl.col("correction_of") == str(lock["sha256"])) & (pl.col("corrected_on") < at))
    told = [locked, *([] if kept is None else [kept])]
    known = pl.concat([one.select(*_KEY, *(pl.col(name).cast(USD) for name in amounts)) for one in told]).group_by(
        _KEY).agg(pl.col(name).sum() for name in amounts)
    both = known.join(now.select(*_KEY, *amounts), on=list(_KEY), how="full", coalesce=True,
                                               nulls_equal=True, suffix="_now")
    delta = both.with_columns(**{
        name: (pl.col(f"{name}_now").fill_null(0).cast(USD) - pl.col(name).fill_null(0).cast(USD)).cast(USD)
        for name in amounts})
    rows = delta.filter(pl.any_horizontal(pl.col(name) != 0 for name in amounts)).select(
        *_KEY, *amounts, status=pl.lit("correction"), corrected_on=pl.lit(at),
        correction_of=pl.lit(str(lock["sha256"])))
    if kept is not None:
        rows = pl.concat([rows, kept.select(rows.columns)], how="vertical_relaxed")
    rows = rows.sort(*_KEY, "corrected_on", nulls_last=True)
    return Corrections(rows, Decimal(locked["cause_usd"].sum() or 0), Decimal(now["cause_usd"].sum() or 0))


def reopened(lock: Mapping[str, Any], *, by: str, reason: str, at: datetime) -> dict[str, Any]:
    """The lock opened again: the same document with status `provisional`, and who opened it, when and why."""
    if not by.strip() or not reason.strip():
        raise Usage(f"Reopening {lock.get('month')} needs a name and a reason: both are recorded.")
    verified(lock)
    entry = {"event": "reopened", "by": by.strip(), "reason": reason.strip(), "at": at.isoformat(timespec="seconds"),
             "sha256_before": lock["sha256"]}
    body = {key: value for key, value in lock.items() if key != "sha256"}
    body |= {"status": PROVISIONAL, "history": [*lock["history"], entry]}
    return {**body, "sha256": _hash(body)}


def closed_periods(lock: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, str]]:
    """Bill source -> (billing period -> snapshot id) of a lock in force, as bill readers ask for it."""
    if lock is None or lock.get("status") != LOCKED:
        return {}
    return {source: {str(lock["month"]): snapshot} for source, snapshot in lock["snapshots"].items()}


def causes_hash(causes: pl.DataFrame) -> str:
    """SHA-256 over keys and amounts of a month's causes, in their fixed order."""
    text = causes.select(*_KEY, "cause_usd", "computed_usd", "billed_usd").sort(*_KEY, nulls_last=True).select(
        pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator="|")).to_series().to_list()
    return hashlib.sha256("\n".join(text).encode()).hexdigest()


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
