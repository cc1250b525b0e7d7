"""How a run ended, in words, and as an artifact where a Prefect server keeps one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from costops.flows.tasks.run import Run
from costops.flows.tasks.within import in_flow


@dataclass(frozen=True)
class Outcome:
    """What a person wants to know of a run when it is over."""

    run_id: str
    exit_code: int
    days_changed: int
    failed_gates: tuple[str, ...]
    unreachable: tuple[str, ...]
    refusals: tuple[str, ...]
    report: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def finish(run: Run) -> Outcome:
    """The outcome of a run; under Prefect a summary is kept beside it."""
    outcome = Outcome(run.run_id, run.exit_code, len(run.touched),
                      tuple(str(gate) for gate in run.gates if gate.failed), tuple(run.unreachable), tuple(run.refusals),
                      run.notes.get("report"))
    if in_flow():
        from prefect.artifacts import create_markdown_artifact

        create_markdown_artifact(_markdown(run, outcome), key="costops-run", description="What the run did")
    return outcome


def _markdown(run: Run, outcome: Outcome) -> str:
    lines = [f"# {run.window or 'What is new'}", "", f"- run: `{outcome.run_id}`",
             f"- days changed: **{outcome.days_changed}**"]
    lines += [f"- gate failed: **{_plain(gate)}**" for gate in outcome.failed_gates]
    lines += [f"- not reached: **{_plain(text)}**" for text in outcome.unreachable]
    if outcome.report:
        lines.append(f"- report: `{_plain(outcome.report)}`")
    lines += ["", "| stage | source | outcome | records | findings | detail |", "|---|---|---|---:|---:|---|"]
    lines += ["| " + " | ".join(_plain(str(entry.get(name) if entry.get(name) is not None else "")) for name in (
        "stage", "source", "outcome", "lines_read", "findings", "detail")) + " |"
        for entry in _summed([*run.earlier, *run.entries])]
    return "\n".join(lines)


def _summed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per stage and source, however many days of a backfill told of them."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for entry in entries:
        if entry["entry"] not in ("stage", "source"):
            continue
        key = (entry["stage"], entry.get("source"))
        old = found.get(key)
        if old is None:
            found[key] = dict(entry)
            continue
        outcomes = {old["outcome"], entry["outcome"]}
        old |= {name: old[name] + entry[name] for name in ("lines_read", "findings") if name in old and name in entry}
        old["outcome"] = next(one for one in ("failed", "written", "unchanged") if one in outcomes)
        old["detail"] = old.get("detail") if old.get("detail") == entry.get("detail") else None
    return list(found.values())


def _plain(text: str) -> str:
    """Text that a markdown table cannot be broken with."""
    return "".join(char for char in text if char.isprintable()).replace("|", "\\|").replace("`", "'").replace(
        "[", "(").replace("]", ")").replace("<", "&lt;")
