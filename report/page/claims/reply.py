"""The authors' reply as numbered lines, and which of its sentences a claim quotes."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from suite.records.claim import Claim

Style = Literal["", "strong", "em"]
STYLES: Mapping[str, Style] = {"**": "strong", "*": "em"}
QUOTES = str.maketrans("\u201c\u201d\u2018\u2019", "\"\"''")
OMISSION = re.compile(r"\s*(?:\[?…\]?|\.\.\.)\s*")
SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s+[A-Z\[\u201c])|$)", re.DOTALL)
MOSTLY = 0.5  # of a sentence has to stand on the lines that a claim names


@dataclass(frozen=True)
class Letter:
    """A character of the reply with the number of its line."""

    text: str
    line: int
    style: Style


@dataclass(frozen=True)
class Reply:
    """A paragraph is a list of letters; a space joins its lines. about: who wrote it, and where."""

    about: str
    paragraphs: tuple[tuple[Letter, ...], ...]


@dataclass(frozen=True)
class Piece:
    """A part of a paragraph in one style, on one line. first: whether the line begins here.

    claims: the keys of those that quote it. begins: those whose first quote begins here.
    """

    text: str
    style: Style
    line: int
    first: bool
    claims: tuple[str, ...]
    begins: tuple[str, ...]


def read_reply(text: str) -> Reply:
    """The reply from its file: comments, then numbered lines, with an empty line between paragraphs.

    ValueError if a line has no number or not the next one.
    """
    about, paragraphs, expected = [], [], 1
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.splitlines()
        if all(line.startswith("#") for line in lines):
            about += [line.lstrip("# ") for line in lines]
            continue
        letters: list[Letter] = []
        style: Style = ""
        for line in lines:
            number, _, words = line.partition(" ")
            if number != str(expected):
                raise ValueError(f"line {expected} of the reply is missing: {line[:40]!r} is in its place")
            expected += 1
            style = _append(letters, words, int(number), style)
        paragraphs.append(tuple(letters))
    return Reply(" ".join(about), tuple(paragraphs))


def _append(letters: list[Letter], words: str, number: int, style: Style) -> Style:
    """Add the letters of a line; the style in which it ends."""
    if letters:
        letters.append(Letter(" ", number - 1, style))
    for part in re.split(r"(\*\*?)", words):
        if part in STYLES:
            style = "" if style else STYLES[part]
        else:
            letters += [Letter(each, number, style) for each in part]
    return style


def pieces(reply: Reply, claims: Mapping[str, Claim]) -> list[list[Piece]]:
    """Each paragraph in pieces, with the claims that quote them."""
    quoted = [quoted_by(paragraph, claims) for paragraph in reply.paragraphs]
    begun: set[str] = set()
    shown: list[list[Piece]] = []
    seen_lines: set[int] = set()
    for paragraph, of_paragraph in zip(reply.paragraphs, quoted, strict=True):
        shown.append([])
        keyed = zip(paragraph, of_paragraph, strict=True)
        for (line, style, keys), group in itertools.groupby(
            keyed, lambda pair: (pair[0].line, pair[0].style, pair[1])
        ):
            begins = tuple(each for each in keys if each not in begun)
            begun.update(begins)
            text = "".join(letter.text for letter, _ in group)
            shown[-1].append(Piece(text, style, line, line not in seen_lines, keys, begins))
            seen_lines.add(line)
    return shown


def quoted_by(paragraph: Sequence[Letter], claims: Mapping[str, Claim]) -> list[tuple[str, ...]]:
    """For each letter of a paragraph the claims that quote it."""
    keys: list[list[str]] = [[] for _ in paragraph]
    for key, claim in claims.items():
        for start, end in spans(paragraph, claim):
            for at in range(start, end):
                keys[at].append(key)
    return [tuple(each) for each in keys]


def spans(paragraph: Sequence[Letter], claim: Claim) -> list[tuple[int, int]]:
    """Where a claim stands in a paragraph: the words that it quotes, else the sentences on its lines."""
    lines = set(claim.lines)
    on_lines = [letter.line in lines for letter in paragraph]
    if not any(on_lines):
        return []
    text = "".join(letter.text for letter in paragraph)
    if found := literal(text, claim.sentence):
        return found
    sentences = [
        (each.start(), each.end())
        for each in SENTENCE.finditer(text)
        if paragraph[each.start()].style != "strong"  # a heading
    ]
    mostly = [(a, b) for a, b in sentences if sum(on_lines[a:b]) >= MOSTLY * (b - a)]
    return mostly or [(on_lines.index(True), len(on_lines) - on_lines[::-1].index(True))]


def literal(text: str, sentence: str) -> list[tuple[int, int]]:
    """The places of a quotation, in parts where it leaves something out; none unless all are there."""
    plain = text.translate(QUOTES).lower()
    words = " ".join(sentence.translate(QUOTES).lower().split())
    parts = [part for part in OMISSION.split(words) if part]
    found = [(at, at + len(part)) for part in parts if (at := plain.find(part)) >= 0]
    return found if len(found) == len(parts) else []
