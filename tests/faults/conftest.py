"""One S3 server and one nursery for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.s3 import S3
from tests.faults.scene import Nursery, Scene
from tests.unit.flows.conftest import make_workspace  # noqa: F401  a fixture


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    server = S3().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def versions(s3: S3) -> S3:
    return s3.with_versions()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    made = Nursery({"POLARS_MAX_THREADS": "2"})
    yield made
    made.close()


@pytest.fixture
def disk(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "disk", days=3)


@pytest.fixture
def bucket(tmp_path: Path, s3: S3) -> Scene:
    return Scene(tmp_path / f"bucket-{abs(hash(tmp_path)) % 10**8}", s3=s3, days=3)


@pytest.fixture(autouse=True)
def _s3_environment(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in the test's own process finds the server too."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
