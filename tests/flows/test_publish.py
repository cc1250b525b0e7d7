"""Published files on many targets: whole, typed, the same on a disk and in a bucket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from costops.flows.runtime.objects import open_store
from costops.flows.runtime.settings import Settings
from costops.flows.tasks.run import open_run
from costops.flows.tasks.targets import MANIFEST, old_reports, presigned, publish_files
from tests.faults.s3 import BUCKET, S3

Make = Callable[..., Settings]
FILES = {"report.html": b"<p>1", "report.json": b"{}", "t.csv": b"a\n1\n"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    server = S3().start()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


def test_every_target_gets_the_same_bytes_with_types_and_cache_headers(workspace: Make, s3: S3) -> None:
    settings = workspace(days=1)
    targets = ("reports", "mirror", f"s3://{BUCKET}/pub")
    settings = settings.model_copy(update={"workspace": settings.workspace.model_copy(update={"publish": targets})})
    with open_run(settings) as run:
        places = publish_files(settings, FILES, run, folder="nightly/2026-09-07")
    assert places[2] == f"s3://{BUCKET}/pub/nightly/2026-09-07"
    disk = {path.relative_to(settings.home / "reports").as_posix(): path.read_bytes()
            for path in (settings.home / "reports").rglob("*") if path.is_file()}
    assert disk == s3.objects("pub")
    assert set(disk) == {f"{folder}/{name}" for folder in ("nightly/2026-09-07", "latest") for name in (
        *FILES, MANIFEST)}
    told = json.loads(disk[f"latest/{MANIFEST}"])
    assert told["folder"] == "nightly/2026-09-07"
    assert set(told["files"]) == set(FILES)
    head = s3.client().head_object(Bucket=BUCKET, Key="pub/latest/report.html")
    assert (head["ContentType"], head["CacheControl"]) == ("text/html; charset=utf-8", "private, no-cache")
    dated = s3.client().head_object(Bucket=BUCKET, Key="pub/nightly/2026-09-07/t.csv")
    assert (dated["ContentType"], dated["CacheControl"]) == ("text/csv; charset=utf-8", "private, max-age=300")


def test_what_is_no_longer_made_goes_and_what_did_not_change_keeps_its_time(workspace: Make, s3: S3) -> None:
    settings = workspace(days=1)
    targets = ("reports", f"s3://{BUCKET}/again")
    settings = settings.model_copy(update={"workspace": settings.workspace.model_copy(update={"publish": targets})})
    with open_run(settings) as run:
        publish_files(settings, FILES, run, folder="nightly/2026-09-07")
        kept = settings.home / "reports/latest/report.html"
        stamp = kept.stat().st_mtime_ns
        run.wrote = False
        publish_files(settings, FILES, run, folder="nightly/2026-09-07")
        assert not run.wrote
        publish_files(settings, {"report.html": b"<p>1", "report.json": b"{1}"}, run, folder="nightly/2026-09-07")
    assert kept.stat().st_mtime_ns == stamp
    assert sorted(path.name for path in kept.parent.iterdir()) == [MANIFEST, "report.html", "report.json"]
    assert "again/latest/t.csv" not in s3.objects("")


def test_a_target_that_is_down_is_named_and_the_others_are_served(workspace: Make) -> None:
    settings = workspace(days=1)
    (settings.home / "down").write_text("a file where a folder should be")
    targets = ("down", "reports")
    settings = settings.model_copy(update={"workspace": settings.workspace.model_copy(update={"publish": targets})})
    with open_run(settings) as run:
        places = publish_files(settings, FILES, run, folder="nightly/2026-09-07")
    assert places == [str(settings.home / "reports/nightly/2026-09-07")]
    assert run.exit_code == 3
    assert "publish to down" in run.unreachable[0]


def test_old_reports_go_by_their_day_and_reconciliations_stay(tmp_path: Path) -> None:
    for name in ("nightly/2026-08-01/report.html", "nightly/2026-09-06/report.html", "reconciliation/2026-01/report.html",
                 "nightly/notes.txt", "latest/report.html"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    store = open_store(str(tmp_path))
    assert old_reports(store, date(2026, 9, 7), 30) == ["nightly/2026-08-01/report.html"]
    assert old_reports(store, date(2026, 9, 7), 0) == []


def test_a_link_for_people_opens_one_report_for_a_time(workspace: Make, s3: S3) -> None:
    import httpx

    s3.client().put_object(Bucket=BUCKET, Key="pub/report.html", Body=b"<p>")
    link = presigned(f"s3://{BUCKET}/pub/report.html", seconds=60)
    assert "X-Amz-Signature" in link
    assert httpx.get(link).content == b"<p>"
