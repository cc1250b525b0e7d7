"""The reports in a real browser, opened from disk: quiet, contained, and readable at every width and in both themes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.unit.reports.month import month
from tests.unit.reports.night import hostile, night

from costops.transforms.reports.nightly import nightly_report
from costops.transforms.reports.reconciliation import reconciliation_report

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")]

PAGES: dict[str, Callable[[], str]] = {
    "nightly": lambda: nightly_report(night()), "hostile": lambda: nightly_report(hostile()),
    "reconciliation": lambda: reconciliation_report(month())}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@dataclass
class Heard:
    """What a page did that it should not do."""

    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    made = {}
    for name, make in PAGES.items():
        made[name] = folder / f"{name}.html"
        made[name].write_text(make(), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield running
        running.close()


def opened(browser: Any, path: Path, *, width: int = 1440, scheme: str = "light") -> tuple[Any, Heard]:
    """A page that has drawn its charts, and what was heard meanwhile."""
    heard = Heard()
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda said: heard.complaints.append(f"console {said.type}: {said.text}"))
    page.on("pageerror", lambda error: heard.complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: heard.complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: heard.complaints.append(f"request: {request.url}")
            if not request.url.startswith(("data:", path.as_uri())) else None)
    page.goto(path.as_uri())
    page.wait_for_function("[...document.querySelectorAll('.chart')].filter(c => c.offsetParent)"
                           ".every(c => c.querySelector('svg'))")
    return page, heard


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", list(PAGES))
def test_a_report_is_quiet_and_fits(browser: Any, files: dict[str, Path], name: str, width: int, scheme: str) -> None:
    page, heard = opened(browser, files[name], width=width, scheme=scheme)
    page.wait_for_timeout(150)
    assert heard.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.querySelectorAll('section, .card, figure')].filter(e =>"
                         " e.getBoundingClientRect().right > innerWidth + 1).length") == 0
    page.close()


def test_the_themes_differ_and_the_button_changes_them(browser: Any, files: dict[str, Path]) -> None:
    page, heard = opened(browser, files["nightly"], scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Change between light and dark").click()
    light = page.evaluate(colour)
    assert light != dark
    page.get_by_role("button", name="Change between light and dark").click()
    assert page.evaluate(colour) == dark
    assert heard.complaints == []
    page.close()


def test_the_trend_can_be_shown_by_team_and_a_series_set_off(browser: Any, files: dict[str, Path]) -> None:
    page, heard = opened(browser, files["nightly"])
    page.get_by_role("button", name="By team").click()
    page.wait_for_selector("[data-chart=trend-team] svg")
    assert page.locator("[data-panel=trend-provider]").is_hidden()
    key = page.locator("[data-panel=trend-team] [data-pick=search]")
    key.click()
    page.wait_for_function("[...document.querySelectorAll('[data-chart=trend-team] path')]"
                           ".some(p => p.getAttribute('opacity') === '0.18')")
    assert key.get_attribute("aria-pressed") == "true"
    assert heard.complaints == []
    page.close()


def test_without_script_every_number_is_still_there(browser: Any, files: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(files["nightly"].as_uri())
    assert page.locator("#by-model tbody tr").count() == 12
    assert page.locator("#trend details").first.locator("tbody tr").count() == 60
    context.close()


def test_headings_tables_and_charts_have_names(browser: Any, files: dict[str, Path]) -> None:
    page, _ = opened(browser, files["nightly"])
    assert page.locator("h1").count() == 1
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.closest('.chart, #vg-tooltip-element')"
                         " || t.caption.textContent.trim())")
    assert page.evaluate("[...document.querySelectorAll('[role=img]')].every(c => c.getAttribute('aria-label'))")
    assert page.evaluate("[...document.querySelectorAll('[id]')].length === new Set("
                         "[...document.querySelectorAll('[id]')].map(e => e.id)).size")
    page.close()


def test_it_prints_in_light_colours_on_whole_pages(browser: Any, files: dict[str, Path]) -> None:
    page, heard = opened(browser, files["nightly"], scheme="dark")
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    page.set_viewport_size({"width": 703, "height": 1000})      # A4 less its margins
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert heard.complaints == []
    page.close()
