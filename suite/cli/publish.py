"""`flipbench publish`: the records of an experiment in one file, for a repository, and their report."""

import shutil
import subprocess
from pathlib import Path

from rich.filesize import decimal

from suite.checks.verify import require_intact
from suite.cli.console import err, out, say
from suite.cli.options import RESULTS, Folder, Results, is_archive, results_folder
from suite.experiment.files import PUBLISHED
from suite.machine.errors import UserError
from suite.records.archive import ARCHIVE, read_contents, write_archive
from suite.records.experiment import ExperimentFolder
from suite.records.files import make_part, owned, read_bytes, write_atomically, writing

TABLES = ("report/report.md", "report/accuracy.csv", "report/runs.csv", "report/tuning.csv")
TRANSFER = "report/transfer.csv"  # of an experiment whose winners run on other tasks
OUTDATED = "index.html"  # an older flipbench put the page here: it is made from the archive
BROWSER = "chromium"
SECONDS = 120  # that it may take


def publish(exp: Folder, results: Results = RESULTS) -> None:
    """Write the records of an experiment as one file to RESULTS/published/EXP, with the tables of its report.

    The experiment may be finished or not, but no record may be damaged. Copies plan.json, report.md,
    accuracy.csv, runs.csv, tuning.csv and, where there is one, transfer.csv; takes report.png, a picture of
    the page, if chromium is installed. `flipbench report` makes the page and its drawings from the archive.
    """
    from report.build import build_report

    if is_archive(Path(exp)):
        raise UserError(f"{exp} is an archive, and published as it is: name a folder of records")
    folder = results_folder(exp, results)
    plan = ExperimentFolder(folder).plan()  # before a folder is made for the lock
    tables = [*TABLES, *([TRANSFER] if plan.tuning.transfer else [])]
    with owned(folder) as mine:
        if not mine:
            raise UserError(f"{folder}: a sweep works in this folder; publish it when that has stopped")
        require_intact(folder)
        page = build_report(folder, out.print)
        target = _target(folder, results)
        _require_no_loss(folder, target / ARCHIVE)
        contents = write_archive(folder, target / ARCHIVE)
    for file in (folder / "plan.json", *(folder / table for table in tables)):
        write_atomically(target / file.name, read_bytes(file))
    with writing(target / OUTDATED):
        (target / OUTDATED).unlink(missing_ok=True)
    take_picture(page, target / "report.png")
    size = decimal((target / ARCHIVE).stat().st_size)
    say(out, f"published: {target} ({len(contents.finished_runs):,} finished runs in {size})")


def _require_no_loss(folder: Path, archive: Path) -> None:
    """UserError if finished runs of the archive, perhaps of another machine, are not in the folder."""
    if not archive.exists():
        return
    here = {path.parent.name for path in folder.glob("runs/*/result.json")}
    if lost := set(read_contents(archive).finished_runs) - here:
        raise UserError(
            f"{archive}: it holds {len(lost)} finished runs that are not in {folder}. A sweep adopts them; "
            "if they are of another plan, move the archive away"
        )


def _target(folder: Path, results: Path) -> Path:
    """The folder below RESULTS/published, made: the path of the experiment below RESULTS, else its name."""
    whole, root = folder.resolve(), results.resolve()
    name = whole.relative_to(root) if root in whole.parents else Path(whole.name)
    target = results / PUBLISHED
    for part in name.parts:
        target = target / part
        make_part(target)
    return target


def take_picture(page: Path, picture: Path) -> bool:
    """The top of the page as a picture; whether there was a browser that took it.

    An older picture goes in any case: it shows other numbers than the tables beside it.
    """
    with writing(picture):
        picture.unlink(missing_ok=True)
    browser = shutil.which(BROWSER)
    if browser is None:
        say(err, f"{BROWSER} is not installed: no picture of the page")
        return False
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,1060"]
    command = [browser, *options, f"--screenshot={picture}", page.resolve().as_uri()]
    try:
        subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
    except subprocess.TimeoutExpired:
        say(err, f"{BROWSER} took no picture of the page within {SECONDS} s")
        return False
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        say(err, ": ".join([f"{BROWSER} took no picture of the page, exit code {error.returncode}", *last]))
        return False
    except OSError as error:
        say(err, f"{BROWSER} cannot be started, so there is no picture of the page: {error.strerror}")
        return False
    return True
