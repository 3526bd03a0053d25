"""The page in a real browser: whole, quiet, self-contained, and no wider than the screen."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from report.build import build_report
from report.claims import Planned, build_claims, evidence_for
from report.draw.svg import Picture
from suite.experiment.claim_files import REPLY
from suite.records.claim import Claim, Contrast, Exact, Identical, Order
from suite.records.experiment import ExperimentFolder
from tests.support.fake_claims import Arm, write_claim
from tests.support.fake_records import METHODS, TASKS, spoil, write_experiment, write_plan
from tests.support.many_methods import write_many

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


def build(folder: Path, as_pdf: str | None = None) -> Path:
    """The page, with the figures of this name alone as PDF: those of all take as long as all else."""
    pdf = Picture.pdf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Picture, "pdf", lambda it: pdf(it) if as_pdf and as_pdf in it.name else b"")
        return build_report(folder)


@pytest.fixture(scope="module")
def spoiled_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(spoil(write_experiment(tmp_path_factory.mktemp("spoiled"), tasks=TASKS[:1], trials=4)))


@pytest.fixture(scope="module", params=["spoiled", "long names", "one seed", "nothing yet"])
def page_path(
    request: pytest.FixtureRequest, spoiled_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if request.param == "spoiled":
        return spoiled_path
    folder = tmp_path_factory.mktemp("page")
    if request.param == "long names":
        return build(lengthen(write_experiment(folder, tasks=TASKS[1:], seeds=3, trials=4)))
    write_experiment(folder, tasks=TASKS[:1], seeds=1, trials=2)
    if request.param == "nothing yet":
        shutil.rmtree(folder / "cells")
    return build(folder)


MANY = 14


@pytest.fixture(scope="module")
def many_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of many methods: grouped, folded, its figures of the top and the bottom."""
    with pytest.MonkeyPatch.context() as patch:
        return build(write_many(tmp_path_factory.mktemp("many"), MANY, patch), as_pdf="validation")


@pytest.fixture
def many(browser, many_path: Path) -> Iterator:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(many_path.as_uri())
    yield page
    page.close()


def lengthen(folder: Path) -> Path:
    """Give every method a name longer than any sensible one."""
    plan = ExperimentFolder(folder).plan()
    methods = {long(name): card for name, card in plan.methods.items()}
    cells = [replace(cell, method=long(cell.method)) for cell in plan.cells]
    write_plan(folder, replace(plan, methods=methods, cells=cells))
    return folder


def long(name: str) -> str:
    return f"{name}_with_approximate_sign"


def test_the_page_is_quiet_and_fits(browser, page_path: Path) -> None:
    check_page(browser, page_path)


def test_a_page_of_many_methods_is_quiet_and_fits(browser, many_path: Path) -> None:
    check_page(browser, many_path)


def test_the_page_of_all_claims_is_quiet_and_fits(browser, tmp_path: Path) -> None:
    check_page(browser, write_claims_page(tmp_path))


def write_claims_page(results: Path) -> Path:
    """A claim with a figure of every form, with long names, and one that was not run."""
    of = {long("b"): 1.0, long("a"): -1.0}
    arms = {name: replace(ARM, signs="s", parts={1: (2, 0)} if name != long("a") else {}) for name in of}
    arms[long("c")] = ARM
    claim = Claim(
        id="C9",
        title="A title that is as long as a title may sensibly be, and then somewhat longer",
        sentence="the introduced hyperparameters can be directly related to … the training behavior",
        source="the reply",
        lines=[15],
        supports="this",
        refutes="that",
        limits="small",
        tests=[
            Contrast(
                kind="contrast", says="Momentum warms many women " * 4, of=of, expect="beyond", margin=0.5
            ),
            Identical(kind="identical", says="the same", arms=list(of)),
            Order(kind="order", says="more flips", measure="flips", shape="rising", arms=list(arms)),
            Exact(kind="exact", says="two", measure="reals", values=dict.fromkeys(arms, 2.5)),
        ],
    )
    folder = write_claim(results / "claims" / "x", claim, arms, "claims/x")
    planned = [Planned(f"claims/{name}", claim, 10, 20, "{}") for name in ("x", "y")]
    found = [
        evidence_for(each, contextlib.nullcontext(at))
        for each, at in zip(planned, (folder, results / "y"), strict=True)
    ]
    page, _ = build_claims(found, REPLY.read_text(encoding="utf-8"), results / "claims", results)
    assert len(found[0].drawings) == 4
    return page


ARM = Arm([0.9, 0.91, 0.92])


def check_page(browser, path: Path) -> None:
    """On a phone, a tablet and a projector, light and dark, and on paper."""
    page = browser.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('main details').forEach(each => each.open = true)")
    for width, scheme, media in LOOKS:
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme, media=media)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, media)
        assert page.evaluate(TEXT_OUTSIDE_ITS_FIGURE) == []
        if media == "print":
            page.add_style_tag(content=PAPER)
        if media == "print" or width == 800:
            assert page.evaluate(FAINT_TEXT) == []
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    page.close()


LOOKS = [
    (360, "light", "screen"),
    (800, "light", "screen"),
    (800, "dark", "screen"),
    (1440, "dark", "screen"),
    (794, "light", "print"),
]

# A browser leaves all backgrounds out when it prints.
PAPER = "* { background: none !important; } html { background: #fff !important; }"

