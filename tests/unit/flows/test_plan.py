"""What a backfill says before it begins."""

from __future__ import annotations

from datetime import date

from costops.flows.runtime.settings import load
from costops.flows.tasks.plan import outline
from costops.flows.tasks.run import open_lake
from costops.transforms.window import Window
from tests.unit.flows.conftest import Workspace, body

DAYS = Window(date(2026, 10, 28), date(2026, 10, 30))


def told(workspace: Workspace) -> dict[str, object]:
    """The one row of the outline."""
    settings = load(str(workspace.home / "costops.toml"))
    with open_lake(settings, write=False) as lake:
        return outline(lake, settings, DAYS, ()).row(0, named=True)


def test_the_outline_counts_files_that_were_not_read_yet(workspace: Workspace) -> None:
    inside = workspace.log("2026-10-29.jsonl", [body(number) for number in range(50)])
    workspace.log("2026-09-01.jsonl", [body(100)])
    without_day = workspace.log("all.jsonl", [body(200)] * 9)
    size = round((inside.stat().st_size + without_day.stat().st_size) / 1e6, 1)
    assert told(workspace) == {"source": "openai", "days": 2, "partitions": 0, "inputs": 0, "records": 0,
                               "new_inputs": 2, "new_mb": size}
    assert workspace.run() == 0
    after = told(workspace)
    assert (after["partitions"], after["new_inputs"], after["new_mb"]) == (1, 0, 0.0)
    assert after["inputs"] == 3


def test_the_outline_of_a_source_that_is_not_there_says_nothing_of_new_files(workspace: Workspace) -> None:
    workspace.sources = workspace.sources.replace("logs/*.jsonl*", "gone/logs.jsonl")
    workspace.configure()
    assert told(workspace)["new_inputs"] is None
