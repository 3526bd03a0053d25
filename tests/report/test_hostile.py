"""Texts of a user in a report: they are shown, and are no HTML, Markdown or LaTeX of the page itself."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from report.build import build_report
from report.page.markdown import fenced, plain
from suite.records.experiment import ExperimentFolder
from tests.support.fake_records import TASKS, fail, final_run, write_experiment, write_plan

HOSTILE = "<img src=x onerror=alert(1)> [/z] | `</code>` \"'> ![p](http://x) \n# a </script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report in which every text of a user is hostile."""
    folder = write_experiment(tmp_path_factory.mktemp("hostile"), tasks=TASKS[:1], seeds=2, trials=2)
    data, model = TASKS[0]
    fail(final_run(folder, f"{data}.{model}.bop", 0), HOSTILE)
    plan = ExperimentFolder(folder).plan()
    cards = {name: replace(card, summary=HOSTILE, paper=HOSTILE) for name, card in plan.methods.items()}
    yaml = f"summary: {HOSTILE}\n```\n<b>after the fence</b>\n````\n"
    write_plan(folder, replace(plan, summary=HOSTILE, experiment=HOSTILE, yaml=yaml, methods=cards))
    return build_report(folder).parent


def test_the_page_has_no_element_of_a_user(report: Path) -> None:
    found: list[str] = []

    class Elements(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append(tag)
            assert not [name for name, _ in attrs if name.startswith("on")]

    page = (report / "index.html").read_text()
    Elements().feed(page)
    assert not {"img", "b"} & set(found) and found.count("script") == 1 and page.count("&lt;img src=x") >= 7


def test_markdown_has_no_element_heading_or_picture_of_a_user(report: Path) -> None:
    text = (report / "report.md").read_text()
    prose, fence, yaml = text.partition("`````yaml\n")
    assert fence and yaml.endswith("````\n`````\n")  # only the last fence is long enough to close it
    assert "<" not in prose and "![" not in prose and prose.count("&lt;img src=x") >= 3
    assert [line for line in prose.splitlines() if line.startswith("# ")] == [f"# {plain(HOSTILE)}"]
    rows = [line for line in prose.splitlines() if line.startswith("| ") and "onerror" in line]
    assert rows and all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)  # six columns


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a < b & c", "a &lt; b & c"),
        ("&lt;", "&amp;lt;"),
        ("# no heading", "\\# no heading"),
        ("two\n\nlines", "two lines"),
        ("[a](javascript:x)", "[a]\\(javascript:x)"),
    ],
)
def test_a_text_is_shown_as_it_is(text: str, markdown: str) -> None:
    assert plain(text) == markdown


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a: ````\n", "yaml") == "`````yaml\na: ````\n`````"
