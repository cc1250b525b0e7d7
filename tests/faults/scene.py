"""A small workspace on disk or in a bucket, runs of it in processes that can be killed, and its digest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from tests.faults.s3 import S3

REPO = Path(__file__).resolve().parents[2]
PATH = f"{REPO}{os.pathsep}{REPO / 'src'}"
SAMPLES = REPO / "data" / "samples" / "logs"
NOW = "2026-09-07T06:00:00+00:00"
DAYS = ("2026-09-01", "2026-09-06")
STAGES = ["ingest", "price", "spend", "publish"]
CONFIG = """[workspace]
lake = "{lake}"
publish = ["{reports}"]
[[sources]]
name = "openai"
kind = "openai.requests"
uri = "logs/openai/*.jsonl"
primary_over = ["litellm"]
[[sources]]
name = "anthropic"
kind = "anthropic.messages"
uri = "logs/anthropic/*.jsonl"
[[sources]]
name = "litellm"
kind = "litellm.spend_logs"
uri = "logs/litellm/*.jsonl"
[gates]
unpriced_share = "1"
quarantine_share = "1"
"""


BILL = """[[sources]]
name = "acme-bill"
kind = "generic.bill"
uri = "bills/*.csv"
issuer = "openai"
account_id = "acme"
"""
OLD = (1_790_000_000, 1_790_000_000)
"""Times of every input, so that two scenes are alike to the second."""


class Scene:
    """One workspace. `s3` puts lake and reports into a bucket, below a prefix of the scene's own; `bill` adds a bill
    of September, so that the month can be closed."""

    def __init__(self, folder: Path, *, s3: S3 | None = None, days: int = 6, bill: bool = False, extra: str = "") -> None:
        self.folder, self.s3 = folder, s3
        self.prefix = folder.name
        folder.mkdir(parents=True, exist_ok=True)
        base = f"s3://{s3.bucket}/{self.prefix}/" if s3 else ""
        (folder / "costops.toml").write_text(CONFIG.format(lake=f"{base}lake", reports=f"{base}reports")
                                             + (BILL if bill else "") + extra)
        if bill:
            self.bill({"gpt-5-mini": "1.25", "gpt-4o": "3.50"})
        for name, place in (("openai", "openai/requests"), ("anthropic", "anthropic/messages"),
                            ("litellm", "litellm/spend_logs")):
            (folder / "logs" / name).mkdir(parents=True, exist_ok=True)
            for number in range(1, days + 1):
                source = SAMPLES / place / f"2026-09-{number:02d}.jsonl"
                if source.exists():
                    target = folder / "logs" / name / source.name
                    shutil.copyfile(source, target)
                    os.utime(target, OLD)
        self.env = {**{key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")},
                    **(s3.env if s3 else {}), "COSTOPS_NOW": NOW, "COSTOPS_TESTING": "1", "PREFECT_HOME":
                    str(folder / "prefect"), "COSTOPS_SCRATCH": str(folder), "PYTHONPATH": PATH}

    def bill(self, amounts: Mapping[str, str], name: str = "2026-09.csv") -> Path:
        """A bill of September: USD per model."""
        path = self.folder / "bills" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("month,model,meter,tokens,amount_usd\n" + "".join(
            f"2026-09,{model},input,1000000,{amount}\n" for model, amount in amounts.items()))
        os.utime(path, OLD)
        return path

    @property
    def config(self) -> str:
        return str(self.folder / "costops.toml")

    def tree(self) -> dict[str, bytes]:
        """Everything in lake and reports, hidden files too; without what tells when a run was, and the lock."""
        if self.s3:
            found = self.s3.objects(self.prefix)
        else:
            found = {path.relative_to(self.folder).as_posix(): path.read_bytes()
                     for name in ("lake", "reports") for path in (self.folder / name).rglob("*") if path.is_file()}
        return {key: body for key, body in found.items()
                if not key.startswith("lake/run_ledger/") and key != "lake/_state/lock"}

    def digest(self) -> str:
        made = hashlib.sha256()
        for key, body in sorted(self.tree().items()):
            made.update(f"{key}\0{len(body)}\0".encode() + body)
        return made.hexdigest()

    def broken(self) -> list[str]:
        """What a reader of the glob would stumble over, at this moment: Parquet files that are not whole."""
        import polars as pl

        wrong = []
        for key, body in self.tree().items():
            if not key.endswith(".parquet"):
                continue
            try:
                pl.read_parquet(BytesIO(body), hive_partitioning=False)
            except (pl.exceptions.PolarsError, OSError) as error:
                wrong.append(f"{key}: {error}")
        return wrong

    def clear(self) -> None:
        if self.s3:
            client = self.s3.client()
            for key in self.s3.objects(self.prefix):
                client.delete_object(Bucket=self.s3.bucket, Key=f"{self.prefix}/{key}")
        for name in ("lake", "reports"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`cost-ops` in a process of its own."""
        return subprocess.Popen([sys.executable, "-m", "costops.flows.command", *argv, "--config", self.config],
                                env={**self.env, **(env or {})}, cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def call(self, *argv: str, env: Mapping[str, str] | None = None, timeout: float = 120) -> tuple[int, str]:
        """Exit code and what was said on both outputs."""
        child = self.start(*argv, env=env)
        out, err = child.communicate(timeout=timeout)
        return child.returncode, out + err

    def run(self, *more: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The nightly run without the slow stages."""
        return self.call("run", *(word for name in STAGES for word in ("--stage", name)), *more, env=env)


@contextmanager
def scenes(count: int = 1, *, s3: bool = False, **more: Any) -> Iterator[list[Scene]]:
    """Fresh workspaces, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="costops-faults-"))
    server = S3().start() if s3 else None
    try:
        yield [Scene(folder / f"w{number}", s3=server, **more) for number in range(count)]
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Nursery:
    """Children that start in a moment: a process that has everything imported forks for each of them.

    A forked child that is killed is as dead as any other; only the seconds of importing are saved.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        from costops.transforms.prices.book import book

        self.folder = Path(tempfile.mkdtemp(prefix="costops-nursery-"))
        book().write_ipc(self.folder / "book.arrow")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery", str(self.folder / "book.arrow")], cwd=REPO, text=True,
            env={**os.environ, **env, "PYTHONPATH": PATH}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._out.readline().strip() == "ready"

    @property
    def _out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def start(self, call: str, env: Mapping[str, str] | None = None, **arguments: Any) -> int:
        """Fork a child that does `call`; its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"call": call, "env": dict(env or {}), "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        return int(self._out.readline())

    def wait(self) -> int:
        """The exit code of the last child; negative where a signal ended it."""
        return int(self._out.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)
