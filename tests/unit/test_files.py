"""Inputs are found by path, folder, pattern or prefix; hidden ones are passed over; a named place must be there."""

from __future__ import annotations

import os
import socket
from datetime import date
from pathlib import Path

import pytest

from costops.flows.sources.files import count_lines, file_day, find, lines, prepare
from costops.transforms.errors import Unreachable, Usage

TREE = ("logs/a.jsonl", "logs/b.jsonl.gz", "logs/deep/er/c.jsonl", "logs/.hidden.jsonl", "logs/.git/d.jsonl",
        "logs/note.txt", "logs/y=2026/m=10/d=01/PT1H.json", "logs/sp ace/e+%.jsonl", "logs/[x].jsonl", "other/f.jsonl")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}\n")
    return tmp_path


def names(uri: str, home: Path) -> list[str]:
    return [found.uri.removeprefix("logs/") for found in find(uri, home)]


@pytest.mark.parametrize(("uri", "want"), [
    ("logs/a.jsonl", ["a.jsonl"]),
    ("logs/*.jsonl", ["[x].jsonl", "a.jsonl"]),
    ("logs/*.jsonl*", ["[x].jsonl", "a.jsonl", "b.jsonl.gz"]),
    ("logs/?.jsonl", ["a.jsonl"]),
    ("logs/**/*.jsonl", ["[x].jsonl", "a.jsonl", "deep/er/c.jsonl", "sp ace/e+%.jsonl"]),
    ("logs/deep", ["deep/er/c.jsonl"]),
    ("logs/*/er/*.jsonl", ["deep/er/c.jsonl"]),
    ("logs/y=*/m=*/d=*/*.json", ["y=2026/m=10/d=01/PT1H.json"]),
    ("logs/[x].jsonl", ["[x].jsonl"]),
    ("logs/*.nothing", []),
    ("nowhere/*.jsonl", []),
])
def test_a_pattern_finds_what_it_names_in_name_order(home: Path, uri: str, want: list[str]) -> None:
    assert sorted(names(uri, home)) == want
    assert names(uri, home) == names(uri, home)


def test_a_folder_gives_every_visible_file(home: Path) -> None:
    assert len(names("logs", home)) == 7
    assert names("logs", home) == names("logs/", home) == names("logs/**", home)


def test_the_name_of_an_input_does_not_depend_on_where_the_workspace_lies(home: Path) -> None:
    inside = find(str(home / "logs" / "a.jsonl"), home)[0]
    assert inside.uri == "logs/a.jsonl"
    assert find("../" + home.name + "/other/f.jsonl", home)[0].uri.endswith("other/f.jsonl")


def test_a_place_that_is_named_must_be_there(home: Path) -> None:
    with pytest.raises(Unreachable, match=r"nowhere/x.jsonl: no such file or folder"):
        find("nowhere/x.jsonl", home)
    with pytest.raises(Usage, match="scheme 'ftp' is not known"):
        find("ftp://host/x", home)


def test_a_file_that_goes_away_between_list_and_read_is_said(home: Path) -> None:
    found = find("logs/a.jsonl", home)[0]
    (home / "logs" / "a.jsonl").unlink()
    with pytest.raises(Unreachable, match="listed, but gone"):
        prepare(found, home / "scratch")


@pytest.mark.server
def test_a_bucket_prefix_finds_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "test",
                            "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1")
        client.create_bucket(Bucket="logs-of-files")
        for name in TREE:
            client.put_object(Bucket="logs-of-files", Key=name, Body=b"{}\n")
        root = "s3://logs-of-files"
        for uri in ("logs", "logs/*.jsonl", "logs/**/*.jsonl", "logs/a.jsonl", "logs/y=*/m=*/d=*/*.json"):
            local = [found.uri for found in find(uri, home)]
            remote = [found.uri.removeprefix(root + "/") for found in find(f"{root}/{uri}", home)]
            assert sorted(remote) == sorted(local)
        one = find(f"{root}/logs/sp ace/e+%.jsonl", home)[0]
        assert prepare(one, home / "scratch").path.read_bytes() == b"{}\n"
    finally:
        server.stop()


@pytest.mark.parametrize(("uri", "want"), [
    ("logs/2026-10-01.jsonl", date(2026, 10, 1)),
    ("x/20261001T000000Z.json", date(2026, 10, 1)),
    ("logs/2026/10/01/x.json", date(2026, 10, 1)),
    ("y=2026/m=10/d=01/h=09/PT1H.json", date(2026, 10, 1)),
    ("as_of=2026-10-31/2026-09-01.csv", date(2026, 9, 1)),
    ("2026-13-45.jsonl", None),
    ("a123202610019.jsonl", None),
    ("a.jsonl", None),
])
def test_the_day_in_a_name(uri: str, want: date | None) -> None:
    assert file_day(uri) == want


def test_raw_text_is_found_by_record_number_over_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one\n\n\ntwo\r\n  \nthree")
    assert lines(path, {2, 3}) == {2: (4, "two\r\n"), 3: (6, "three")}
    assert count_lines(path) == 3
