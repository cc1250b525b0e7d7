"""Objects by key: one interface on a folder and in a bucket, atomic to the last step."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from costops.flows.runtime.objects import Folder, Store, open_store
from costops.transforms.errors import Refused, Unreachable, Usage

KEYS = ["plain", "a/b/day=2026-10-01/part-0.parquet", "with space", "plus+sign", "per%cent", "per%20cent", "eq=ual",
        "ha#sh", "quo'te", "a&b?c", "tilde~", "ünï/çode", "comma,semi;colon"]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A real S3 server on loopback, with a bucket."""
    from moto.server import ThreadedMotoServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    given = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "test",
             "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    import boto3

    boto3.client("s3", endpoint_url=given["AWS_ENDPOINT_URL"], region_name="us-east-1").create_bucket(Bucket="bucket")
    yield "s3://bucket"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A folder, then a prefix in a bucket: every test runs on both."""
    if request.param == "folder":
        return open_store("store", base=tmp_path)
    return open_store(f"{request.getfixturevalue('s3')}/{tmp_path.name}")


@pytest.mark.parametrize("key", KEYS)
def test_any_key_comes_back_with_its_bytes(store: Store, tmp_path: Path, key: str) -> None:
    assert store.read(key) is None
    assert store.fetch(key, tmp_path / "scratch") is None
    assert store.put(key, b"one")
    assert store.read(key) == b"one"
    assert [item.key for item in store.list()] == [key]
    local = store.fetch(key, tmp_path / "scratch")
    assert local is not None
    assert local.read_bytes() == b"one"
    store.delete(key)
    store.delete(key)
    assert list(store.list()) == []


def test_the_same_bytes_are_left_alone(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "made"
    source.write_bytes(b"x" * 70_000)
    assert store.put("k", source)
    before = next(iter(store.list()))
    assert not store.put("k", source)
    assert not store.put("k", b"x" * 70_000)
    assert next(iter(store.list())) == before
    assert store.put("k", b"x" * 69_999 + b"y")
    assert next(iter(store.list())).version != before.version


def test_create_is_for_the_first_only(store: Store) -> None:
    assert store.create("k", b"mine")
    assert not store.create("k", b"yours")
    assert store.read("k") == b"mine"


def test_a_prefix_lists_its_own_in_key_order(store: Store) -> None:
    for key in ("b/2", "a/1", "b/1", "bc/1"):
        store.put(key, b"")
    assert [item.key for item in store.list("b/")] == ["b/1", "b/2"]
    assert [item.key for item in store.list("none/")] == []


def test_same_bytes_keep_the_time_of_a_file(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    store.put("k", b"one")
    os.utime(tmp_path / "k", ns=(1, 1))
    assert not store.put("k", b"one")
    assert (tmp_path / "k").stat().st_mtime_ns == 1


def test_hidden_files_are_not_listed(tmp_path: Path) -> None:
    for name in ("seen", ".hidden", ".folder/file", "folder/.part.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item.key for item in Folder(tmp_path).list()] == ["seen"]


def test_a_link_to_nothing_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "seen").touch()
    assert [item.key for item in Folder(tmp_path).list()] == ["seen"]


@pytest.mark.parametrize(("point", "left"), [
    ("after_temp_write", b"old"), ("before_commit", b"old"), ("after_commit", b"new")])
def test_a_put_that_is_killed_shows_the_old_bytes_or_the_new(tmp_path: Path, point: str, left: bytes) -> None:
    (tmp_path / "part-0.parquet").write_bytes(b"old")
    code = ("import sys\nfrom pathlib import Path\nfrom costops.flows.runtime.objects import Folder\n"
            "Folder(Path(sys.argv[1])).put('part-0.parquet', b'new')")
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, env={
        **os.environ, "COSTOPS_FAULT": f"{point}:1:kill", "COSTOPS_TESTING": "1"})
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "part-0.parquet").read_bytes() == left
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["part-0.parquet"]
    assert Folder(tmp_path).put("part-0.parquet", b"new") is (left == b"old")
    assert [item.key for item in Folder(tmp_path).list()] == ["part-0.parquet"]


def test_a_planted_fault_needs_the_second_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTOPS_FAULT", "before_commit:1:raise")
    monkeypatch.delenv("COSTOPS_TESTING", raising=False)
    assert Folder(tmp_path).put("k", b"one")
    monkeypatch.setenv("COSTOPS_TESTING", "1")
    with pytest.raises(Refused, match="cannot be written"):
        Folder(tmp_path).put("k", b"two")
    assert (tmp_path / "k").read_bytes() == b"one"


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot be written"):
        Folder(tmp_path / "file").put("k", b"")


def test_an_unknown_scheme_is_a_usage_error() -> None:
    with pytest.raises(Usage, match="scheme 'ftp' is not known"):
        open_store("ftp://host/x")


@pytest.mark.server
def test_a_bucket_that_is_not_there_is_named_and_nothing_secret(s3: str) -> None:
    with pytest.raises((Unreachable, Refused)) as failed:
        open_store("s3://no-such-bucket/x").put("k", b"")
    assert "s3://no-such-bucket/x/k" in str(failed.value)
    assert "Signature" not in str(failed.value)
