"""A small workspace with OpenAI logs, and ways to look at its lake."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from costops.flows.command import main
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.objects import open_store
from costops.transforms.tables import TABLE
from tests.unit.flows.spend import Place

NOON = 1_793_275_200    # 2026-10-29T12:00:00Z


def body(number: int, *, at: int = NOON, taken: int = 1_000, made: int = 100, model: str = "gpt-4o-2024-08-06",
         team: str = "search", **more: Any) -> dict[str, Any]:
    """A chat completion as OpenAI answers it."""
    return {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": at, "model": model,
            "service_tier": "default", "metadata": {"team": team},
            "usage": {"prompt_tokens": taken, "completion_tokens": made, "total_tokens": taken + made,
                      "prompt_tokens_details": {"cached_tokens": 0}}, **more}


class Workspace:
    """A folder with a configuration, logs and a lake."""

    def __init__(self, home: Path, lake: str | None = None) -> None:
        self.home = home
        self.lake_uri = lake or str(home / "lake")
        self.sources = '[[sources]]\nname = "openai"\nkind = "openai.requests"\nuri = "logs/*.jsonl*"\n'
        (home / "logs").mkdir(exist_ok=True)
        self.configure()

    def configure(self, more: str = "") -> None:
        """Write costops.toml."""
        (self.home / "costops.toml").write_text(
            f'[workspace]\nlake = "{self.lake_uri}"\npublish = ["reports"]\n{self.sources}\n'
            f'[gates]\nunpriced_share = "1"\nquarantine_share = "1"\n{more}')

    def log(self, name: str, records: Iterable[Any]) -> Path:
        """Write records, or raw text, as lines of a file."""
        path = self.home / "logs" / name
        path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
        return path

    def run(self, *options: str, stages: tuple[str, ...] = ("ingest", "spend")) -> int:
        """`cost-ops run` in this process; its exit code."""
        given = [part for name in stages for part in ("--stage", name)]
        return main(["run", "--config", str(self.home / "costops.toml"), "-q", *given, *options])

    def read(self, name: str) -> pl.DataFrame:
        """A dataset of the lake."""
        lake = Lake(open_store(self.lake_uri), self.home / "scratch")
        return lake.read(TABLE[name])

    def digest(self) -> dict[str, str]:
        """Hash of every file of the lake, without the ledger and the lock."""
        root = Path(self.lake_uri)
        return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(root.rglob("*")) if path.is_file()
                and "run_ledger" not in path.parts and path.name != "lock"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace(tmp_path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A lake to be filled with spend."""
    return Place(tmp_path, monkeypatch)


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[[str], Workspace]:
    """More than one workspace."""

    def make(name: str) -> Workspace:
        (tmp_path / name).mkdir()
        return Workspace(tmp_path / name)

    return make
