"""Is the lake what it should be? Every file read, its bytes held against what was written, its figures cross-footed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from costops.flows.runtime.lake import VERSION, Lake
from costops.flows.runtime.objects import Folder, written_digest
from costops.flows.tasks.lost import told_rows
from costops.transforms.errors import CostopsError
from costops.transforms.tables import CORE_CHARGE, CORE_INPUT, OUT_SPEND_DAILY, OUT_SPEND_HOURLY, TABLES, Table

SCHEMA = {"place": pl.String(), "state": pl.String(), "detail": pl.String(), "mend": pl.String()}
_AGAIN = "delete the file, then `cost-ops backfill` its day"
_MEND = "`cost-ops lake verify --mend` makes it again where its inputs are there; else restore it from a backup"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the lake."""

    place: str
    state: str
    detail: str
    mend: str


def verify(lake: Lake) -> pl.DataFrame:
    """One row per fault; empty where the lake is whole. Nothing is changed."""
    found = [*_state(lake), *_files(lake)]
    bad = {one.place for one in found}
    found += _missing(lake, bad)
    if not any(place.endswith(".parquet") for place in bad):
        found += _footing(lake)
    return pl.DataFrame([vars(one) for one in found], schema=SCHEMA)


def damaged_days(lake: Lake, faults: pl.DataFrame) -> dict[str, list[date]]:
    """Source -> days of `core_charge` that cannot be read."""
    bad = set(faults.filter(pl.col("state").is_in(["damaged", "unreadable"]))["place"])
    days: dict[str, list[date]] = {}
    for part in lake.partitions(CORE_CHARGE):
        if lake.key(CORE_CHARGE, part) in bad:
            days.setdefault(part["source"], []).append(date.fromisoformat(part["day"]))
    return days


def _state(lake: Lake) -> Iterator[Fault]:
    body = lake.store.read("_state/format.json")
    if body is None:
        yield Fault("_state/format.json", "missing", "no format version", f'write {{"version": {VERSION}}} into it')
    for item in lake.store.list("_state/"):
        if not item.key.endswith(".json"):
            continue
        try:
            json.loads(lake.store.read(item.key) or b"null")
        except ValueError as error:
            yield Fault(item.key, "damaged", f"not JSON: {error}", f'write {{"version": {VERSION}}} into it'
                        if item.key.endswith("format.json") else "delete it; it is made again")


def _files(lake: Lake) -> Iterator[Fault]:
    for table in TABLES:
        for partition in lake.partitions(table):
            if (fault := _file(lake, table, partition)) is not None:
                yield fault


def _file(lake: Lake, table: Table, partition: dict[str, str]) -> Fault | None:
    """Bytes as written, readable to the last page, of the right columns, without nulls where none may be."""
    key = lake.key(table, partition)
    again = _MEND if table is CORE_CHARGE else _AGAIN
    if isinstance(lake.store, Folder) and (digest := written_digest(lake.store.path(key))) is not None:
        known, now = digest
        if known != now:
            return Fault(key, "damaged", "its bytes are not those that were written", again)
    path = lake.file(table, partition)
    if path is None:
        return Fault(key, "missing", "listed, but gone when read", "run again")
    try:
        read = pq.read_table(path, page_checksum_verification=True, partitioning=None)
        frame = pl.DataFrame(pl.from_arrow(read))
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        return Fault(key, "unreadable", str(error).split("\n", 1)[0][:200], again)
    names = {f.name for f in table.file_fields}
    if strange := sorted(set(frame.columns) - names):
        return Fault(key, "foreign", f"columns that the table does not know: {', '.join(strange[:5])}",
                     "was it written by a newer version? upgrade; else " + again)
    for name in sorted(table.required & set(frame.columns)):
        if frame[name].null_count():
            return Fault(key, "damaged", f"{frame[name].null_count()} nulls in {name}", again)
    return None


