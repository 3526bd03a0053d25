"""What the page does with text."""

import pytest

from report.page.html import stressed


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        ("At best a has 97 %.", "a", "At best <strong>a</strong> has 97 %."),
        ("adam+ede and pre-adam trail adam.", "adam", "adam+ede and pre-adam trail <strong>adam</strong>."),
        ("bop (tpe) leads bop (tpe).", "bop (tpe)", "<strong>bop (tpe)</strong> leads bop (tpe)."),
        ("a<b: <b> leads", "<b>", "a&lt;b: <strong>&lt;b&gt;</strong> leads"),
        ("No one leads.", None, "No one leads."),
        ("No one leads.", "bop", "No one leads."),
    ],
)
def test_a_name_is_stressed_once_and_as_a_whole(text: str, name: str | None, shown: str) -> None:
    assert stressed(text, name) == shown
