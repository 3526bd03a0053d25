"""The reply as numbered lines, and the sentences that a claim quotes."""

from dataclasses import replace

import pytest

from report.page.claims.reply import Piece, literal, pieces, read_reply
from suite.experiment.claim_files import REPLY
from suite.experiment.files import experiments
from suite.experiment.spec import ExperimentFile
from suite.records.claim import Claim, Exact

TEXT = """# Who wrote it.

1 **A heading.** The first sentence is here. The second
2 one goes over *two* lines. A third
3 stands alone.

4 Another paragraph says: “quoted” things.
"""
CLAIM = Claim(
    id="C1",
    title="",
    sentence="",
    source="",
    lines=[1, 2],
    supports="",
    refutes="",
    limits="",
    tests=[Exact(kind="exact", says="", measure="reals", values={"a": 1.0})],
)


def quoted(**claims: Claim) -> dict[str, str]:
    """The text that each claim quotes."""
    found: dict[str, str] = {}
    for piece in all_pieces(**claims):
        for key in piece.claims:
            found[key] = found.get(key, "") + piece.text
    return found


def all_pieces(**claims: Claim) -> list[Piece]:
    return [piece for paragraph in pieces(read_reply(TEXT), claims) for piece in paragraph]


def test_lines_keep_their_numbers_and_their_styles() -> None:
    reply = read_reply(TEXT)
    assert reply.about == "Who wrote it." and len(reply.paragraphs) == 2
    found = all_pieces()
    assert [piece.line for piece in found if piece.first] == [1, 2, 3, 4]
    assert [(p.text, p.style) for p in found if p.style] == [("A heading.", "strong"), ("two", "em")]
    text = "".join(piece.text for piece in found)
    assert text.startswith("A heading. The first sentence is here. The second one goes over two lines. A")


@pytest.mark.parametrize(
    ("sentence", "lines", "marked"),
    [
        ("one goes  over two lines.", [2], "one goes over two lines."),  # also across a style
        ("The first … A third stands", [1, 2, 3], "The firstA third stands"),
        ('Says: "quoted" things', [4], "says: “quoted” things"),
        ("The first … is not there", [1], "The first sentence is here."),  # no quotation: a part is missing
        ("in our words", [1], "The first sentence is here."),  # mostly on the line; no heading
        ("in our words", [1, 2], "The first sentence is here.The second one goes over two lines."),
        ("in our words", [3], "A third stands alone."),
        ("The first sentence is here.", [4], "Another paragraph says: “quoted” things."),
    ],
)
def test_a_claim_marks_what_it_quotes_else_the_sentences_on_its_lines(
    sentence: str, lines: list[int], marked: str
) -> None:
    assert quoted(a=replace(CLAIM, sentence=sentence, lines=lines)) == {"a": marked}


def test_shipped_claims_quote_the_reply_to_the_letter() -> None:
    reply = read_reply(REPLY.read_text())
    quoting = [
        claim
        for path in experiments().values()
        if "\nclaim:" in path.read_text()
        and (claim := ExperimentFile(path).experiment().claim) is not None
        and claim.lines
        and "in our words" not in claim.source
    ]
    assert len(quoting) > 15
    for claim in quoting:
        quotes = [
            quote
            for paragraph in reply.paragraphs
            if {letter.line for letter in paragraph} & {*claim.lines}
            for quote in literal("".join(letter.text for letter in paragraph), claim.sentence)
        ]
        assert quotes, f"{claim.id} quotes what is not on lines {claim.lines}: {claim.sentence}"


def test_claims_share_a_sentence_and_each_begins_once() -> None:
    first = replace(CLAIM, sentence="The first sentence is here. The second one")
    second = replace(CLAIM, sentence="The second one goes over two lines.")
    found = all_pieces(a=first, b=second)
    assert [each for piece in found for each in piece.begins] == ["a", "b"]
    assert [p.text for p in found if p.claims == ("a", "b")] == ["The second ", "one"]
    assert quoted(a=replace(CLAIM, lines=[])) == {}


@pytest.mark.parametrize("text", ["1 one\n3 three", "one", "1 one\n\n1 one"])
def test_a_reply_with_a_gap_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="of the reply is missing"):
        read_reply(text)


def test_the_shipped_reply_has_its_56_lines() -> None:
    reply = read_reply(REPLY.read_text(encoding="utf-8"))
    lines = [letter.line for paragraph in reply.paragraphs for letter in paragraph]
    assert sorted(set(lines)) == list(range(1, 57)) and lines == sorted(lines)
    for name in ("Helwegen", "Widdicombe", "Geiger", "Liu", "Cheng", "Nusselder", "1906.02107"):
        assert name in reply.about