# Text with less than 4.5:1 against the nearest background, the Web's measure for small text (WCAG 2, AA).
FAINT_TEXT = """
(() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = parts(color).map(part => part / 255)
      .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((parts(color)[3] ?? 1) > 0) return color;
    }
  };
  const found = new Set();
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    const style = getComputedStyle(element);
    if (!own || !element.getClientRects().length || style.visibility === 'hidden') continue;
    if (element.closest('script, style, title, .anchor, #tip')) continue;
    if (element.closest('figure svg') && element.textContent.match(/^[\u2212\u2013]/)) continue;  // on a map
    const [a, b] = [light(element.ownerSVGElement ? style.fill : style.color), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const words = `${contrast.toFixed(2)} ${element.tagName} ${element.textContent.slice(0, 30)}`;
    if (contrast < 4.5) found.add(words);
  }
  return [...found];
})()
"""

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


def test_labels_at_the_ends_of_lines_do_not_overlap(browser, spoiled_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(spoiled_path.as_uri())
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


def test_without_a_script_every_row_can_be_seen_and_printed(browser, many_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 800, "height": 900})
    page = context.new_page()
    page.goto(many_path.as_uri())
    rows = page.locator("#accuracy tbody tr[data-m]")
    assert page.locator("#switches").is_hidden()
    seen = [rows.nth(number).is_visible() for number in range(rows.count())]
    assert len(seen) == MANY and 0 < sum(seen) < MANY
    page.locator("#accuracy .all input").check()
    assert all(rows.nth(number).is_visible() for number in range(MANY))
    page.locator("#accuracy .all input").uncheck()
    page.emulate_media(media="print")
    assert all(rows.nth(number).is_visible() for number in range(MANY))
    context.close()


def test_a_method_is_switched_off_in_every_figure_and_table_with_the_keyboard(many) -> None:
    off = '[data-m="method-3"]'
    assert many.locator(f"#accuracy tr{off}").count() == 1
    assert many.locator(f"figure {off}").count() > 4
    many.locator("#switches > summary").focus()
    many.keyboard.press("Enter")
    many.locator('#switches input[value="method-3"]').focus()
    many.keyboard.press("Space")
    shown = """all => all.filter(each => getComputedStyle(each).visibility === 'visible'
      && getComputedStyle(each).display !== 'none').length"""
    assert many.eval_on_selector_all(off, shown) == 0
    assert many.locator("#switches > summary").text_content() == f"Methods ({MANY - 1} of {MANY})"
    many.keyboard.press("Escape")
    assert not many.locator("#switches input").first.is_visible()


def test_a_table_is_sorted_and_filtered_with_the_keyboard(many) -> None:
    rows = many.locator("#accuracy tbody tr[data-m]:not(.out)")

    def order() -> list[str]:
        return rows.evaluate_all("all => all.map(row => row.dataset.m)")

    def scores() -> list[float]:
        return rows.evaluate_all("all => all.map(row => parseFloat(row.cells[1].textContent))")

    before = order()
    heading = many.locator("#accuracy thead th").nth(1)
    heading.locator("button").focus()
    many.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert len(scores()) == MANY and scores() == sorted(scores(), reverse=True)
    many.keyboard.press("Enter")
    assert scores() == sorted(scores())
    many.keyboard.press("Enter")
    assert order() == before and heading.get_attribute("aria-sort") is None
    many.locator("#accuracy input[type=search]").fill("method-1")
    assert order() == [method for method in before if method.startswith("method-1")]


def test_infinitely_many_draws_are_sorted_as_the_most(many) -> None:
    table = many.locator('[id^="table-ease-digits"]')
    table.evaluate("each => { for (let at = each; at; at = at.parentElement) at.open = true; }")
    heading = table.locator("thead th").nth(3)
    assert heading.text_content() == "draws for 95 % chance"
    heading.locator("button").click()
    cells = table.locator("tbody tr[data-m]").evaluate_all("all => all.map(row => row.cells[3].textContent)")
    infinite = [cell.startswith("∞") for cell in cells if cell != "—"]
    assert any(infinite) and infinite == sorted(infinite, reverse=True)


def test_a_figure_tells_its_values_to_a_pointer_and_to_the_arrow_keys(many) -> None:
    picture = many.locator("#learning .picture").first
    method = picture.locator("svg [data-m]").first.get_attribute("data-m")
    picture.focus()
    many.keyboard.press("ArrowDown")
    assert (many.locator("#tip").text_content() or "").startswith(f"{method}, epoch 6: ")
    many.keyboard.press("ArrowLeft")
    assert (many.locator("#tip").text_content() or "").startswith(f"{method}, epoch 5: ")
    many.keyboard.press("Escape")
    assert many.locator("#tip").is_hidden()
    mark = many.locator(".card figure svg [data-m] use").first
    mark.dispatch_event("pointermove", {"bubbles": True, "clientX": 300, "clientY": 300})
    assert many.locator("#tip").is_visible()


def test_the_downloads_are_in_the_page(many) -> None:
    with many.expect_download() as waiting:
        many.locator('.card a[download$=".svg"]').first.click()
    svg = Path(waiting.value.path()).read_text()
    assert svg.startswith("<svg") and "prefers-color-scheme" in svg
    for kind, start in ((".pdf", b"%PDF-1.4"), (".csv", b"method,epoch,mean,lowest,highest\n")):
        with many.expect_download() as waiting:
            many.locator(f'#learning a[download$="{kind}"]').first.click()
        assert Path(waiting.value.path()).read_bytes().startswith(start)
    assert many.locator('#cost a[download$=".tex"]').count() == 1


def test_a_link_into_a_fold_opens_it_and_tab_reaches_the_skip_link_first(browser, many_path: Path) -> None:
    page = browser.new_page()
    name = "figure-validation-digits.mlp-all"
    page.goto(f"{many_path.as_uri()}#{name}")
    assert page.locator(f'[id="{name}"]').is_visible()
    page.goto(many_path.as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.close()
