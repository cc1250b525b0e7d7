"""Alerts reach people once: by web, Slack and mail, with real servers on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from costops.flows.runtime.settings import Settings, load
from costops.flows.tasks.notify import Alert, alerts_of, announce
from costops.flows.tasks.run import Run, open_run
from tests.faults.scene import PATH
from tests.flows.receivers import mail, web

Make = Callable[..., Settings]
NOTIFY = """
[notify]
webhook_url_env = "HOOK"
slack_url_env = "SLACK"
smtp_url_env = "SMTP"
mail_from = "costs@example.org"
mail_to = ["ops@example.org"]
[[budgets]]
name = "search <b>&\\nBcc: all@example.org"
period = "month"
amount_usd = "0.01"
"""
STAGES = ["ingest", "price", "spend", "budget"]


def night(settings: Settings) -> Run:
    from costops.flows.tasks import stages as do

    with open_run(settings, stages=tuple(STAGES)) as run:
        for name in STAGES:
            do.STEPS[name](run)
        announce(run)
    return run


def test_a_budget_over_its_limit_tells_each_way_once_also_after_reruns(
        workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = workspace(extra=NOTIFY)
    with web() as site, mail() as post:
        monkeypatch.setenv("HOOK", f"{site.url}/hook?token=canary-token")
        monkeypatch.setenv("SLACK", f"{site.url}/slack")
        monkeypatch.setenv("SMTP", post.url)
        site.fail = 1
        night(settings)
        night(settings)
        monkeypatch.setenv("COSTOPS_NOW", "2026-09-08T06:00:00+00:00")
        night(settings)
    hooks = [(headers, body) for path, headers, body in site.posts if path.startswith("/hook")]
    assert [body["event"] for _, body in hooks] == ["costops.budget.breached"]
    assert hooks[0][0]["Idempotency-Key"] == hooks[0][1]["id"]
    slack = [body["text"] for path, _, body in site.posts if path == "/slack"]
    assert len(slack) == 1
    assert "&lt;b&gt;&amp;" in slack[0]
    assert len(post.letters) == 1
    letter = post.letters[0]
    assert letter["To"] == "ops@example.org"
    assert letter["Bcc"] is None
    assert "\n" not in letter["Subject"].replace("\r\n ", "")
    assert any(line.startswith("AUTH PLAIN") for line in post.said)
    kept = b"".join(path.read_bytes() for path in (settings.home / "lake/_state").rglob("*.json"))
    assert b"canary" not in kept


def test_another_period_and_another_threshold_are_alerts_of_their_own() -> None:
    one = Alert("budget:a:0.5", "2026-09-01", "e", "t", "x")
    assert one.key == replace(one, title="other words", text="other figures").key
    assert len({one.key, replace(one, cause="budget:a:0.8").key, replace(one, period="2026-10-01").key}) == 3


def test_a_receiver_that_is_down_fails_no_run_and_the_next_run_tells(
        workspace: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    settings = workspace(extra=NOTIFY.replace("slack_url_env", "#").replace("smtp_url_env", "#"), days=1)
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/hook?token=canary-token")
    run = night(settings)
    assert run.exit_code == 1
    assert "canary" not in caplog.text
    with web() as site:
        monkeypatch.setenv("HOOK", f"{site.url}/hook")
        night(settings)
    assert len(site.posts) == 1


@pytest.mark.parametrize("point", ["before_alert", "after_alert"])
def test_a_kill_in_the_middle_loses_no_alert_and_makes_no_second_one(
        workspace: Make, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    settings = workspace(extra=NOTIFY.replace("slack_url_env", "#").replace("smtp_url_env", "#"), days=1)
    code = ("import sys; from costops.flows.runtime.settings import load; "
            f"from tests.flows.test_notify import night; night(load({str(settings.home / 'costops.toml')!r}))")
    with web() as site:
        monkeypatch.setenv("HOOK", f"{site.url}/hook")
        env = {**os.environ, "PYTHONPATH": PATH, "COSTOPS_TESTING": "1", "COSTOPS_FAULT": f"{point}:1:kill"}
        killed = subprocess.run([sys.executable, "-c", code], env=env, check=False, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        night(settings)
        night(settings)
    assert len({body["id"] for _, _, body in site.posts}) == 1
    assert {headers["Idempotency-Key"] for _, headers, _ in site.posts} == {site.posts[0][2]["id"]}
    assert len(site.posts) == (1 if point == "before_alert" else 2), "told again under the same id, for the receiver"


def test_gates_and_what_was_not_reached_are_alerts(workspace: Make) -> None:
    settings = load(str(workspace(days=1).home / "costops.toml"))
    with open_run(settings) as run:
        run.now = datetime(2026, 9, 7, 6, tzinfo=UTC)
        run.unreachable.append("openai: no such folder")
        assert [(one.cause, one.period) for one in alerts_of(run)] == [("unreachable:openai", "2026-09-07")]
