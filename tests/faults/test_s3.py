"""A lake in a bucket: the same bytes as on a disk, whoever else writes and whatever the network does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from costops.flows.runtime import lease
from costops.flows.runtime.bucket import Bucket
from costops.flows.runtime.lake import Lake
from costops.flows.runtime.lease import Lease
from costops.transforms.errors import Conflict, Refused, Unreachable
from tests.faults.rivals import rivals
from tests.faults.s3 import BUCKET, S3
from tests.faults.scene import OLD, PATH, STAGES, Nursery, Scene

pytestmark = [pytest.mark.server]
WORDS = [word for name in STAGES for word in ("--stage", name)]


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
    assert json.loads(holder.peek(lease.KEY)[0] or b"{}")["holder"]
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
    children = [bucket.start("run", *WORDS, env={"COSTOPS_LOCK_WAIT": wait}) for wait in ("120", "0")]
    codes = [child.wait(180) for child in children]
    assert codes[0] == 0
    assert codes[1] in (0, 4)
    assert run(nursery, disk) == 0
    assert bucket.tree() == disk.tree()


def test_two_backfills_that_share_a_day_commit_each_partition_once(
        nursery: Nursery, versions: S3, tmp_path: Path) -> None:
    both, one = Scene(tmp_path / "both", s3=versions, days=3), Scene(tmp_path / "one", days=3)
    spans = [("2026-09-01", "2026-09-02"), ("2026-09-02", "2026-09-03")]
    children = [both.start("backfill", "--from", start, "--to", end, *WORDS, env={"COSTOPS_LOCK_WAIT": "120"})
                for start, end in spans]
    said = [child.communicate(timeout=180) for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    for start, end in spans:
        nursery.start("backfill", one.env, config=one.config, start=start, end=end, stages=STAGES)
        assert nursery.wait() == 0
    assert lake_of(both) == lake_of(one)
    made = {key: times for key, times in versions.versions(both.prefix).items() if key.startswith("lake/core_charge/")}
    assert len(made) == 9
    assert set(made.values()) == {1}, "one commit per partition, whoever was first"


KEY = "core_charge/source=openai/day=2026-09-02/part-0.parquet"


@pytest.mark.parametrize("reader", ["the other", "we"])
def test_a_step_whose_base_was_replaced_starts_again_on_the_new_one(
        nursery: Nursery, versions: S3, disk: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str) -> None:
    """The lease is out of the way: another writer does the whole window between our look at a partition and our commit.

    A file was delivered besides, which only the other or only we have read: its rows are there once in the end.
    """
    ours, other = (Scene(tmp_path / f"{name}-{reader[-1]}", s3=versions, days=3) for name in ("ours", "other"))
    deliver(disk, other if reader == "the other" else ours)
    assert run(nursery, disk) == run(nursery, other) == 0
    refused: list[str] = []
    swap = Bucket.swap

    def late(self: Bucket, key: str, *more: Any) -> Any:
        if key != KEY or refused:
            return swap(self, key, *more)
        deliver(ours)
        commit_all(versions, other, ours)
        with pytest.raises(Conflict) as told:
            swap(self, key, *more)
        refused.append(str(told.value))
        raise told.value

    monkeypatch.setattr(Bucket, "swap", late)
    assert run_here(ours, monkeypatch) == 0
    assert len(refused) == 1
    assert ours.tree() == disk.tree()
    assert versions.versions(ours.prefix)[f"lake/{KEY}"] == (1 if reader == "the other" else 2)


def test_who_starts_again_notes_anew_which_sums_are_owed(s3: S3, tmp_path: Path) -> None:
    """Else a kill after the second try's commit would leave sums that no later run has a reason to touch."""
    lake, day = Lake(store("owed"), tmp_path), date(2026, 9, 2)
    lake.owe([day])
    Lake(store("owed"), tmp_path).settled()
    lake.forget()
    lake.owe([day])
    assert Lake(store("owed"), tmp_path).owed() == {day}


def deliver(*scenes: Scene) -> None:
    """One more file of the second day."""
    for scene in scenes:
        more = scene.folder / "logs/openai/more.jsonl"
        more.write_bytes((more.parent / "2026-09-02.jsonl").read_bytes().replace(b"chatcmpl-", b"chatcmpl-m"))
        os.utime(more, OLD)


def commit_all(server: S3, done: Scene, target: Scene) -> None:
    """Make the target's lake what another writer's is: all that differs is put or deleted, the lease left alone."""
    client, there, here = server.client(), lake_of(done), lake_of(target)
    for key in there.keys() | here.keys():
        place = {"Bucket": server.bucket, "Key": f"{target.prefix}/{key}"}
        if key not in there:
            client.delete_object(**place)
        elif there[key] != here.get(key):
            client.put_object(**place, Body=there[key])


def lake_of(scene: Scene) -> dict[str, bytes]:
    return {key: body for key, body in scene.tree().items() if key.startswith("lake/")}


def run_here(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> int:
    """The nightly run in this process."""
    from costops.flows.nightly import nightly

    for name, value in scene.env.items():
        if name.startswith(("AWS_", "COSTOPS_")):
            monkeypatch.setenv(name, value)
    code: int = nightly.fn(config=scene.config, stages=STAGES).exit_code
    return code


def test_what_another_wrote_that_nobody_can_read_is_not_overwritten(bucket: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    swap = Bucket.swap

    def late(self: Bucket, key: str, *more: Any) -> Any:
        if key == KEY and not done:
            done.append(key)
            self._api.put(self._store, key, b"of another writer")
        return swap(self, key, *more)

    monkeypatch.setattr(Bucket, "swap", late)
    with pytest.raises(Refused, match="damaged"):
        run_here(bucket, monkeypatch)
    assert done == [KEY]
    assert bucket.tree()[f"lake/{KEY}"] == b"of another writer"


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
