"""Reprice: the stored usage of a range, priced again; old and new totals, and the rows replaced where they differ."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from costops.flows.tasks.pricing import contracts_frame, lake_book, working_book
from costops.flows.tasks.run import Run
from costops.transforms import merge, query
from costops.transforms.charge import keys_sql, price_cells
from costops.transforms.errors import Usage
from costops.transforms.tables import CORE_CHARGE, CORE_USAGE

_CHANGE = """SELECT provider, model_id, sum(old) AS old_usd, sum(new) AS new_usd, sum(new) - sum(old) AS difference_usd,
    count(*) FILTER (WHERE was <> 'unpriced' AND now = 'unpriced') AS lost_price,
    count(*) FILTER (WHERE was = 'unpriced' AND now <> 'unpriced') AS gained_price, count(*) AS requests
FROM changed GROUP BY ALL ORDER BY ALL"""


def reprice(run: Run, *, reference: str | None, dry_run: bool) -> tuple[pl.DataFrame, set[date]]:
    """Price every partition of the run's window again. Returns the change per provider and model, and the days.

    `reference` is an ISO time: the prices known then. Rows keep their bytes where nothing differs.
    """
    known_at = _known_at(reference)
    prices = lake_book(run.lake, run.settings) if dry_run else working_book(run)
    totals, days = [], set()
    for part in run.lake.partitions(CORE_CHARGE):
        day = date.fromisoformat(part["day"])
        if (run.window and day not in run.window) or not run.selected(part["source"]):
            continue
        totals.append(_partition(run, part, prices, known_at, dry_run=dry_run))
        days.add(day)
    return _summed(totals), days


def _partition(run: Run, part: dict[str, str], book: pl.DataFrame,
               known_at: datetime | None, *, dry_run: bool) -> pl.DataFrame:
    con = query.connect(scratch=run.lake.scratch)
    con.execute(f"CREATE TEMP TABLE was AS SELECT * FROM {run.lake.relation(CORE_CHARGE, [part])}")
    names = ", ".join(CORE_USAGE.columns)
    con.execute(f"CREATE TEMP VIEW usage AS SELECT {names} FROM was")
    cells = price_cells(query.frame(con, keys_sql("usage")), book, known_at=known_at,
                        contracts=contracts_frame(run.settings.contracts))
    con.register("cells_frame", cells.to_arrow())
    con.execute("CREATE TEMP TABLE cells AS SELECT * FROM cells_frame")
    con.execute(merge.priced_statement())
    con.execute("""CREATE TEMP TABLE changed AS SELECT w.provider, w.model_id, w.list_cost_usd AS old,
        n.list_cost_usd AS new, w.price_status AS was, n.price_status AS now
        FROM was AS w JOIN priced AS n USING (record_id)""")
    change = query.frame(con, _CHANGE)
    if not dry_run:
        rows = "SELECT p.*, w.counted FROM priced AS p JOIN was AS w USING (record_id)"
        path = run.lake.encode(con, merge.keep_select(f"({rows})"), CORE_CHARGE)
        if run.lake.commit(CORE_CHARGE, part, path):
            run.partition("price", CORE_CHARGE, part, detail="repriced")
    con.close()
    return change


def _summed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return pl.DataFrame(schema={"provider": pl.String(), "model_id": pl.String()})
    frame = pl.concat(parts, how="vertical_relaxed")
    keys = ["provider", "model_id"]
    return frame.group_by(keys).agg(pl.exclude(keys).sum()).sort(keys)


def _known_at(reference: str | None) -> datetime | None:
    if reference in (None, "now"):
        return None
    try:
        moment = datetime.fromisoformat(str(reference))
    except ValueError:
        raise Usage(f"--price-book {reference!r}: write `now`, or the time of knowledge as ISO 8601.") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
