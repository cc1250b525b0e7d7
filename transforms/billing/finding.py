"""Findings of bill readers as rows of `core_finding`; a long run of one reason is folded into one row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import sha256

import polars as pl

from costops.transforms.billing.text import EXACT, added
from costops.transforms.tables import CORE_FINDING

MOST = 200
"""Findings of one reason and field in one batch that are told one by one; the rest is one row with their number."""

_EXCERPT = 400


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a bill. `error`: the record was set aside; `warning`: kept, but look."""

    reason: str
    severity: str
    uri: str
    line: int | None = None
    field: str | None = None
    expected: str | None = None
    actual: str | None = None
    excerpt: str | None = None
    mend: str | None = None
    records: int = 1
    amount: Decimal | None = None
    day: date | None = None


def findings(found: Iterable[Finding], *, source: str, dataset: str = "core_billing") -> pl.DataFrame:
    """The findings as a frame; the same finding has the same id in every run."""
    rows = [_row(item, source, dataset) for item in _folded(list(found))]
    return pl.DataFrame(rows, schema=CORE_FINDING.schema, orient="row").unique("finding_id", maintain_order=True)


def _folded(found: list[Finding]) -> list[Finding]:
    groups: dict[tuple[str, str, str | None, str], list[Finding]] = {}
    for item in found:
        groups.setdefault((item.reason, item.uri, item.field, item.severity), []).append(item)
    kept: list[Finding] = []
    for group in groups.values():
        kept += group[:MOST]
        rest = group[MOST:]
        if rest:
            first = rest[0]
            amounts = [item.amount for item in rest if item.amount is not None]
            kept.append(Finding(
                first.reason, first.severity, first.uri, first.line, first.field, first.expected,
                f"{len(rest)} more like this from here on", first.excerpt, first.mend,
                sum(item.records for item in rest), added(amounts) if amounts else None, first.day,
            ))
    return kept


def _row(item: Finding, source: str, dataset: str) -> tuple[object, ...]:
    place = "|".join(str(part) for part in (source, dataset, item.uri, item.line, item.reason, item.field,
                                            item.actual))
    amount = item.amount.quantize(Decimal(1).scaleb(-12), context=EXACT) if item.amount is not None else None
    cells = {
        "finding_id": sha256(place.encode()).hexdigest()[:16], "source": source, "day": item.day,
        "reason": item.reason, "severity": item.severity, "dataset": dataset, "uri": item.uri,
        "input_id": sha256(item.uri.encode()).hexdigest()[:12], "line": item.line, "field": item.field,
        "expected": item.expected, "actual": item.actual,
        "excerpt": item.excerpt[:_EXCERPT] if item.excerpt else None, "mend": item.mend,
        "records": item.records, "amount_usd": amount,
    }
    return tuple(cells[name] for name in CORE_FINDING.columns)