def _missing(lake: Lake, bad: set[str]) -> Iterator[Fault]:
    """Days of which an input says that they hold rows, against the rows that they hold."""
    for part in lake.partitions(CORE_INPUT):
        if lake.key(CORE_INPUT, part) in bad:
            continue
        for day, expected in told_rows(lake, part["source"]).items():
            partition = {"source": part["source"], "day": str(day)}
            if lake.key(CORE_CHARGE, partition) in bad:
                continue
            path = lake.file(CORE_CHARGE, partition)
            held = 0 if path is None else pq.read_metadata(path).num_rows
            if held != expected:
                yield Fault(lake.key(CORE_CHARGE, partition), "missing" if path is None else "short",
                            f"{held} rows where its inputs told {expected}", (
                                "run again; where that does not help its inputs are gone too: restore one or the other "
                                "from a backup" if path is None else f"cost-ops backfill --from {day} --to {day}"))


def _footing(lake: Lake) -> Iterator[Fault]:
    """Requests and cost of every day: rows, hours and days of the aggregates must add up to the same, exactly."""
    by_row = _sums(lake, CORE_CHARGE)
    by_hour, by_day = _sums(lake, OUT_SPEND_HOURLY), _sums(lake, OUT_SPEND_DAILY)
    first_row, first_hour = lake.kept_from(CORE_CHARGE.name), lake.kept_from(OUT_SPEND_HOURLY.name)
    for day in sorted({*by_row, *by_hour, *by_day}):
        if not (first_row and day < first_row) and by_row.get(day) != by_hour.get(day):
            yield _unequal(lake, OUT_SPEND_HOURLY, {"day": str(day)}, day, by_row.get(day), by_hour.get(day))
        if not (first_hour and day < first_hour) and by_hour.get(day) != by_day.get(day):
            yield _unequal(lake, OUT_SPEND_DAILY, {"month": f"{day:%Y-%m}"}, day, by_hour.get(day), by_day.get(day))


def _sums(lake: Lake, table: Table) -> dict[date, tuple[int, object]]:
    sums: dict[date, tuple[int, object]] = {}
    for partition in lake.partitions(table):
        frame = lake.read(table, [partition])
        if "counted" in frame.columns:
            frame = frame.filter(pl.col("counted"))
        grouped = frame.group_by("day").agg(pl.col("requests").sum(),
                                            pl.col("list_cost_usd").cast(pl.Decimal(38, 12)).sum())
        for day, requests, cost in grouped.iter_rows():
            held = sums.get(day, (0, 0))
            sums[day] = (held[0] + requests, held[1] + (cost or 0))  # type: ignore[operator]
    return {day: total for day, total in sums.items() if total[0]}


def _unequal(lake: Lake, table: Table, partition: dict[str, str], day: date, below: object, here: object) -> Fault:
    return Fault(lake.key(table, partition), "unequal", f"{day}: {_told(here)} where what it sums has {_told(below)}",
                 f"cost-ops backfill --from {day} --to {day}")


def _told(sums: object) -> str:
    return "nothing" if sums is None else "{} requests, {} USD".format(*sums)  # type: ignore[misc]


def open_uploads(uri: str) -> list[dict[str, str]]:
    """Multipart uploads below an s3:// address that were begun and never ended; they cost and nobody sees them."""
    from urllib.parse import urlsplit

    place = urlsplit(uri)
    if place.scheme != "s3":
        return []
    from botocore.exceptions import BotoCoreError, ClientError

    from costops.flows.runtime.bucket import s3_client
    from costops.transforms.errors import Unreachable

    try:
        client = s3_client()
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=place.netloc, Prefix=place.path.lstrip("/"))
        return [{"key": one["Key"], "upload_id": one["UploadId"], "begun": str(one["Initiated"])}
                for page in pages for one in page.get("Uploads", [])]
    except (BotoCoreError, ClientError) as error:
        raise Unreachable(f"{uri}: cannot list uploads ({type(error).__name__}); the policy needs "
                          "s3:ListBucketMultipartUploads.") from None


def uploads_problem(uri: str) -> str | None:
    """What `doctor` says of open uploads; None where there are none."""
    try:
        found = open_uploads(uri)
    except CostopsError as error:
        return str(error)
    if not found:
        return None
    return (f"{len(found)} uploads were begun and never ended, the oldest {min(one['begun'] for one in found)}; "
            "`cost-ops lake compact` ends them, a lifecycle rule of the bucket does it for good")
