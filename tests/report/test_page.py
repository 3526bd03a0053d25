"""The page in a real browser: whole, quiet, self-contained, and no wider than the screen."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from report.build import build_report
from suite.records.experiment import ExperimentFolder
from tests.support.fake_records import METHODS, TASKS, spoil, write_experiment, write_plan

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser; get one with `apt-get install chromium`, then run this again"
)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=["spoiled", "long names", "one seed", "nothing yet"])
def page_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    if request.param == "spoiled":
        return build_report(spoil(write_experiment(folder)))
    if request.param == "long names":
        return build_report(lengthen(write_experiment(folder, tasks=TASKS[1:])))
    write_experiment(folder, tasks=TASKS[:1], seeds=1, trials=2)
    if request.param == "nothing yet":
        shutil.rmtree(folder / "cells")
    return build_report(folder)


def lengthen(folder: Path) -> Path:
    """Give every method a name longer than any sensible one."""
    plan = ExperimentFolder(folder).plan()
    methods = {long(name): card for name, card in plan.methods.items()}
    cells = [replace(cell, method=long(cell.method)) for cell in plan.cells]
    write_plan(folder, replace(plan, methods=methods, cells=cells))
    return folder


def long(name: str) -> str:
    return f"{name}_with_approximate_sign"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_quiet_and_fits(browser, page_path: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [page_path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(TEXT_OUTSIDE_ITS_FIGURE) == []
    context.close()


# Names of methods are as long as their authors like: no text may leave the drawing it belongs to.
TEXT_OUTSIDE_ITS_FIGURE = """
[...document.querySelectorAll('figure svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const it = text.getBoundingClientRect();
    const across = it.left < box.left - 1 || it.right > box.right + 1;
    return across || it.top < box.top - 1 || it.bottom > box.bottom + 1;
  }).map(text => text.textContent);
})
"""


def test_labels_at_the_ends_of_lines_do_not_overlap(browser, tmp_path: Path) -> None:
    path = build_report(write_experiment(tmp_path, tasks=TASKS[:1]))
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(path.as_uri())
    tops = page.evaluate(
        """names => [...document.querySelectorAll('#learning svg')].map(svg =>
             [...svg.querySelectorAll('text')].filter(t => names.includes(t.textContent))
             .map(t => t.getBoundingClientRect()).map(r => (r.top + r.bottom) / 2).sort((a, b) => a - b))""",
        list(METHODS),
    )
    assert [len(each) for each in tops] == [4, 4]
    for each in tops:
        assert min(after - before for before, after in pairwise(each)) >= 12
    page.close()


def test_every_id_is_unique_and_every_link_inside_the_page_leads_somewhere(browser, page_path: Path) -> None:
    page = browser.new_page()
    page.goto(page_path.as_uri())
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(each => each.id)")
    links = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(each => each.hash.slice(1))")
    assert sorted(ids) == sorted(set(ids))
    assert links
    assert set(links) <= set(ids)
    page.close()
