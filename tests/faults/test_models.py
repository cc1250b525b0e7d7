"""The kept forecast model damaged, changed, of another version or gone: refused before it is read, and fitted anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from costops.flows.runtime.logs import LOGGER
from costops.flows.tasks import outlook
from costops.flows.tasks.kept import MODEL_KEY, read_model
from costops.models.store import FORMAT, VERSION
from tests.unit.flows.spend import Place, usual

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A night that found no model, and fitted one."""
    with pytest.MonkeyPatch.context() as patch:
        made = Place(tmp_path_factory.mktemp("whole"), patch)
        made.fill(usual())
        made.do(outlook.forecast)
        yield made


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda body: body[: len(body) // 2], "empty": lambda _: b"",
    "one bit": lambda body: body[:5000] + bytes([body[5000] ^ 1]) + body[5001:],
    "older version": lambda body: body.replace(f"{FORMAT} {VERSION} ".encode(), f"{FORMAT} {VERSION - 1} ".encode(), 1),
    "newer version": lambda body: body.replace(f"{FORMAT} {VERSION} ".encode(), f"{FORMAT} {VERSION + 1} ".encode(), 1),
    "another file": lambda _: b"\x80\x04\x95 a pickle", "no text": lambda _: b"\xff" * 4096,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_model_that_is_not_the_one_that_was_written_is_refused(whole: Place, tmp_path: Path, how: str,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(LOGGER, "warning", lambda text, *values: told.append(text % values))
    with whole.run() as run:
        good = run.lake.store.read(MODEL_KEY)
        assert read_model(run.lake) is not None
        assert told == []
        try:
            run.lake.store.put(MODEL_KEY, DAMAGE[how](good))
            assert read_model(run.lake) is None
        finally:
            run.lake.store.put(MODEL_KEY, good)
    assert any(text.startswith(f"{MODEL_KEY}: ") and text.endswith("; it is fitted anew") for text in told), told


def test_a_night_that_finds_a_damaged_model_fits_anew_and_has_the_bytes_of_one_that_found_none(
        whole: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hit = Place(tmp_path, monkeypatch)
    hit.fill(usual())
    model = hit.home / "lake" / MODEL_KEY
    model.parent.mkdir()
    model.write_bytes(DAMAGE["truncated"]((whole.home / "lake" / MODEL_KEY).read_bytes()))
    hit.do(outlook.forecast)
    found = pl.read_parquet(hit.home / "lake/core_finding/**/source=forecast_model/*.parquet")
    assert found.select("reason", "severity", "uri", "actual").row(0)[:3] == ("model_refused", "warning", MODEL_KEY)
    assert "sha256 of the model is" in found["actual"][0]
    assert {key: one for key, one in hashes(hit).items() if "source=forecast_model" not in key} == hashes(whole)


def hashes(place: Place) -> dict[str, str]:
    root = place.home / "lake"
    return {key: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()
            and not (key := path.relative_to(root).as_posix()).startswith(("run_ledger/", "_state/lock", "catalog"))}
