"""Pulled pages that no figure rests on any more: those may go by age.

A source is read from all its pages whenever one is new, so a page goes only where what is read without it is the same:
newer pages tell its days again, or its months are closed and the lake keeps them as the lock has them. Pages go by the
time of their pull, oldest first, up to a time after which every month that is still told is told as before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl

from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import Listed
from costops.flows.runtime.settings import Source
from costops.transforms.billing.bill import NEVER, BillFormat, Input, Options
from costops.transforms.billing.kinds import BILL_FORMAT
from costops.transforms.billing.snapshot import Telling, by_days, choose
from costops.transforms.billing.stage import read_tellings
from costops.transforms.buckets.feed import UsageFormat, read_usage
from costops.transforms.buckets.kinds import USAGE_FORMAT

Figures = Mapping[str, object]
"""Month -> what is read of it: the same pages give equal values."""


@dataclass(frozen=True)
class Spent:
    """Pages that may go, each with the day of its pull, and the first day that the pages left tell."""

    pages: tuple[tuple[str, date], ...] = ()
    kept_from: date | None = None


@dataclass(frozen=True)
class _Told:
    """The pages of one source as they can be read from any time on: at which times they may be cut, newest first."""

    cuts: Sequence[datetime]
    figures: Callable[[datetime], Figures]
    first_days: Mapping[datetime, date] = field(default_factory=dict)


def spent_pages(lake: Lake, source: Source, options: Options, limit: date, *, months: Collection[str],
                closed: Mapping[str, str]) -> Spent:
    """Pages of a pulled source from before `limit` that may go. `months`: those that are closed; `closed`: the snapshot
    that the lock of each rests on.
    """
    listed = {item: at for item in lake.store.list(f"raw/{source.name}/") if (at := _at(item)) is not None}
    times = sorted(set(listed.values()))
    if not times or times[0].date() >= limit:
        return Spent()
    newest_cut = next((at for at in times if at.date() >= limit), times[-1])
    inputs = [Input(item.key, path) for item in listed if item.key.endswith((".json", ".jsonl"))
              and (path := lake.store.fetch(item.key, lake.scratch / "spent")) is not None]
    told = _told(source.kind, inputs, options, lake.scratch / "spent-staged", closed)
    before = told.figures(NEVER)
    for cut in told.cuts:
        if times[0] < cut <= newest_cut and _stands(before, told.figures(cut), months):
            left = [day for at, day in told.first_days.items() if at >= cut]
            return Spent(tuple((item.key, at.date()) for item, at in listed.items() if at < cut),
                         min(left, default=None))
    return Spent()


def _at(item: Listed) -> datetime | None:
    return Input(item.key, Path()).seen_at


def _stands(before: Figures, after: Figures, months: Collection[str]) -> bool:
    """Whether every month is told as it was, but for closed ones that are not told at all."""
    return all(after[month] == figures if month in after else month in months for month, figures in before.items())


def _told(kind: str, inputs: Sequence[Input], options: Options, scratch: Path, closed: Mapping[str, str]) -> _Told:
    if kind in USAGE_FORMAT:
        return _usage(USAGE_FORMAT[kind], inputs, options)
    form = BILL_FORMAT[kind]
    return (_days if form.covers == "day" else _periods)(form, inputs, options, scratch, closed)


def _since(inputs: Sequence[Input], cut: datetime) -> list[Input]:
    return [one for one in inputs if (one.seen_at or NEVER) >= cut]


def _month_starts(days: Mapping[datetime, Collection[date]]) -> list[datetime]:
    """The times from which on the pages begin with the first day that any page tells of a month, newest first."""
    starts: dict[str, date] = {}
    for day in sorted(day for told in days.values() for day in told):
        starts.setdefault(f"{day:%Y-%m}", day)
    found, first = [], date.max
    for at in sorted(days, reverse=True):
        first = min(first, *days[at])
        if first == starts[f"{first:%Y-%m}"]:
            found.append(at)
    return found


def _firsts(days: Mapping[datetime, Collection[date]]) -> dict[datetime, date]:
    return {at: min(told) for at, told in days.items()}


def _usage(form: UsageFormat, inputs: Sequence[Input], options: Options) -> _Told:
    def rows(cut: datetime, until: datetime = datetime.max) -> pl.DataFrame:  # noqa: DTZ901  a bound, no time
        return read_usage(form, [one for one in _since(inputs, cut) if (one.seen_at or NEVER) <= until], options).rows

    def figures(cut: datetime) -> Figures:
        return {f"{month[0]}": (part.height, int(part.hash_rows(seed=4711).sum())) for month, part in
                rows(cut).group_by(pl.col("day").dt.strftime("%Y-%m"))}

    days: dict[datetime, Collection[date]] = {at: told for at in {one.seen_at or NEVER for one in inputs}
                                              if (told := set(rows(at, at)["day"]))}
    return _Told(_month_starts(days), figures, _firsts(days))


def _days(form: BillFormat, inputs: Sequence[Input], options: Options, _: Path, closed: Mapping[str, str]) -> _Told:
    made = [(delivery, list(form.read(delivery, options))) for delivery in form.plan(inputs, options)[0]]
    days: dict[datetime, Collection[date]] = {delivery.as_of or NEVER: told for delivery, batches in made
                                              if (told := {day for batch in batches for day in batch.days})}

    def figures(cut: datetime) -> Figures:
        snapshots = by_days([(delivery, batches) for delivery, batches in made if (delivery.as_of or NEVER) >= cut])
        return _counting(snapshots, options, closed)

    return _Told(_month_starts(days), figures, _firsts(days))


def _periods(form: BillFormat, inputs: Sequence[Input], options: Options, scratch: Path, closed: Mapping[str, str]
             ) -> _Told:
    told: list[Telling] = []
    for delivery in form.plan(inputs, options)[0]:
        told += read_tellings(form, delivery, options, scratch)
        shutil.rmtree(scratch, ignore_errors=True)

    def figures(cut: datetime) -> Figures:
        return _counting([one for one in told if (one.as_of or NEVER) >= cut], options, closed)

    return _Told(sorted({one.as_of or NEVER for one in told}, reverse=True), figures)


def _counting(snapshots: Sequence[Telling], options: Options, closed: Mapping[str, str]) -> Figures:
    """Period -> the snapshot of it that counts."""
    found: dict[str, object] = {}
    for period in {one.period for one in snapshots}:
        chosen, _ = choose([one for one in snapshots if one.period == period], options, closed.get(period))
        found.update({one.period: one.snapshot_id for one in chosen if one.status == "current"})
    return found
