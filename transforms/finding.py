"""Findings: what is wrong with the data, as rows. A run never stops for one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import polars as pl

from costops.transforms.tables import CORE_FINDING

MOST_EXCERPTS = 1_000
"""Findings of one input that get a row each; what is beyond is counted in one more row."""

MEND: dict[str, str] = {
    # records of request logs and usage feeds
    "malformed_record": "compare the line with the source's format; deliver it again whole, or mend the exporter",
    "malformed_line": "the line is no JSON object; export it again",
    "impossible_count": "ask the source for the true count; the record is not in any total",
    "missing_field": "the record cannot be placed without it; check the source's `kind` and its column mapping",
    "unknown_unit": "the record is kept and priced without this unit; upgrade, or report the new field",
    "impossible_time": "the record's time lies before 1970; check the clock and the unit of what wrote it",
    "future_record": "the record's time lies in the future; check the clock of what wrote it",
    "amount_overflow": "the cost does not fit; the count or the price is wrong",
    "unpriced": "add a price under data/reference or in the configuration; the amount is bounded, not zero",
    "missing_day": "no record of a day between two days that have some; check the export of that day",
    # what spend looks like
    "night_burst": "ask the key's owner; if nobody knows of it, revoke the key",
    "absurd_request": "look at the request: a loop, a whole archive as context, or somebody else's use of the key",
    "new_key": "ask who made the key and what for; if nobody knows of it, revoke it",
    "mix": "the total is calm, yet money moved to another part: check that the move was meant",
    "driver_unusable": "give the driver's values, the planned ones included, or take it out of `[forecast] drivers`",
    "forecast_drift": "the models were fitted anew; look at what changed in the series named",
    "model_refused": "nothing, the models were fitted anew; ask what changed the file",
    # files as delivered
    "cut_archive": "deliver the archive again whole; what was read of it is counted once",
    "archive_bomb": "unpack it by hand and check where it comes from; nothing of it was read",
    "line_too_long": "the line is not a usage record; check what wrote it",
    "wrong_kind": "the file holds no record of this kind; check the source's `kind` and `uri`",
    "empty_source": "no input was found; check the source's `uri`, or that the export runs",
    "empty_file": "the file has no byte; check what wrote it, or leave it out of the source's `uri`",
    "unreadable_file": "mend the file, its header or the rights, then run again",
    "damaged_file": "fetch or export the file again; the last complete snapshot stays in force",
    # bills and invoices
    "bad_row": "the row has another number of cells than the header: quote text with commas or line breaks",
    "missing_amount": "ask the provider for the line again; it has no cost",
    "bad_amount": "write the amount as a plain number with a point; export again without formatting",
    "amount_rounded": "more than 18 decimals, a float's tail: rounded, the difference is under `actual`",
    "missing_time": "the line tells no billing period and no time of use",
    "bad_time": "the time is in no form that is known; the row is kept at the start of its period",
    "missing_currency": "set `currency` for the source; until then the rows are in XXX and added to nothing",
    "unknown_value": "kept as it is; FOCUS does not know the word",
    "damaged_manifest": "export again; nothing was taken from it",
    "incomplete_delivery": "wait for the export or fetch it again; the last complete snapshot stays in force",
    "not_in_manifest": "files that no manifest lists are not read; nothing to do unless they should count",
    "other_dataset": "the export holds another dataset; set `dataset` for the source to choose it",
    "snapshot_refused": "it is empty or smaller than the one in force: if it is right, raise `max_shrink`",
    "snapshot_incomplete": "wait for the export or fetch it again",
    "closed_period_changed": "book the correction rows in the open period, or reopen the period",
    "restated_bucket": "two pages tell the same bucket differently; the later page counts",
    "invoice_lines_differ": "the lines do not add up to the invoice's total; compare with the document",
    "invoice_without_lines": "enter its lines, so that tax and credits can be told from usage",
}
"""Reason code -> what to do about it; `docs/reference/findings.md` is made from this."""

_CONTENT = re.compile(
    r'("(?:content|text|prompt|input|output|messages|instructions|arguments|refusal|thinking|summary|'
    r'inputBodyJson|outputBodyJson|RequestMessages|ResponseMessages|input_text|output_text|reasoning_content)"'
    r'\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|\[[^\]]*\]?)')
_LONG = re.compile(r'"(?:[^"\\]|\\.){80,}"?')
_SECRET = re.compile(r"sk-[A-Za-z0-9_-]{8,}|AKIA[0-9A-Z]{12,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def excerpt(raw: str) -> str:
    """The first 400 characters of a raw record without prompt text, credentials and control characters."""
    text = _CONTENT.sub(r'\1"[left out]"', raw)
    text = _LONG.sub('"[long text left out]"', text)
    return _CONTROL.sub(" ", _SECRET.sub("***", text))[:400]


def finding_id(*parts: object) -> str:
    """The same place and reason give the same id in every run."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


def findings(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Findings as a `core_finding` frame: `reason`, `source` and `day` are needed, ids and mends are filled in."""
    filled = []
    for row in rows:
        reason = str(row["reason"]).split(":", 1)[0]
        key = (row.get("source"), reason, row.get("uri"), row.get("line"), row.get("field"), row.get("actual"))
        filled.append({
            "severity": "error", "records": 1, "dataset": "core_charge", "mend": MEND.get(reason), **row,
            "reason": reason, "finding_id": finding_id(*key), "day": row.get("day") or date(1970, 1, 1),
        })
    frame = pl.DataFrame(filled, schema_overrides=CORE_FINDING.schema, infer_schema_length=None) if filled else (
        pl.DataFrame(schema=CORE_FINDING.schema))
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in CORE_FINDING.schema.items()
    ).unique("finding_id", keep="first", maintain_order=True)
