"""A sweep adopts the archive of an interrupted one: killed anywhere, its records are the unbroken ones."""

import random
from pathlib import Path

import pytest

from suite.checks.adopt import ASIDE
from suite.checks.verify import Verification
from suite.records.archive import ARCHIVE, write_archive
from suite.records.run import RunFolder
from tests.support.attempts import (
    TPE,
    Trouble,
    Unbroken,
    attempt,
    attempt_with_workers,
    finished,
    half_files,
    leftovers,
    records_of,
)
from tests.support.warm import Warm


@pytest.fixture(scope="module")
def archive(warm: Warm, rights: dict[str, Unbroken], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a sweep that was killed in the fourth of its six runs, whose draw depends on the runs before."""
    place = tmp_path_factory.mktemp("interrupted")
    ends = [n for n, call in enumerate(rights["tpe"].calls, 1) if call == "write runs/*/.result.json.*.tmp"]
    assert warm.run(attempt, place, TPE, Trouble(ends[3])).code == -9
    contents = write_archive(place / "results", place / ARCHIVE)
    assert contents.finished_runs == sorted(finished(place / "results")) and len(contents.finished_runs) == 3
    return place / ARCHIVE


def require_right(place: Path, right: Unbroken, archive: Path) -> None:
    """The records are the unbroken ones, the adopted runs are the archived ones, the others were trained."""
    folder = place / "results"
    assert records_of(folder) == right.records and leftovers(folder) == []
    assert Verification(folder).run().exit_code == 0
    for path in archive.parent.glob("results/runs/*/result.json"):  # it has the seconds of its own training
        assert (folder / path.relative_to(archive.parent / "results")).read_bytes() == path.read_bytes()
    assert (place / "epochs").stat().st_size == 3 * 2


def test_only_what_is_missing_is_trained_with_any_number_of_workers(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken], archive: Path
) -> None:
    ended = warm.run(attempt_with_workers, tmp_path, TPE, None, 0, archive)
    assert ended.code == 0 and ended.value.complete, ended
    adopted, without = ended.value.said
    assert adopted == f"adopted from {archive}: 3 finished runs"
    assert without.startswith("of the final runs 1 were finished before and hold no network")
    require_right(tmp_path, rights["tpe"], archive)


def test_an_adoption_is_killed(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken], archive: Path
) -> None:
    """Wherever that happens, a run that has its name is whole, and the same command continues."""
    places = {name: tmp_path / name for name in ("once", "killed")}
    for place in places.values():
        place.mkdir()
    like: dict[str, list[int]] = {}
    for number, call in enumerate(warm.run(attempt, places["once"], TPE, None, archive).value.calls, 1):
        if ASIDE in call or call in ("rename runs/*", "rename cells/digits.mlp.bop.json"):
            like.setdefault("/".join(call.split("/")[:2]), []).append(number)
    assert {f"write {ASIDE}/runs", f"mkdir {ASIDE}/runs", f"open {ASIDE}/plan.json"} <= like.keys()
    assert len(like["rename runs/*"]) == 3 and len(like["rename cells/digits.mlp.bop.json"]) > 1
    chosen, folder = random.Random(0), places["killed"] / "results"
    troubles = [chosen.choice(numbers) for name, numbers in like.items() if not name.startswith("rename")]
    for at in (*troubles, like["rename runs/*"][1], like["rename cells/digits.mlp.bop.json"][0]):
        assert warm.run(attempt, places["killed"], TPE, Trouble(at), archive).code == -9
        assert half_files(folder / "runs") == []
        assert all(RunFolder(run).whole() for run in folder.glob("runs/*"))
    assert len(list(folder.glob("runs/*"))) >= 2
    ended = warm.run(attempt, places["killed"], TPE, None, archive)
    assert ended.code == 0 and ended.value.complete, ended
    require_right(places["killed"], rights["tpe"], archive)
