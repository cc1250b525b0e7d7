"""Buckets and request logs of the same provider and day: the requests count, whichever came first."""

from __future__ import annotations

from datetime import date

from costops.flows.tasks.run import Run
from costops.transforms import merge, query
from costops.transforms.buckets.kinds import USAGE_FORMAT
from costops.transforms.tables import CORE_CHARGE


def recount_buckets(run: Run) -> None:
    """Say again which buckets count on the days that this run changed: a log that comes late takes their place."""
    feeds = [one.name for one in run.settings.sources if one.kind in USAGE_FORMAT]
    logs = [one.name for one in run.settings.sources if one.feeds_requests]
    if not feeds or not logs or not run.touched:
        return
    con = query.connect(scratch=run.lake.scratch)
    for feed in feeds:
        held = {date.fromisoformat(part["day"]) for part in run.lake.partitions(CORE_CHARGE, source=feed)}
        for day in sorted(held & run.touched):
            part = {"source": feed, "day": str(day)}
            told = run.lake.relation(CORE_CHARGE, [{"source": name, "day": str(day)} for name in logs])
            con.execute("CREATE OR REPLACE TEMP TABLE covered AS "
                        f"SELECT DISTINCT provider FROM {told} WHERE granularity = 'request'")
            rows = f"""(SELECT * REPLACE (CASE WHEN granularity = 'request' THEN counted
                ELSE provider NOT IN (SELECT provider FROM covered) END AS counted)
                FROM {run.lake.relation(CORE_CHARGE, [part])})"""
            if run.lake.commit(CORE_CHARGE, part, run.lake.encode(con, merge.keep_select(rows), CORE_CHARGE)):
                run.partition("ingest", CORE_CHARGE, part, detail="counted again")
    con.close()
