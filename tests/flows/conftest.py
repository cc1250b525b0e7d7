"""A small workspace from the samples, and one Prefect server for all tests that need one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from costops.flows.runtime.settings import Settings, load
from tests.faults.scene import CONFIG, SAMPLES
from tests.flows.server import Prefect

PLACES = {"openai": "openai/requests", "anthropic": "anthropic/messages", "litellm": "litellm/spend_logs"}


def make(folder: Path, *, days: int = 3, extra: str = "", lake: str = "lake", reports: str = "reports") -> Path:
    """A workspace of the first days of September; the path of its configuration."""
    for name, place in PLACES.items():
        (folder / "logs" / name).mkdir(parents=True, exist_ok=True)
        for number in range(1, days + 1):
            source = SAMPLES / place / f"2026-09-{number:02d}.jsonl"
            if source.exists():
                shutil.copyfile(source, folder / "logs" / name / source.name)
    config = folder / "costops.toml"
    config.write_text(CONFIG.format(lake=lake, reports=reports) + extra)
    return config


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings of a fresh workspace."""
    monkeypatch.setenv("COSTOPS_NOW", "2026-09-07T06:00:00+00:00")

    def fresh(name: str = "w", **given: object) -> Settings:
        return load(str(make(tmp_path / name, **given)))  # type: ignore[arg-type]

    return fresh


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """Server, worker and deployments over one workspace. COSTOPS_TEST_DATABASE names a database instead of SQLite."""
    folder = tmp_path_factory.mktemp("prefect")
    config = make(folder / "workspace")
    server = Prefect(folder / "server", config=config, database=os.environ.get("COSTOPS_TEST_DATABASE"))
    server.env["COSTOPS_NOW"] = "2026-09-07T06:00:00+00:00"
    try:
        server.start().deploy()
        server.worker()
        yield server
    finally:
        server.stop()
