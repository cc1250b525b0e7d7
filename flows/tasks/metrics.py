"""How the pipeline itself does, for Prometheus: a text file for the node exporter, written whole after every run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path

import polars as pl

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks.run import Run
from costops.transforms.tables import OUT_SPEND_DAILY

VARIABLE = "COSTOPS_METRICS"
HELP = {
    "costops_run_timestamp_seconds": "When the last run started.",
    "costops_run_exit_code": "How it ended: 0 done, 1 a gate failed, 3 a source was not reached, 4 refused.",
    "costops_newest_day_timestamp_seconds": "Midnight of the newest day that has spend.",
    "costops_stage_seconds": "How long each stage of the last run took.",
    "costops_source_records": "Records that the last run read of each source.",
    "costops_source_findings": "Records of these that were set aside.",
    "costops_gate_value": "The share that each gate looks at.",
    "costops_gate_limit": "The share above which it fails.",
    "costops_gate_failed": "1 where it failed.",
    "costops_unreachable": "Sources and targets that were not reached.",
}
"""Every metric; the dashboard in `deploy/grafana` uses these and no others."""

Sample = tuple[str, dict[str, str], float]


def samples(run: Run) -> Iterator[Sample]:
    """The figures of one run."""
    yield "costops_run_timestamp_seconds", {}, run.now.timestamp()
    yield "costops_run_exit_code", {}, run.exit_code
    yield "costops_unreachable", {}, len(run.unreachable)
    newest = run.lake.read(OUT_SPEND_DAILY, run.lake.partitions(OUT_SPEND_DAILY)[-1:]).select(pl.col("day").max()).item()
    if newest is not None:
        yield ("costops_newest_day_timestamp_seconds", {},
               datetime.combine(newest, time(), tzinfo=UTC).timestamp())
    for entry in run.entries:
        if entry["entry"] == "stage" and entry.get("seconds") is not None:
            yield "costops_stage_seconds", {"stage": entry["stage"]}, entry["seconds"]
        if entry["entry"] == "source" and entry.get("lines_read") is not None:
            yield "costops_source_records", {"source": entry["source"]}, entry["lines_read"]
            yield "costops_source_findings", {"source": entry["source"]}, entry.get("findings") or 0
    for gate in run.gates:
        yield "costops_gate_value", {"gate": gate.name}, float(gate.value)
        yield "costops_gate_limit", {"gate": gate.name}, float(gate.limit)
        yield "costops_gate_failed", {"gate": gate.name}, float(gate.failed)


def text(run: Run) -> str:
    """The figures in Prometheus' text format, one block per metric."""
    found: dict[str, dict[str, float]] = {name: {} for name in HELP}
    for name, labels, value in samples(run):
        told = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
        found[name][f"{{{told}}}" if told else ""] = value
    lines = []
    for name, values in found.items():
        if values:
            lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
            lines += [f"{name}{labels} {value!r}" for labels, value in values.items()]
    return "\n".join(lines) + "\n"


def write(run: Run) -> None:
    """Replace the file that `COSTOPS_METRICS` names; a file that cannot be written fails no run."""
    named = os.environ.get(VARIABLE)
    if not named:
        return
    target = Path(named)
    part = target.with_name(f".{target.name}.tmp")
    try:
        part.write_text(text(run), encoding="utf-8")
        part.replace(target)
    except OSError as error:
        LOGGER.warning("%s: metrics not written (%s)", target, error.strerror)


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
