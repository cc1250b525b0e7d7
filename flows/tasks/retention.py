"""How long each layer is kept: raw, core, out and reports go at their own age, into the archive where one is named.

Detail goes before summary: `core_charge` by `core_days`, hours by `out_days`; days of spend, bills, invoices, prices,
inputs, locks and reconciliations stay. Pulled pages go by `raw_days` where no figure rests on them any more
(`spent_pages`), and pages of price catalogues where the book does not rest on them. What was dropped is remembered, so
that a late record cannot pass for a whole day, and `verify` does not look for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from costops.flows.runtime.lake import KEPT_KEY, Lake
from costops.flows.runtime.objects import Folder, Store, open_store
from costops.flows.runtime.parquet import row_group
from costops.flows.runtime.settings import Settings
from costops.flows.tasks import price_feeds
from costops.flows.tasks.bills import options_of
from costops.flows.tasks.month import closed_snapshots
from costops.flows.tasks.spent_pages import spent_pages
from costops.flows.tasks.targets import old_reports
from costops.transforms import query
from costops.transforms.billing.bill import Input
from costops.transforms.tables import TABLE, TABLES, Table

CORE = ("core_charge", "core_finding")
OUT = ("out_spend_hourly", "out_forecast", "out_forecast_score", "out_backtest", "out_anomaly", "out_budget",
       "run_ledger")
PLAN = {"layer": pl.String(), "place": pl.String(), "key": pl.String(), "day": pl.Date(), "does": pl.String()}


@dataclass(frozen=True)
class Drop:
    """One object that is too old."""

    layer: str
    place: str
    key: str
    day: date
    does: str
    kept_from: date | None = None
    """Of a pulled page: the first day that the pages left of its source tell."""


def plan(lake: Lake, settings: Settings, today: date) -> list[Drop]:
    """What is too old today, oldest first. Pure reading."""
    rules = settings.retention
    does = "archive" if rules.archive else "drop"
    found = [*_partitions(lake, CORE, "core", rules.core_days, today, does),
             *_partitions(lake, OUT, "out", rules.out_days, today, does),
             *_raw(lake, settings, today, does)]
    for target in settings.workspace.publish:
        store = open_store(target, base=settings.home)
        found += [Drop("report", store.uri, key, date.fromisoformat(key.split("/")[1]), "drop")
                  for key in old_reports(store, today, rules.report_days)]
    return sorted(found, key=lambda one: (one.day, one.key))


def _partitions(lake: Lake, names: tuple[str, ...], layer: str, days: int, today: date, does: str) -> Iterator[Drop]:
    if not days:
        return
    limit = today - timedelta(days=days)
    for name in names:
        table = TABLE.get(name)
        for part in lake.partitions(table) if table else []:
            day = date.fromisoformat(part["day"])
            if day < limit and day.year > 1970:         # 1970 holds findings that belong to no day
                yield Drop(layer, lake.store.uri, lake.key(TABLE[name], part), day, does)


def _raw(lake: Lake, settings: Settings, today: date, does: str) -> Iterator[Drop]:
    """Pulled pages of the sources as they are configured; those of a source that is configured no more stay."""
    if not settings.retention.raw_days:
        return
    limit = today - timedelta(days=settings.retention.raw_days)
    closed = closed_snapshots(lake)
    months = {month for periods in closed.values() for month in periods}
    for source in settings.sources:
        if source.is_pulled:
            spent = spent_pages(lake, source, options_of(source), limit, months=months,
                                closed=closed.get(source.name, {}))
            for key, day in spent.pages:
                yield Drop("raw", lake.store.uri, key, day, does, spent.kept_from)
    needed = {name for one in price_feeds.accepted(lake) for name in one.names}
    for item in lake.store.list(f"raw/{price_feeds.ROOT}/"):
        at = Input(item.key, Path()).seen_at
        if at is not None and at.date() < limit and item.key.split("/", 3)[3] not in needed:
            yield Drop("raw", lake.store.uri, item.key, at.date(), does)


def retain(lake: Lake, settings: Settings, today: date, *, dry_run: bool = False) -> pl.DataFrame:
    """Archive and drop what is too old; the rows of the plan. Killed half-way, the next call does the rest."""
    drops = plan(lake, settings, today)
    if not dry_run:
        archive = open_store(settings.retention.archive, base=settings.home) if settings.retention.archive else None
        _remember(lake, drops)
        for one in drops:
            store = open_store(one.place, base=Path()) if one.layer == "report" else lake.store
            if one.does == "archive" and archive is not None:
                body = store.read(one.key)
                if body is not None:
                    archive.put(one.key, body)
            store.delete(one.key)
    return pl.DataFrame([{name: vars(one)[name] for name in PLAN} for one in drops], schema=PLAN)


def _remember(lake: Lake, drops: list[Drop]) -> None:
    """First day that each dataset is kept from; written before anything is dropped."""
    known = lake.kept()
    for one in drops:
        dataset = one.key.split("/", 1)[0]
        if one.layer in ("core", "out"):
            after = one.day + timedelta(days=1)
            known[dataset] = max(known.get(dataset, after), after)
        elif one.kept_from is not None:
            known["/".join(one.key.split("/")[:2])] = one.kept_from
    if known:
        lake.store.put(KEPT_KEY, json.dumps({name: str(day) for name, day in sorted(known.items())}, indent=0).encode())


def compact(lake: Lake, *, dry_run: bool = False) -> pl.DataFrame:
    """Files of many small pieces written as one, and what interrupted runs left: hidden files, open uploads.

    Each file is replaced by itself with the same rows in the same order, so readers and figures notice nothing.
    """
    done: list[dict[str, object]] = []
    for table in TABLES:
        for part in lake.partitions(table):
            key = lake.key(table, part)
            path = lake.file(table, part)
            if path is None or not _in_pieces(path, table):
                continue
            done.append({"key": key, "does": "rewrite", "detail": "many small row groups"})
            if not dry_run:
                _rewrite(lake, table, part)
    if isinstance(lake.store, Folder):
        for hidden in sorted(lake.store.root.rglob(".*.tmp")):
            done.append({"key": hidden.relative_to(lake.store.root).as_posix(), "does": "remove",
                         "detail": "left by an interrupted run"})
            if not dry_run:
                hidden.unlink(missing_ok=True)
    else:
        done += _end_uploads(lake.store, dry_run=dry_run)
    return pl.DataFrame(done, schema={"key": pl.String(), "does": pl.String(), "detail": pl.String()})


def _in_pieces(path: Path, table: Table) -> bool:
    import pyarrow.parquet as pq

    meta = pq.read_metadata(path)
    needed = -(-meta.num_rows // row_group(table))
    return bool(meta.num_row_groups > needed + 1)


def _rewrite(lake: Lake, table: Table, part: dict[str, str]) -> None:
    con = query.connect(threads=1, scratch=lake.scratch)
    names = ", ".join(f.name for f in table.file_fields)
    lake.commit(table, part, lake.encode(con, f"SELECT {names} FROM {lake.relation(table, [part])}", table))
    con.close()


def _end_uploads(store: Store, *, dry_run: bool) -> list[dict[str, object]]:
    """End uploads that were begun more than a day ago."""
    from datetime import UTC, datetime
    from urllib.parse import urlsplit

    from costops.flows.runtime.bucket import s3_client
    from costops.flows.tasks.verify import open_uploads

    old = [one for one in open_uploads(store.uri)
           if datetime.now(UTC) - datetime.fromisoformat(one["begun"]) > timedelta(days=1)]
    if old and not dry_run:
        client = s3_client()
        for one in old:
            client.abort_multipart_upload(Bucket=urlsplit(store.uri).netloc, Key=one["key"], UploadId=one["upload_id"])
    return [{"key": one["key"], "does": "end upload", "detail": f"begun {one['begun']}"} for one in old]
