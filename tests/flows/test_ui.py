"""The UI in a real browser: the backfill form explains itself, a run is watched until it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.server import Prefect

pytestmark = [pytest.mark.server, pytest.mark.browser]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: COSTOPS_SHOTS, for those who want to look at them."""
    folder = Path(os.environ.get("COSTOPS_SHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(tmp_path: Path) -> Iterator[object]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, headless=True, args=FLAGS,
            viewport={"width": 1280, "height": 1100})
        yield context.new_page()
        context.close()


def test_a_person_reads_the_backfill_form_and_sees_a_run_complete(
        prefect: Prefect, page: object, shots: Path) -> None:
    from playwright.sync_api import Page, expect

    assert isinstance(page, Page)
    page.set_default_timeout(30_000)
    deployment = prefect.deployment("backfill")["id"]
    page.goto(f"{prefect.url}/v2/deployments/deployment/{deployment}/run")
    expect(page.get_by_text("First UTC day to write.")).to_be_visible()
    expect(page.get_by_text("Nothing is written.")).to_be_visible()
    page.screenshot(path=shots / "1-form-empty.png", full_page=True)
    run = prefect.run("backfill", days={"start": "2026-09-01", "end": "2026-09-02"}, stages=["ingest", "price"])
    assert prefect.wait(run, timeout=120)["type"] == "COMPLETED"
    page.goto(f"{prefect.url}/v2/runs/flow-run/{run}")
    expect(page.get_by_text("Completed").first).to_be_visible()
    expect(page.get_by_text("backfill 2026-09-01 to 2026-09-02").first).to_be_visible()
    page.wait_for_timeout(1500)
    page.screenshot(path=shots / "2-run.png", full_page=True)
    page.get_by_role("tab", name="Artifacts").click()
    page.wait_for_timeout(1500)
    page.screenshot(path=shots / "3-artifacts.png", full_page=True)
    summary = next(one for one in prefect.artifacts(run) if one["key"] == "costops-run")
    page.goto(f"{prefect.url}/v2/artifacts/artifact/{summary['id']}")
    page.wait_for_timeout(1500)
    expect(page.get_by_text("days changed").first).to_be_visible()
    page.screenshot(path=shots / "4-summary.png", full_page=True)
