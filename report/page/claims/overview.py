"""The page of all claims: the reply with its verdicts, what stands, what falls and what is open."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from report.page.claims.evidence import ClaimEvidence
from report.page.claims.reply import Piece, Reply, pieces
from report.page.claims.rows import DAMAGED, INCOMPLETE, NOT_RUN, REFUTED, SUPPORTED, UNDECIDED, Mark
from report.page.tables import Table
from suite.machine.words import count

LEVEL = 0.05  # the chance of error that each verdict allows itself


@dataclass(frozen=True)
class Named:
    """Some claims."""

    words: str
    claims: tuple[ClaimEvidence, ...]


@dataclass(frozen=True)
class Tally:
    """A sentence on some of the claims: how many, and which ones."""

    head: str
    words: str
    groups: tuple[Named, ...]

    def __str__(self) -> str:
        named = [
            " ".join([*filter(None, [each.words]), ", ".join(c.claim.id for c in each.claims)])
            for each in self.groups
        ]
        return f"{self.head}: {self.words}{': ' if named else ''}{'; '.join(named)}."


@dataclass(frozen=True)
class Overview:
    """Everything on the page. `paragraphs` are those of the reply, in pieces."""

    about: str
    paragraphs: list[list[Piece]]
    evidence: list[ClaimEvidence]
    tallies: list[Tally]
    chance: str
    links: Mapping[str, Sequence[tuple[str, str]]]  # of each experiment: words and an address

    @property
    def by_key(self) -> dict[str, ClaimEvidence]:
        return {each.key: each for each in self.evidence}

    @property
    def table(self) -> Table:
        rows = [
            [each.claim.id, each.claim.title, f"{each.mark.symbol} {each.mark.word}", each.n, each.why]
            for each in self.evidence
        ]
        return Table(["claim", "title", "verdict", "n", "why"], rows, text=(0, 1, 2, 3, 4))

    @property
    def beyond(self) -> list[ClaimEvidence]:
        """Claims that the reply does not make."""
        return [each for each in self.evidence if not each.claim.lines]


def overview(
    reply: Reply,
    evidence: Sequence[ClaimEvidence],
    links: Mapping[str, Sequence[tuple[str, str]]],
) -> Overview:
    """The page of these claims, in the order of their ids."""
    ordered = sorted(evidence, key=lambda each: (*natural(each.claim.id), each.name))
    return Overview(
        about=reply.about,
        paragraphs=pieces(reply, {each.key: each.claim for each in ordered}),
        evidence=ordered,
        tallies=tallies(ordered),
        chance=chance(ordered),
        links=links,
    )


def natural(id_: str) -> tuple[str, int, str]:
    """C9 before C10, C19 before C19b, all before M."""
    letter, digits, more = re.match(r"([A-Z])(\d*)(.*)", id_).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return letter, int(digits or 0), more


def tallies(evidence: Sequence[ClaimEvidence]) -> list[Tally]:
    """What stands, what falls and what is open."""
    total = len(evidence)

    def with_mark(mark: Mark, words: str = "") -> list[Named]:
        found = tuple(each for each in evidence if each.mark == mark)
        return [Named(words, found)] if found else []

    stands, falls = with_mark(SUPPORTED), with_mark(REFUTED)
    open_ = [named for mark, words in OPEN.items() for named in with_mark(mark, words)]
    return [
        Tally("Stands", f"{share(stands, total)} supported", tuple(stands)),
        Tally("Falls", f"{share(falls, total)} refuted", tuple(falls)),
        Tally("Open", f"{share(open_, total)} not decided", tuple(open_)),
    ]


OPEN = {
    UNDECIDED: "undecided",
    INCOMPLETE: "not complete",
    DAMAGED: "with damaged records",
    NOT_RUN: "not run",
}


def share(named: Sequence[Named], total: int) -> str:
    part = sum(len(each.claims) for each in named)
    if not part:
        return f"none of the {total} claims is"
    return f"{part} of the {total} claims {'is' if part == 1 else 'are'}"


def chance(evidence: Sequence[ClaimEvidence]) -> str:
    """How many of the verdicts could be wrong by chance."""
    decided = [each for each in evidence if each.decided]
    if not decided:
        return "There is no verdict yet that could be wrong by chance."
    uncertain = sum(each.by_chance for each in decided)
    exact = len(decided) - uncertain
    rest = (
        f"{count(exact, 'verdict')} {'rests' if exact == 1 else 'rest'} on equality to the bit or on a count"
    )
    if not uncertain:
        return f"{rest}: no chance is involved."
    at_most = f"{LEVEL * uncertain:.2g}"
    return (
        f"Of {count(len(decided), 'verdict')}, {uncertain} could be wrong by chance, each in at most 5 % of "
        f"the cases: {at_most} are expected at most."
        + (f" {rest}, where no chance is involved." if exact else "")
    )
