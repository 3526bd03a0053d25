"""Two ledgers of one cell, as two machines have written them, become one. Pure, no torch.

The draws of a study and their order are fixed, so of two ledgers of one plan one has come further than the
other, or they contradict each other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from suite.records.agreement import Contradiction, wrong_winner
from suite.records.schema import FinalEntry, Ledger, Place, PlanRecord, Scores, StudyEntry, TransferEntry


def union(mine: Ledger, theirs: Ledger, plan: PlanRecord, path: Path) -> Ledger:
    """What both ledgers name, in the order of the plan; Contradiction of `path` if they do not agree."""
    studies: dict[tuple[str, int], StudyEntry] = {(each.track, each.number): each for each in mine.studies}
    for study in theirs.studies:
        which = study.track, study.number
        studies[which] = _further(studies[which], study, path) if which in studies else study
    default = {(entry.study, entry.number): entry for entry in mine.default}
    for entry in theirs.default:
        if default.setdefault((entry.study, entry.number), entry) != entry:
            problem = f"default study {entry.study} seed {entry.number} is another run in the other ledger"
            raise Contradiction(path, problem)
    transfer: dict[tuple[str, str, int], TransferEntry] = {}
    for each in (*_current(mine, studies), *_current(theirs, studies)):
        place = each.source, each.track, each.study
        transfer[place] = _both(transfer[place], each, path) if place in transfer else each
    tracks = {track.name: number for number, track in enumerate(plan.tuning.tracks)}
    tasks = {task: number for number, task in enumerate(plan.tuning.transfer)}
    return Ledger(
        cell=mine.cell,
        studies=sorted(studies.values(), key=lambda each: (tracks.get(each.track, len(tracks)), each.number)),
        default=[default[place] for place in sorted(default)],
        transfer=sorted(
            transfer.values(),
            key=lambda each: (
                tasks.get(each.source, len(tasks)),
                tracks.get(each.track, len(tracks)),
                each.study,
            ),
        ),
    )


def _current(ledger: Ledger, studies: Mapping[tuple[str, int], StudyEntry]) -> Iterator[TransferEntry]:
    """The other tasks' winners of a ledger, but of studies that have more trials in the other one.

    They may have another winner by now.
    """
    trials = {(study.track, study.number): len(study.tuning) for study in ledger.studies}
    for entry in ledger.transfer:
        place = entry.track, entry.study
        if place in studies and trials.get(place) == len(studies[place].tuning):
            yield entry


def _both(mine: TransferEntry, theirs: TransferEntry, path: Path) -> TransferEntry:
    """The final runs of two entries of another task's winner, which must be the same one."""
    if mine.hypers != theirs.hypers:
        raise Contradiction(path, f"{theirs} is another setting in the other ledger")
    return replace(mine, final=_joined(mine.final, theirs.final))


def _joined(*entries: list[FinalEntry]) -> list[FinalEntry]:
    """The final runs by number; of two entries with one number the last."""
    final = {entry.number: entry for each in entries for entry in each}
    return [final[number] for number in sorted(final)]


def _further(mine: StudyEntry, theirs: StudyEntry, path: Path) -> StudyEntry:
    """The one of two entries of a study that has come further; both have drawn the same trials so far."""
    long, short = sorted((mine, theirs), key=lambda each: (-len(each.tuning), each.winner is None))
    if long.key != short.key or long.tuning[: len(short.tuning)] != short.tuning:
        raise Contradiction(path, f"{theirs}: its draws are not those of the other ledger")
    if len(long.tuning) > len(short.tuning) or short.winner is None:
        return long
    if long.winner != short.winner:
        raise Contradiction(path, f"{theirs}: its winner is not that of the other ledger")
    return replace(long, final=_joined(short.final, long.final))


def without_wrong_winners(ledger: Ledger, scores: Mapping[Place, Scores]) -> tuple[Ledger, list[str]]:
    """The ledger without the winners that these scores of its tuning trials contradict, and what was wrong.

    The sweep chooses such a winner again.
    """
    problems, studies = list[str](), list[StudyEntry]()
    for study in ledger.studies:
        problem = wrong_winner(replace(ledger, studies=[study]), scores)
        problems += [problem] if problem else []
        studies.append(replace(study, winner=None, final=[]) if problem else study)
    return replace(ledger, studies=studies), problems
