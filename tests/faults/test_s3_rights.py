"""The policies of `deploy/iam` are enough, and no more than enough: with checking switched on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from costops.flows.runtime.bucket import Bucket
from costops.flows.tasks.retention import compact
from costops.flows.tasks.run import open_lake
from costops.flows.tasks.verify import uploads_problem
from costops.transforms.errors import Unreachable
from tests.faults.s3 import BUCKET, S3
from tests.faults.scene import STAGES, Nursery, Scene

pytestmark = [pytest.mark.server, pytest.mark.slow]
IAM = Path(__file__).resolve().parents[2] / "deploy" / "iam"


@pytest.fixture
def guarded() -> Iterator[S3]:
    """A server of its own: checking cannot be switched off for one test of many."""
    server = S3().start()
    yield server
    server.stop()


def policy(name: str, scene: Scene, *, without: str | None = None) -> dict[str, Any]:
    """A policy of ours with the scene's places in it, or with one right taken away."""
    text = (IAM / f"{name}.json").read_text()
    for word in ("LOGS_BUCKET", "LAKE_BUCKET", "REPORT_BUCKET"):
        text = text.replace(word, BUCKET)
    for word, folder in (("LOGS_PREFIX", "logs"), ("LAKE_PREFIX", "lake"), ("REPORT_PREFIX", "reports")):
        text = text.replace(word, f"{scene.prefix}/{folder}")
    document: dict[str, Any] = json.loads(text)
    for statement in document["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        statement["Action"] = [one for one in actions if one != without]
    document["Statement"] = [one for one in document["Statement"] if one["Action"]]
    return document


def use(server: S3, scene: Scene, name: str, **more: Any) -> None:
    """From now on the scene runs as a user with that policy."""
    key, secret = server.with_policy(f"{name}-{abs(hash(str(more)))}", policy(name, scene, **more))
    scene.env |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}


def test_a_run_passes_with_exactly_the_writers_policy(
        guarded: S3, tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path / "rights", s3=guarded, days=2)
    _logs_into_the_bucket(guarded, scene)
    use(guarded, scene, "writer")
    guarded.check_rights()
    nursery.start("run", scene.env, config=scene.config, stages=STAGES)
    assert nursery.wait() == 0
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, scene.env[name])
    from costops.flows.runtime.settings import load

    with open_lake(load(scene.config)) as lake:
        compact(lake)
    guarded.check_rights(on=False)
    assert scene.broken() == []
    assert any(key.startswith("lake/core_charge/source=openai/") for key in scene.tree())


@pytest.mark.parametrize(("without", "says"), [
    ("s3:PutObject", "cannot write (permission denied)"),
    ("s3:GetObject", "cannot read (permission denied)"),
    ("s3:ListBucket", "cannot list (permission denied)"),
])
def test_each_right_that_is_missing_is_named(
        guarded: S3, tmp_path: Path, without: str, says: str) -> None:
    scene = Scene(tmp_path / "rights", s3=guarded, days=1)
    use(guarded, scene, "writer", without=without)
    guarded.check_rights()
    code, said = scene.run()
    assert code in (3, 4)
    assert says in said
    assert f"s3://{BUCKET}/" in said
    assert scene.env["AWS_SECRET_ACCESS_KEY"] not in said
    assert "Traceback" not in said


def test_a_reader_reads_and_can_change_nothing(
        guarded: S3, tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path / "rights", s3=guarded, days=1)
    nursery.start("run", scene.env, config=scene.config, stages=STAGES)
    assert nursery.wait() == 0
    use(guarded, scene, "reader")
    guarded.check_rights()
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, scene.env[name])
    lake = Bucket(f"s3://{BUCKET}/{scene.prefix}/lake")
    assert len(list(lake.list("core_charge/"))) == 3
    assert lake.read("catalog.sql")
    for change in (lambda: lake.put("x", b"1"), lambda: lake.delete("catalog.sql")):
        with pytest.raises(Unreachable, match="permission denied"):
            change()


def test_rights_lost_in_mid_run_are_3_and_the_rerun_is_the_same(
        guarded: S3, tmp_path: Path, nursery: Nursery) -> None:
    """Checking is switched on while the run is stopped: its key, root's, is known to nobody."""
    import os
    import signal

    from tests.faults.test_crashes import until_stopped

    whole, scene = Scene(tmp_path / "whole", days=2), Scene(tmp_path / "rights", s3=guarded, days=2)
    pid = nursery.start("run", {**scene.env, "COSTOPS_FAULT": "before_commit:6:stop"}, config=scene.config, stages=STAGES)
    until_stopped(pid)
    guarded.check_rights()
    os.kill(pid, signal.SIGCONT)
    assert nursery.wait() in (3, 4)
    guarded.check_rights(on=False)
    for place in (scene, whole):
        nursery.start("run", place.env, config=place.config, stages=STAGES)
        assert nursery.wait() == 0
    assert scene.tree() == whole.tree()


def test_an_upload_that_nobody_ended_is_told_by_the_doctor_and_is_no_object(
        guarded: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in guarded.env.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{BUCKET}/open/lake"
    assert uploads_problem(uri) is None
    begun = guarded.client().create_multipart_upload(Bucket=BUCKET, Key="open/lake/core_charge/x.parquet")
    guarded.client().upload_part(Bucket=BUCKET, Key="open/lake/core_charge/x.parquet", PartNumber=1,
                                 UploadId=begun["UploadId"], Body=b"half")
    assert "1 uploads were begun" in str(uploads_problem(uri))
    assert list(Bucket(uri).list()) == []


def _logs_into_the_bucket(server: S3, scene: Scene) -> None:
    """The inputs too are read with the policy's rights."""
    for path in (scene.folder / "logs").rglob("*.jsonl"):
        server.client().put_object(Bucket=BUCKET, Key=f"{scene.prefix}/{path.relative_to(scene.folder)}",
                                   Body=path.read_bytes())
    config = Path(scene.config)
    config.write_text(config.read_text().replace('uri = "logs/', f'uri = "s3://{BUCKET}/{scene.prefix}/logs/'))
