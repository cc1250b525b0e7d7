"""What a bucket's network does at its worst: lost answers, slow-downs, cut bodies, a slow line, nobody there."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from costops.flows.runtime.bucket import Bucket
from costops.transforms.errors import Unreachable
from tests.faults.proxy import proxied
from tests.faults.s3 import BUCKET, S3
from tests.faults.scene import STAGES, Nursery, Scene

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


def test_slowdown_cut_bodies_and_a_slow_line_end_in_the_same_bytes(
        s3: S3, nursery: Nursery, disk: Scene, bucket: Scene) -> None:
    def plan(method: str, path: str, number: int) -> str | None:
        if number % 5 == 4:
            return "409" if method == "PUT" and number % 2 else "503"
        if method == "GET" and number % 7 == 3:
            return "cut"
        return "slow" if number % 11 == 5 else None

    with proxied(s3.url, plan) as proxy:
        nursery.start("run", {**bucket.env, "AWS_ENDPOINT_URL": proxy.url}, config=bucket.config, stages=STAGES)
        assert nursery.wait() == 0
        asked = [does for _, _, does in proxy.asked]
    nursery.start("run", disk.env, config=disk.config, stages=STAGES)
    assert nursery.wait() == 0
    assert bucket.tree() == disk.tree()
    assert {"503", "409", "cut", "slow"} <= set(asked)
    assert len(asked) < 1500, "retries are bounded"


def test_a_line_of_a_byte_at_a_time_is_waited_for(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
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
