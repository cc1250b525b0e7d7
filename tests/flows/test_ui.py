"""The UI in a real browser: the backfill form explains itself, a run is watched until it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

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
def page(tmp_path: Path) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, headless=True, args=FLAGS,
            viewport={"width": 1280, "height": 1100})
        yield context.new_page()
        context.close()


@dataclass
class Person:
    """Somebody at the browser."""

    page: Page
    shots: Path
    taken: int = 0

    def look(self, name: str) -> None:
        """Wait until it stands still, and keep a picture of it."""
        self.page.wait_for_load_state("networkidle")
        self.taken += 1
        self.page.screenshot(path=self.shots / f"{self.taken}-{name}.png", full_page=True, animations="disabled")

    def pick(self, field: str, day: date) -> None:
        """Open a field's calendar, turn its pages to the month, click the day."""
        empty = self.page.get_by_text("Pick a date")
        left = empty.count() - 1
        self.page.locator(f"xpath=//*[text()='{field}']/following::button[contains(., 'Pick a date')][1]").click()
        shown = self.page.locator("table[role=grid]")
        while shown.get_attribute("aria-label") != f"{day:%B %Y}":
            first = date.fromisoformat(shown.locator("td:not([data-outside])").first.get_attribute("data-day") or "")
            self.page.get_by_label(f"Go to the {'Previous' if day < first else 'Next'} Month").click()
        shown.locator(f'td[data-day="{day}"]:not([data-outside]) button').click()
        self.page.keyboard.press("Escape")
        expect(shown).to_have_count(0)
        expect(empty).to_have_count(left)


@pytest.fixture
def person(page: Page, shots: Path) -> Person:
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    return Person(page, shots)


def test_a_person_fills_the_backfill_form_watches_the_run_and_opens_what_it_left(prefect: Prefect, person: Person) -> None:
    page = person.page
    page.goto(f"{prefect.url}/v2/deployments/deployment/{prefect.deployment('backfill')['id']}/run")
    expect(page.get_by_text("First UTC day to write.")).to_be_visible()
    expect(page.get_by_text("Nothing is written.")).to_be_visible()
    texts = page.locator("form").inner_text()
    assert texts.index("First UTC day to write.") < texts.index("Last UTC day to write")
    person.look("form-empty")
    expect(page.get_by_text("Pick a date")).to_have_count(2)
    person.pick("First UTC day to write.", date(2026, 9, 1))
    person.pick("Last UTC day to write; it is included.", date(2026, 9, 2))
    person.look("form-filled")
    with page.expect_response(lambda answer: "create_flow_run" in answer.url) as answer:
        page.get_by_text("Submit", exact=True).click()
    assert answer.value.status == 201
    run = str(answer.value.json()["id"])
    assert answer.value.json()["parameters"]["days"] == {"start": "2026-09-01", "end": "2026-09-02"}

    page.goto(f"{prefect.url}/v2/runs/flow-run/{run}")
    expect(page.get_by_text("Running", exact=True).first).to_be_visible()
    person.look("run-under-way")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=240_000)
    expect(page.get_by_text("backfill 2026-09-01 to 2026-09-02").first).to_be_visible()
    expect(page.get_by_text("ingest: started").first).to_be_visible()
    person.look("run-completed")

    page.get_by_role("tab", name="Artifacts").click()
    expect(page.get_by_text("costops-run", exact=False).first).to_be_visible()
    person.look("artifacts")
    for key, says in (("costops-run", "anthropic"), ("costops-plan", "partitions"), ("costops-progress", "100")):
        page.goto(f"{prefect.url}/v2/artifacts/artifact/{artifact(prefect, run, key)}")
        expect(page.get_by_text(says).first).to_be_visible()
        person.look(key)


def artifact(prefect: Prefect, run: str, key: str) -> str:
    return next(str(one["id"]) for one in prefect.artifacts(run) if one["key"] == key)
