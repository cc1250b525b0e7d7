"""The right to be forgotten: a user id taken out of the lake, its archive and every later reading of the sources.

Rows stay, since the money was spent; the id becomes `erased` and the row's tags go. Of the id only a salted hash is
kept: by it the lake's writer knows the id again when a backfill reads the old logs.
"""

from __future__ import annotations

import polars as pl

from costops.flows.runtime.lake import ERASED, Lake, erased_id
from costops.flows.runtime.objects import open_store
from costops.flows.tasks.run import Run
from costops.transforms import query
from costops.transforms.errors import Usage
from costops.transforms.tables import CORE_FINDING, TABLES, Table

RESULT = {"place": pl.String(), "dataset": pl.String(), "partition": pl.String(), "rows": pl.Int64(),
          "does": pl.String()}


def erase(run: Run, user_id: str, *, by: str, dry_run: bool = False) -> pl.DataFrame:
    """Take a user id out; one row per file changed. The run ledger keeps who asked and how much, not the id."""
    if not user_id.strip():
        raise Usage("erase needs --user ID.")
    if not by.strip() and not dry_run:
        raise Usage("erase needs --by NAME: who asked is recorded.")
    if not dry_run:
        run.lake.remember_erased(user_id)
    rows = _lake(run.lake, user_id, dry_run=dry_run)
    if run.settings.retention.archive:
        archive = Lake(open_store(run.settings.retention.archive, base=run.settings.home), run.lake.scratch / "archive")
        archive.erased = run.lake.erased
        rows += _lake(archive, user_id, dry_run=dry_run)
    made = pl.DataFrame(rows, schema=RESULT)
    if not dry_run:
        run.wrote = True
        run.note("stage", "erase", outcome="written", rows=int(made["rows"].sum() or 0), detail=(
            f"user {erased_id(run.lake.erased.get('salt', ''), user_id)[:12]}, asked by {by}, {made.height} files"))
    return made


def _lake(lake: Lake, user_id: str, *, dry_run: bool) -> list[dict[str, object]]:
    done = []
    for table in TABLES:
        if "user_id" not in table.columns and table is not CORE_FINDING:
            continue
        for part in lake.partitions(table):
            count = _count(lake, table, part, user_id)
            if not count:
                continue
            done.append({"place": lake.store.uri, "dataset": table.name, "rows": count, "does": "mask",
                         "partition": "/".join(f"{name}={value}" for name, value in part.items())})
            if not dry_run:
                _mask(lake, table, part, user_id)
    for item in lake.store.list("raw/"):
        if user_id.encode() in (lake.store.read(item.key) or b""):
            done.append({"place": lake.store.uri, "dataset": "raw", "partition": item.key, "rows": 1, "does": "remove"})
            if not dry_run:
                lake.store.delete(item.key)
    return done


def _touched(table: Table, user_id: str) -> pl.Expr:
    """Rows that hold the id: as user, or within tags, an excerpt, or what a finding quotes."""
    names = ("user_id",) if "user_id" in table.columns else ()
    within = [name for name in ("tags", "excerpt", "actual") if name in table.columns]
    tests = [pl.col(name) == user_id for name in names]
    tests += [pl.col(name).cast(pl.String).str.contains(user_id, literal=True) for name in within]
    return pl.any_horizontal(*(test.fill_null(value=False) for test in tests))


def _count(lake: Lake, table: Table, part: dict[str, str], user_id: str) -> int:
    return lake.read(table, [part]).filter(_touched(table, user_id)).height


def _mask(lake: Lake, table: Table, part: dict[str, str], user_id: str) -> None:
    frame = lake.read(table, [part])
    hit = _touched(table, user_id)
    out = [pl.when(hit).then(pl.lit(ERASED if name == "user_id" else None, frame.schema[name])).otherwise(
        pl.col(name)).alias(name) for name in ("user_id", "tags", "excerpt", "actual") if name in table.columns]
    frame = frame.with_columns(out)
    con = query.connect(threads=1, scratch=lake.scratch)
    con.register("masked", frame.select(f.name for f in table.file_fields).to_arrow())
    lake.commit(table, part, lake.encode(con, "SELECT * FROM masked", table))
    con.close()
