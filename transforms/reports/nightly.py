"""The nightly report: one HTML file for people and the same numbers as JSON for programs."""

from __future__ import annotations

from costops.transforms.reports import accuracy, moves, outlook, quality, spending, usage
from costops.transforms.reports.export import json_document
from costops.transforms.reports.figures import day_text, instant_text
from costops.transforms.reports.nightly_data import GateState, NightlyData, Part
from costops.transforms.reports.page import Page, render

__all__ = ["GateState", "NightlyData", "nightly_json", "nightly_report"]

SCHEMA = "llm-costops.nightly/1"


def nightly_report(data: NightlyData) -> str:
    """The report as one self-contained HTML file."""
    parts = _parts(data)
    facts = (("Reported day", day_text(data.day)), ("Made", instant_text(data.generated_at)),
             ("Run", data.run_id), ("Program", f"llm-costops {data.program_version}".strip()))
    return render(Page(
        "LLM cost report", f"As of {day_text(data.day)}", tuple((name, value) for name, value in facts if value),
        tuple(part.section for part in parts),
        "Amounts are US dollars, computed exactly and rounded once for display; hold the pointer over a figure to read "
        "all its digits. The same numbers are in report.json."))


def nightly_json(data: NightlyData) -> bytes:
    """The numbers of the report; amounts are strings with every digit."""
    return json_document({
        "schema": SCHEMA, "day": data.day, "generated_at": data.generated_at, "run_id": data.run_id,
        "program_version": data.program_version, "currency": "USD",
        **{part.name: part.figures for part in _parts(data)},
    })


def _parts(data: NightlyData) -> list[Part]:
    found = [
        spending.headline(data), *([] if data.spend_daily.is_empty() else [spending.trend(data)]),
        *(spending.breakdown(data, key) for key in ("provider", "model_id", "team")),
        moves.moves(data), outlook.forecast(data), accuracy.accuracy(data), outlook.anomalies(data),
        *outlook.others(data), outlook.reconciliation(data),
        usage.cache(data), usage.tiers(data), usage.unpriced(data), quality.gates(data), quality.quarantine(data),
        quality.freshness(data), usage.price_sources(data), quality.run(data),
    ]
    parts = [part for part in found if part is not None]
    return [*parts, quality.provenance(parts)]
