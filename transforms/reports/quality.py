"""Report sections about the data behind the figures: gates, quarantine, freshness, the run, and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from costops.transforms.reports.figures import (
    DASH,
    count,
    day_text,
    exact,
    percent,
    plain,
    plural,
)
from costops.transforms.reports.nightly_data import GateState, NightlyData, Part, records
from costops.transforms.reports.page import (
    Block,
    Cell,
    Column,
    Note,
    Section,
    Table,
    Trace,
    count_cell,
    money_cell,
    text_cell,
)
from costops.transforms.reports.plain_tables import frame_table

_MOST, _MOST_OF_ONE = 12, 3
_READ = ("lines_read", "rows_kept", "duplicates", "findings", "non_billable")
_SEVERITY = {"error": 0, "warning": 1, "info": 2}


def gates(data: NightlyData) -> Part | None:
    """The shares that must not be exceeded."""
    if not data.gates:
        return None
    rows = tuple((text_cell(gate.name.replace("_", " ")), Cell("failed" if gate.failed else "pass",
                  tone="bad" if gate.failed else "good"), _measured(gate, gate.value),
                  _measured(gate, gate.limit), text_cell(gate.detail, missing=""))
                 for gate in data.gates)
    table = Table("Quality gates", (Column("Gate"), Column("State"), Column("Measured", "number"),
                                    Column("Limit", "number"), Column("Detail", "text long")), rows)
    figures = [{"name": g.name, "value": g.value, "limit": g.limit, "failed": g.failed, "detail": g.detail}
               for g in data.gates]
    lead = "A run whose gates fail is complete, but look before you pass its figures on."
    traces = (Trace("core_input", "SELECT sum(findings), sum(lines_read) FROM core_input;"),
              Trace("out_spend_daily", "SELECT sum(unpriced_requests), sum(requests) FROM out_spend_daily;"))
    return Part("gates", Section("gates", "Quality gates", lead, (table,), traces), figures)


def _measured(gate: GateState, value: Decimal) -> Cell:
    """A share in percent, any other figure as it is."""
    return Cell(percent(value), exact=str(value)) if gate.name.endswith("share") else Cell(plain(exact(value)))


def quarantine(data: NightlyData) -> Part:
    """Records set aside: by reason, and where each stands."""
    found = data.findings.with_columns(
        pl.col("severity").replace_strict(_SEVERITY, default=3, return_dtype=pl.Int8).alias("_rank"))
    grouped = found.group_by("_rank", "severity", "reason").agg(
        pl.col("records").sum(), pl.col("uri").n_unique().alias("files"), pl.col("amount_usd").sum(),
        pl.col("amount_usd").count().alias("amounts"), pl.col("mend").drop_nulls().first(),
    ).sort("_rank", "records", "reason", descending=[False, True, False])
    by_reason = [{**row, "amount_usd": row["amount_usd"] if row.pop("amounts") else None}
                 for row in grouped.drop("_rank").to_dicts()]
    table = Table(
        "Findings by reason",
        (Column("Reason"), Column("Severity"), Column("Records", "number"), Column("Files", "number"),
         Column("At stake (USD)", "number"), Column("What to do", "text long")),
        tuple((text_cell(row["reason"].replace("_", " ")), Cell(row["severity"], tone=_tone(row["severity"])),
               count_cell(row["records"]), count_cell(row["files"]), money_cell(row["amount_usd"]),
               text_cell(row["mend"], missing=DASH, longest=300)) for row in by_reason), headed=True)
    ordered = found.sort("_rank", "reason", "uri", "line", "finding_id")
    listed = ordered.filter(pl.int_range(pl.len()).over("reason") < _MOST_OF_ONE).head(_MOST)
    detail = Table(
        "Findings one by one",
        (Column("Place", "text long"), Column("Reason"), Column("Field, expected and actual", "text long"),
         Column("Excerpt", "code")),
        tuple((text_cell(row["uri"] or row["source"], missing=DASH,
                         sub=f"line {row['line']:,}" if row["line"] else ""),
               text_cell(row["reason"].replace("_", " "), sub=_stamp(row["day"])), text_cell(_said(row), missing=DASH),
               text_cell(row["excerpt"], missing=DASH, longest=160)) for row in listed.iter_rows(named=True)),
        headed=True,
        note=f"{plural(found.height - listed.height, 'more finding')} in core_finding." if (
            found.height > listed.height) else "")
    blocks: tuple[Block, ...] = (table, detail) if by_reason else (
        Note("No record was set aside and nothing was found wrong.", "good"),)
    sql = ("SELECT reason, severity, sum(records) AS records, count(DISTINCT uri) AS files\nFROM core_finding\n"
           "GROUP BY reason, severity ORDER BY records DESC;")
    lead = "Records that could not be used as they came, and other things found wrong. Nothing is dropped in silence."
    section = Section("findings", "Set aside and found wrong", lead, blocks, (Trace("core_finding", sql),))
    return Part("findings", section, {"by_reason": by_reason, "total": found.height,
                                      "listed": records(listed.drop("_rank"))})


def _tone(severity: str) -> str:
    return {"error": "bad", "warning": "warn"}.get(severity, "")


def _stamp(day: date | None) -> str:
    return "" if day is None or day.year < 1971 else day_text(day)


def _said(row: dict[str, Any]) -> str:
    parts = [str(row["field"])] if row["field"] else []
    if row["expected"]:
        parts.append(f"expected {row['expected']}")
    if row["actual"]:
        parts.append(f"got {row['actual']}")
    return ", ".join(parts)


def freshness(data: NightlyData) -> Part:
    """Per source: last day with data, missing days between, and that every record read is accounted for."""
    rows, figures = [], []
    late = False
    for source, frame in sorted(data.inputs.group_by("source"), key=lambda pair: str(pair[0][0])):
        name = source[0]
        days = sorted({day for held in frame["days"].drop_nulls() for day in held})
        gaps = _gaps(days)
        counts = {column: int(frame[column].sum()) for column in _READ}
        balanced = counts["lines_read"] == sum(counts[column] for column in _READ[1:])
        behind = (data.day - days[-1]).days if days else None
        late = late or bool(gaps) or not balanced
        rows.append((
            text_cell(name, sub=plural(frame.height, "file")),
            Cell(day_text(days[-1]) if days else DASH, sub=f"{plural(behind, 'day')} behind" if behind and behind > 0
                 else "", tone="warn" if behind and behind > 1 else ""),
            Cell(count(len(gaps)), sub=_gap_text(gaps), tone="warn" if gaps else ""),
            count_cell(counts["lines_read"]), count_cell(counts["rows_kept"]), count_cell(counts["duplicates"]),
            count_cell(counts["findings"]), count_cell(counts["non_billable"]),
            Cell("yes" if balanced else "no", tone="good" if balanced else "bad")))
        figures.append({"source": name, "files": frame.height, "last_day": days[-1] if days else None,
                        "first_day": days[0] if days else None, "missing_days": gaps, **counts,
                        "late_records": frame["late_records"].sum(), "balanced": balanced})
    total = {column: int(data.inputs[column].sum()) for column in _READ}
    table = Table(
        "Data freshness and completeness by source",
        (Column("Source"), Column("Last day", "day"), Column("Missing days", "number"),
         Column("Records read", "number"), Column("Kept", "number"), Column("Duplicates", "number"),
         Column("Findings", "number"),
         Column("Not billable", "number"), Column("Adds up")), tuple(rows),
        foot=(Cell("Total"), Cell(""), Cell(""), *(count_cell(total[column]) for column in _READ), Cell("")),
        empty="No input has been read yet.")
    blocks: list[Block] = [table]
    if data.completeness is not None:
        blocks.append(frame_table(_counted(data.completeness), "Requests counted by the provider and logged",
                                  headed=True))
    lead = ("Records read are kept, duplicates, findings or not billable: the four always add up to what was read. A "
            "missing day has no record although days before and after it do.")
    sql = ("SELECT source, sum(lines_read), sum(rows_kept), sum(duplicates), sum(findings), sum(non_billable)\n"
           "FROM core_input\nGROUP BY source ORDER BY source;")
    section = Section("freshness", "Data freshness and completeness", lead, tuple(blocks), (Trace("core_input", sql),))
    extra = {} if data.completeness is None else {"completeness": records(data.completeness)}
    return Part("freshness", section, {"sources": figures, **extra})


def _counted(frame: pl.DataFrame) -> pl.DataFrame:
    """Days summed per provider and model, with the share that was logged; the least complete first."""
    names = ("counted_requests", "logged_requests", "counted_tokens", "logged_tokens")
    if not {"provider", "model_id", "day", *names} <= set(frame.columns):
        return frame
    differs = (pl.col("counted_tokens").fill_null(0) != pl.col("logged_tokens").fill_null(0)).sum()
    told = (pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).cast(pl.Int64).alias(name) for name in names)
    summed = frame.group_by("provider", "model_id").agg(*told,
                                                        differs.cast(pl.Int64).alias("days_that_differ"))
    share = (pl.when(pl.col("counted_tokens") > 0).then(pl.col("logged_tokens") / pl.col("counted_tokens"))).round(6)
    return summed.with_columns(logged_share=share).sort("logged_share", "provider", "model_id", nulls_last=True)


def _gaps(days: Sequence[date]) -> list[date]:
    held = set(days)
    if not days:
        return []
    span = (days[-1] - days[0]).days
    if span > 3660:
        return []
    return [day for day in (days[0] + timedelta(days=i) for i in range(span)) if day not in held]


def _gap_text(gaps: list[date]) -> str:
    shown = ", ".join(f"{day.day} {day:%b}" for day in gaps[-3:])
    return shown + (" and earlier" if len(gaps) > 3 else "")


def run(data: NightlyData) -> Part | None:
    """What the run did, stage by stage."""
    if data.ledger.is_empty():
        return None
    stages = data.ledger.filter(pl.col("entry").is_in(["stage", "source"])).sort("number")
    written = data.ledger.filter(pl.col("entry") == "partition").group_by("dataset").agg(
        pl.len().alias("partitions")).sort("dataset")
    table = Table("Stages and sources of the run",
                  (Column("Stage"), Column("Source"), Column("Outcome"), Column("Records", "number"),
                   Column("Findings", "number"), Column("Seconds", "number"), Column("Detail", "text long")),
                  tuple((text_cell(row["stage"]), text_cell(row["source"], missing=""), Cell(
                      plain(row["outcome"] or ""), tone="bad" if row["outcome"] in {"failed", "refused"} else ""),
                         count_cell(row["lines_read"]), count_cell(row["findings"]),
                         Cell(DASH if row["seconds"] is None else f"{row['seconds']:.1f}"),
                         text_cell(row["detail"], missing="")) for row in stages.iter_rows(named=True)))
    said = ", ".join(f"{name} {count(number)}" for name, number in written.iter_rows()) or "none"
    return Part("run", Section("run", "The run", f"Partitions written: {said}.", (table,), (Trace(
        "run_ledger", "SELECT * FROM run_ledger ORDER BY run_id DESC, number;"),)),
        {"stages": records(stages, ["stage", "source", "outcome", "lines_read", "findings", "detail"]),
         "partitions_written": records(written)})


def provenance(parts: Sequence[Part]) -> Part:
    """Where each number comes from: the dataset and the query of every section."""
    rows = tuple((text_cell(part.section.title), text_cell(trace.dataset), Cell(trace.sql))
                 for part in parts for trace in part.section.traces)
    table = Table("Dataset and query of each section",
                  (Column("Section"), Column("Dataset", "name"), Column("Query", "code pre")), rows)
    lead = ("Every figure is a sum over a dataset of the lake. Run these with cost-ops query, or in any DuckDB over "
            "the Parquet files, and compare.")
    return Part("provenance", Section("provenance", "Where each number comes from", lead, (table,)),
                [{"section": part.name, "dataset": trace.dataset, "sql": trace.sql}
                 for part in parts for trace in part.section.traces])


