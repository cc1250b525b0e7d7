"""What a bucket's network does at its worst: lost answers, slow-downs, cut bodies, a slow line, nobody there."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from costops.flows.runtime.bucket import Bucket
from costops.transforms.errors import Unreachable
from tests.faults.proxy import proxied
from tests.faults.s3 import BUCKET, S3
from tests.faults.scene import OLD, STAGES, Nursery, Scene

pytestmark = [pytest.mark.server]


@pytest.mark.parametrize("how", ["lose", "503", "409"])
def test_a_put_whose_answer_is_lost_is_known_as_our_own(s3: S3, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The first PUT of the key is done and its answer dropped (`lose`), or refused with 503 or 409 once."""
    hit: list[int] = []

    def plan(method: str, path: str, number: int) -> str | None:
        if method == "PUT" and path.split("?", maxsplit=1)[0].endswith(f"/{how}/k") and not hit:
            hit.append(number)
            return how
        return None

    with proxied(s3.url, plan) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        mine = Bucket(f"s3://{BUCKET}/{how}")
        mine.fence()
        assert mine.read("k") is None
        assert mine.put("k", b"first")
        assert mine.put("k", b"second"), "its version is known, so that the next put is fenced on it"
        assert mine.read("k") == b"second"
        puts = [does for method, _, does in proxy.asked if method == "PUT"]
        assert puts[0] == how
        assert len(puts) == 3, "once for nothing, once more, once for the second: never more"
        assert not any(method == "DELETE" for method, _, _ in proxy.asked)


def grown(nursery: Nursery, *scenes: Scene) -> None:
    """A lake of three days, and one more file for each of them: what is run now reads and replaces every partition."""
    for scene in scenes:
        nursery.start("run", scene.env, config=scene.config, stages=STAGES)
        assert nursery.wait() == 0
        for path in sorted((scene.folder / "logs/openai").glob("2026-*.jsonl")):
            more = path.with_name(f"more-{path.name}")
            more.write_bytes(path.read_bytes().replace(b"chatcmpl-", b"chatcmpl-g"))
            os.utime(more, OLD)


def is_partition(path: str) -> bool:
    return path.partition("?")[0].endswith("/core_charge/source%3Dopenai/day%3D2026-09-02/part-0.parquet")


def test_slowdown_cut_bodies_and_a_slow_line_end_in_the_same_bytes(
        s3: S3, nursery: Nursery, disk: Scene, bucket: Scene) -> None:
    """At a byte a second a partition would take hours: after the time-out it is asked for again."""
    dripped: list[int] = []

    def plan(method: str, path: str, number: int) -> str | None:
        if method == "GET" and is_partition(path) and not dripped:
            dripped.append(number)
            return "drip"
        if number % 5 == 4:
            return "409" if method == "PUT" and number % 2 else "503"
        if method == "GET" and number % 7 in (1, 3):
            return "cut" if number % 7 == 3 else "reset"
        return "slow" if number % 11 == 5 else None

    grown(nursery, disk, bucket)
    with proxied(s3.url, plan) as proxy:
        nursery.start("run", {**bucket.env, "AWS_ENDPOINT_URL": proxy.url, "COSTOPS_STORE_TIMEOUT": "2s"},
                      config=bucket.config, stages=STAGES)
        assert nursery.wait() == 0
        asked = [does for _, _, does in proxy.asked]
        spoiled = {does for _, path, does in proxy.asked if ".parquet" in path}
    nursery.start("run", disk.env, config=disk.config, stages=STAGES)
    assert nursery.wait() == 0
    assert bucket.tree() == disk.tree()
    assert {"503", "409", "slow"} <= set(asked)
    assert {"cut", "reset", "drip"} <= spoiled, "bodies of partitions, not only of small notes"
    assert len(asked) < 1500, "retries are bounded"


