"""Credentials, prompt text and hostile names, all planted in one run: where they must not be, they are not."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.flows.receivers import web
from tests.flows.server import REPO, Prefect
from tests.replay.server import Provider, serving
from tests.unit.flows.conftest import NOON, body

pytestmark = [pytest.mark.server]
KEY, HOOK, OTHER = "canary-key-8c1f0e7b", "canary-hook-77aa21", "sk-canary0123456789abcdef"
PROMPT = "CANARY the patient has a rash"
NAMES = ["<script>alert('own3d')</script>", "=HYPERLINK(\"http://evil.example\",\"x\")", "@SUM(A1)", "a'b\"c; DROP TABLE x",
         "../../../own3d", "__HIVE_DEFAULT_PARTITION__", "nul\x00byte", "esc\x1b[31mred\x1b]0;t\x07", "rtl\u202etxt",
         "| pipe ` tick [x](javascript:alert(1)) <img src=x onerror=alert(1)>", "line\nbreak", "{{ 7 * 7 }}", "%2e%2e%2f"]
CONFIG = """[workspace]
lake = "lake"
publish = ["reports"]
[[sources]]
name = "openai"
kind = "openai.requests"
uri = "logs/*.jsonl"
[[sources]]
name = "pulled"
kind = "openai.usage"
base_url = "{url}/v1"
api_key_env = "PLANTED_KEY"
start = "2026-10-28"
[notify]
webhook_url_env = "PLANTED_HOOK"
[gates]
unpriced_share = "1"
quarantine_share = "1"
"""


def plant(home: Path, url: str) -> None:
    """Logs with names of every kind, prompts in every field that may hold one, keys in lines that are set aside."""
    (home / "logs").mkdir(parents=True)
    (home / "costops.toml").write_text(CONFIG.format(url=url))
    said = [{"index": 0, "message": {"role": "assistant", "content": PROMPT, "refusal": PROMPT,
                                     "tool_calls": [{"function": {"arguments": PROMPT}}]}}]
    records: list[Any] = [
        {**body(number, at=NOON + number, team=name, model="gpt-4o-2024-08-06" if number % 2 else name), "choices": said,
         "messages": [{"role": "user", "content": PROMPT}], "prompt": PROMPT, "input": [{"text": PROMPT}], "user": name}
        for number, name in enumerate(NAMES)]
    wrong = {**body(900), "choices": said, "api_key": OTHER}
    wrong["usage"]["prompt_tokens"] = -1
    lines = [*map(json.dumps, [*records, wrong]), json.dumps({**body(901), "prompt": PROMPT, "key": OTHER})[:-40],
             f'Authorization: Bearer {OTHER} "content": "{PROMPT}"']
    (home / "logs" / "2026-10-29.jsonl").write_text("\n".join(lines) + "\n")


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Every file as text; Parquet also as its rows."""
    for path in folder.rglob("*"):
        if not path.is_file() or "logs" in path.relative_to(folder).parts:
            continue
        yield str(path), path.read_bytes().decode("utf-8", "replace")
        if path.suffix == ".parquet":
            yield str(path), str(pl.read_parquet(path, hive_partitioning=False).to_dicts())


def test_what_is_planted_is_found_nowhere_it_must_not_be(prefect: Prefect, tmp_path: Path) -> None:
    home = tmp_path / "planted"
    before = {path.name for path in tmp_path.parent.iterdir()}
    with serving(Provider(keys=frozenset({"another"}))) as url, web() as hook:
        plant(home, url)
        hook.fail = 99
        env = {**prefect.env, "PLANTED_KEY": KEY, "PLANTED_HOOK": f"{hook.url}/{HOOK}", "COSTOPS_NOW":
               "2026-10-31T06:00:00+00:00", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        stages = [word for name in ("ingest", "price", "spend", "detect", "publish") for word in ("--stage", name)]
        words = ["-m", "costops.flows.command", "run", "-v", *stages, "--config", str(home / "costops.toml")]
        done = subprocess.run([sys.executable, *words], env=env, cwd=REPO, capture_output=True, check=False, timeout=240)
    told = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert "pulled" in told, "the forced 401 is told"
    run = prefect.api("POST", "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})[0]
    artifacts, log = prefect.artifacts(run["id"]), prefect.log(run["id"])
    assert "costops-run" in [one["key"] for one in artifacts]
    assert "openai" in log
    places = [("terminal", told), ("Prefect log", log), ("Prefect artifacts", json.dumps(artifacts)),
              ("Prefect run", json.dumps(run)), *texts(home), *texts(prefect.home)]
    assert len(places) > 30
    for word in (KEY, HOOK, OTHER, PROMPT, "patient"):
        assert [place for place, text in places if word in text] == [], word
    _names_are_text(home, told, artifacts)
    assert {path.name for path in tmp_path.parent.iterdir()} <= before, "nothing is written beside the workspace"
    assert not list(tmp_path.rglob("own3d"))


def _names_are_text(home: Path, told: str, artifacts: list[dict[str, Any]]) -> None:
    """Each name is told whole where data belong, and is nothing but text wherever somebody looks."""
    charges = pl.concat([pl.read_parquet(path, hive_partitioning=False)
                         for path in (home / "lake/core_charge").rglob("*.parquet")])
    kept = [name for name in NAMES if "\x00" not in name]
    assert set(kept) <= set(charges["team"]), "names are kept as they are"
    assert {path.name for path in (home / "lake/core_charge").iterdir()} == {"source=openai"}
    for path in (home / "reports").rglob("*"):
        if path.suffix == ".csv":
            cells = [cell for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))) for cell in row]
            assert [cell for cell in cells if re.match(r"\s*[=+@\t\r]|\s*-(?![\d.])", cell)] == [], path.name
        if path.suffix == ".html":
            page = path.read_text(encoding="utf-8")
            assert page.count("<script") == page.count("</script>") == 3
            around = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
            assert not re.search(r"<img|<script>alert|href=\"javascript", around)
        if path.name == "report.json":
            assert set(kept) <= {row["team"] for row in json.loads(path.read_text())["by_team"]}
    assert not set("\x1b\x07\u202e") & set(told), "no terminal is driven by a name"
    shown = json.dumps(artifacts)
    assert not re.search(r"<script|<img|\]\(javascript", shown)
