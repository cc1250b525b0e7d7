"""A lake in a bucket: the same bytes as on a disk, whoever else writes and whatever the network does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from costops.flows.runtime.bucket import Bucket
from costops.flows.runtime.lease import KEY, Lease
from costops.transforms.errors import Conflict, Refused, Unreachable
from tests.faults.rivals import rivals
from tests.faults.s3 import BUCKET, S3
from tests.faults.scene import PATH, STAGES, Nursery, Scene

pytestmark = [pytest.mark.server]


def run(nursery: Nursery, scene: Scene, env: dict[str, str] | None = None) -> int:
    nursery.start("run", {**scene.env, **(env or {})}, config=scene.config, stages=STAGES)
    return nursery.wait()


def store(name: str) -> Bucket:
    made = Bucket(f"s3://{BUCKET}/{name}")
    made.fence()
    return made


def test_a_lake_in_a_bucket_has_the_bytes_of_one_on_disk(nursery: Nursery, disk: Scene, bucket: Scene) -> None:
    assert run(nursery, disk) == run(nursery, bucket) == 0
    assert bucket.tree() == disk.tree()
    assert run(nursery, bucket) == 0
    assert bucket.tree() == disk.tree()


def test_who_comes_second_is_refused_and_nothing_is_lost(s3: S3) -> None:
    one, other = store("swap"), store("swap")
    one.put("k", b"1")
    assert other.read("k") == b"1"
    one.put("k", b"2")
    with pytest.raises(Conflict):
        other.put("k", b"3")
    assert one.peek("k")[0] == b"2"
    other.forget()
    assert other.read("k") == b"2"
    assert other.put("k", b"3")


def test_a_delete_of_what_another_replaced_is_refused(s3: S3) -> None:
    one, other = store("delete"), store("delete")
    one.put("k", b"1")
    other.read("k")
    one.put("k", b"2")
    with pytest.raises(Conflict):
        other.delete("k")
    assert one.peek("k")[0] == b"2"


def test_ten_writers_lose_no_update(s3: S3) -> None:
    counter = store("storm")
    counter.put("n", b"0")

    def add(who: int) -> None:
        done = 0
        while done < 8:
            mine = store("storm")
            try:
                mine.put("n", b"%d by %d" % (int((mine.read("n") or b"0").split()[0]) + 1, who))
                done += 1
            except Conflict:
                continue

    threads = [threading.Thread(target=add, args=(who,)) for who in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (counter.peek("n")[0] or b"").split()[0] == b"80"


def test_a_store_that_is_gone_is_named_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-value")
    gone = Bucket(f"s3://{BUCKET}/gone")
    gone._store = __import__("obstore").store.from_url(
        gone.uri, endpoint="http://127.0.0.1:9", client_options={"allow_http": True}, region="us-east-1",
        retry_config={"max_retries": 0})
    with pytest.raises(Unreachable) as told:
        gone.read("k")
    assert f"s3://{BUCKET}/gone/k: cannot read" in str(told.value)
    assert "canary" not in str(told.value)


# -- one writer at a time --------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_while_the_lease_holds_and_its_number_only_grows(s3: S3) -> None:
    first, second = Lease(store("lease")), Lease(store("lease"))
    first.acquire()
    with pytest.raises(Refused, match="another run is writing"):
        second.acquire()
    first.release()
    second.acquire()
    assert (first.token, second.token) == (1, 2)
    second.release()


def test_a_dead_holder_on_this_machine_is_recognised_at_once(s3: S3) -> None:
    holder = store("dead")
    code = ("import os; from costops.flows.runtime.bucket import Bucket; from costops.flows.runtime.lease import Lease; "
            f"Lease(Bucket('s3://{BUCKET}/dead'), seconds=600).acquire(); os._exit(0)")
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": PATH}, check=True, timeout=60)
    assert json.loads(holder.peek(KEY)[0] or b"{}")["holder"]
    began = time.monotonic()
    Lease(store("dead")).acquire()
    assert time.monotonic() - began < 5


def test_a_holder_stopped_longer_than_its_lease_is_refused_and_the_second_run_counts(
        nursery: Nursery, disk: Scene, bucket: Scene) -> None:
    """SIGSTOP in mid-run, the lease ends, another run does everything, SIGCONT: exit code 4 and no byte changed."""
    env = {"COSTOPS_LEASE_SECONDS": "2", "COSTOPS_FAULT": "before_commit:6:stop"}
    pid = nursery.start("run", {**bucket.env, **env}, config=bucket.config, stages=STAGES)
    deadline = time.monotonic() + 60
    while _state(pid) != "T":
        assert time.monotonic() < deadline, "it never stopped"
        time.sleep(0.05)
    code, said = bucket.run(env={"COSTOPS_LEASE_SECONDS": "2"})
    assert code == 4, f"the lease of a stopped holder still holds: {said}"
    time.sleep(4.5)
    code, said = bucket.run(env={"COSTOPS_LEASE_SECONDS": "20"})
    assert code == 0, said
    done = bucket.tree()
    os.kill(pid, signal.SIGCONT)
    assert nursery.wait() == 4
    assert bucket.tree() == done
    assert run(nursery, disk) == 0
    assert done == disk.tree()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_two_runs_at_once_end_as_one(nursery: Nursery, disk: Scene, bucket: Scene) -> None:
    children = [bucket.start("run", *(word for name in STAGES for word in ("--stage", name)),
                             env={"COSTOPS_LOCK_WAIT": wait}) for wait in ("120", "0")]
    codes = [child.wait(180) for child in children]
    assert codes[0] == 0
    assert codes[1] in (0, 4)
    assert run(nursery, disk) == 0
    assert bucket.tree() == disk.tree()


def test_two_backfills_that_share_a_day_commit_each_partition_once(
        nursery: Nursery, versions: S3, tmp_path: Path) -> None:
    both, one = Scene(tmp_path / "both", s3=versions, days=3), Scene(tmp_path / "one", days=3)
    spans = [("2026-09-01", "2026-09-02"), ("2026-09-02", "2026-09-03")]
    words = [word for name in STAGES for word in ("--stage", name)]
    first = both.start("backfill", "--from", spans[0][0], "--to", spans[0][1], *words, env={"COSTOPS_LOCK_WAIT": "120"})
    second = both.start("backfill", "--from", spans[1][0], "--to", spans[1][1], *words, env={"COSTOPS_LOCK_WAIT": "120"})
    said = [child.communicate(timeout=180) for child in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    for start, end in spans:
        nursery.start("backfill", one.env, config=one.config, start=start, end=end, stages=STAGES)
        assert nursery.wait() == 0
    charges = "lake/core_charge/"
    assert {key: body for key, body in both.tree().items() if key.startswith(charges)} == {
        key: body for key, body in one.tree().items() if key.startswith(charges)}
    made = {key: times for key, times in versions.versions(both.prefix).items() if key.startswith(charges)}
    assert len(made) == 9
    assert set(made.values()) == {1}, "one commit per partition, whoever was first"


def test_a_step_whose_base_was_replaced_starts_again_on_the_new_one(
        disk: Scene, bucket: Scene, nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is out of the way: another writer replaces a partition between our look at it and our commit."""
    from costops.flows.nightly import nightly

    key = "core_charge/source=openai/day=2026-09-02/part-0.parquet"
    done: list[str] = []
    swap = Bucket.swap

    def late(self: Bucket, name: str, body: bytes, *more: object) -> object:
        if name == key and not done:
            done.append(name)
            self._api.put(self._store, name, b"of another writer")
        return swap(self, name, body, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Bucket, "swap", late)
    for name, value in bucket.env.items():
        if name.startswith(("AWS_", "COSTOPS_")):
            monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match="damaged"):
        nightly.fn(config=bucket.config, stages=STAGES)
    assert done == [key]
    assert bucket.tree()[f"lake/{key}"] == b"of another writer", "what it did not know it did not overwrite"


def test_rival_writers_that_are_killed_leave_one_commit_per_partition(tmp_path: Path) -> None:
    tally = rivals(2, seed=int(os.environ.get("COSTOPS_SEED", "9")))
    assert tally.kills >= 2
    assert tally.wrong == []


def test_keys_with_signs_and_pages_of_one_are_all_read(s3: S3) -> None:
    names = ["a+b", "a b", "ä-ö", "a=b", "x~y", "p(1)"]
    mine = store("odd")
    for name in names:
        mine.put(f"{name}/k.jsonl", name.encode())
    found = {item.key for item in mine.list()}
    assert found == {f"{name}/k.jsonl" for name in names}
    assert all(mine.read(f"{name}/k.jsonl") == name.encode() for name in names)