@pytest.mark.skipif(not os.environ.get("COSTOPS_LONG"), reason="COSTOPS_LONG=1: minutes of waiting between attempts")
def test_a_partition_that_never_comes_at_all_is_3_and_the_rerun_is_the_same(
        s3: S3, nursery: Nursery, disk: Scene, bucket: Scene) -> None:
    grown(nursery, disk, bucket)
    with proxied(s3.url, lambda method, path, _: "drip" if method == "GET" and is_partition(path) else None) as proxy:
        nursery.start("run", {**bucket.env, "AWS_ENDPOINT_URL": proxy.url, "COSTOPS_STORE_TIMEOUT": "1s"},
                      config=bucket.config, stages=STAGES)
        assert nursery.wait() == 3
        dripped = [does for _, _, does in proxy.asked].count("drip")
        assert dripped <= 5 * 4 * 7, "steps that read it, times our attempts, times those of the library"
    assert bucket.broken() == []
    for scene in (disk, bucket):
        nursery.start("run", scene.env, config=scene.config, stages=STAGES)
        assert nursery.wait() == 0
    assert bucket.tree() == disk.tree()


def test_a_line_of_a_byte_at_a_time_is_waited_for(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes whole within the time-out is taken, however slowly."""
    with proxied(s3.url, lambda method, *_: "drip" if method == "GET" else None) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        mine = Bucket(f"s3://{BUCKET}/drip")
        mine.put("k", b"0123456789")
        assert mine.read("k") == b"0123456789"


def test_a_store_that_is_gone_is_named_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-value")
    with pytest.raises(Unreachable) as told:
        Bucket(f"s3://{BUCKET}/gone").read("k")
    assert f"s3://{BUCKET}/gone/k: cannot read (no answer)" in str(told.value)
    assert "canary" not in str(told.value)


def test_listings_in_pages_of_one_and_odd_keys_are_read_once(
        s3: S3, nursery: Nursery, disk: Scene, bucket: Scene) -> None:
    """Inputs and lake in a bucket whose every listing comes in pages of one key."""
    names = ["a+b", "50%", "a%20b", "x=y", "n#1", "with space", "\u00e4\u00f6-\u65e5\u672c", "plain"]
    client, lines = s3.client(), (disk.folder / "logs/openai/2026-09-01.jsonl").read_bytes().splitlines(keepends=True)
    for number, name in enumerate(names):
        body = b"".join(lines[number::len(names)])
        client.put_object(Bucket=BUCKET, Key=f"{bucket.prefix}/logs/{name}/{name}.jsonl", Body=body)
    config = Path(bucket.config)
    config.write_text(config.read_text().replace('uri = "logs/openai/*.jsonl"',
                                                 f'uri = "s3://{BUCKET}/{bucket.prefix}/logs/*/*.jsonl"'))
    for path in (disk.folder / "logs/openai").glob("*.jsonl"):
        if path.name != "2026-09-01.jsonl":
            path.unlink()

    def plan(method: str, path: str, number: int) -> str | None:
        return "one" if method == "GET" and "list-type=2" in path else None

    with proxied(s3.url, plan) as proxy:
        nursery.start("run", {**bucket.env, "AWS_ENDPOINT_URL": proxy.url}, config=bucket.config, stages=STAGES)
        assert nursery.wait() == 0
        assert [does for _, _, does in proxy.asked].count("one") > 2 * len(names)
    nursery.start("run", disk.env, config=disk.config, stages=STAGES)
    assert nursery.wait() == 0
    rows, expected = (sorted(charges(scene, "openai")) for scene in (bucket, disk))
    assert rows == expected


def charges(scene: Scene, source: str) -> list[tuple[object, ...]]:
    """Record and cost of every charge of a source."""
    return [row for key, body in scene.tree().items() if key.startswith(f"lake/core_charge/source={source}/")
            for row in pl.read_parquet(BytesIO(body), hive_partitioning=False).select(
                "record_id", "list_cost_usd", "counted").iter_rows()]
