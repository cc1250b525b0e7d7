"""Shared by all tests: the clock stands still, nothing of the user's machine is read, shared data is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _still_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed clock and no configuration from outside."""
    monkeypatch.setenv("COSTOPS_NOW", "2026-11-05T06:00:00+00:00")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("COSTOPS_CONFIG", "PREFECT_API_URL", "COSTOPS_FAULT"):
        monkeypatch.delenv(name, raising=False)


def shared_data() -> Path:
    """The folder of shared data: COSTOPS_SHARED, or beside the repository. Tests that need it are skipped without."""
    base = Path(os.environ.get("COSTOPS_SHARED", ROOT.parent / "shared")) / "data"
    if not base.is_dir():
        pytest.skip("shared data is not here; set COSTOPS_SHARED")
    return base
