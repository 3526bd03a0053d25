"""`flipbench publish`: the small record set of an experiment that a repository can hold."""

import re
import shutil
import subprocess
from pathlib import Path

from suite.cli.console import err, out, say
from suite.cli.options import RESULTS, Folder, Results, results_folder
from suite.experiment.files import PUBLISHED
from suite.records.files import make_part, read_bytes, write_atomically

TABLES = ("report/report.md", "report/accuracy.csv", "report/runs.csv", "report/tuning.csv")
BROWSER = "chromium"
SECONDS = 120  # that it may take


def publish(exp: Folder, results: Results = RESULTS) -> None:
    """Write the report of an experiment and copy its tables to RESULTS/published/EXP.

    Copies plan.json, report.md, accuracy.csv, runs.csv and tuning.csv, the .svg files if the page refers to
    them, and report.png, a picture of the page, if chromium is installed. The page itself stays where it is.
    """
    from report.build import build_report

    folder = results_folder(exp, results)
    page = build_report(folder, out.print)
    target = _target(folder, results)
    drawings = sorted(page.parent.glob("*.svg")) if re.search(r'src="[^"]*\.svg"', page.read_text()) else []
    for file in (folder / "plan.json", *(folder / table for table in TABLES), *drawings):
        write_atomically(target / file.name, read_bytes(file))
    _take_picture(page, target / "report.png")
    say(out, f"published: {target}")


def _target(folder: Path, results: Path) -> Path:
    """The folder below RESULTS/published, made: the path of the experiment below RESULTS, else its name."""
    whole, root = folder.resolve(), results.resolve()
    name = whole.relative_to(root) if root in whole.parents else Path(whole.name)
    target = results / PUBLISHED
    for part in name.parts:
        target = target / part
        make_part(target)
    return target


def _take_picture(page: Path, picture: Path) -> None:
    """The top of the page as a picture, where there is a browser to take it."""
    browser = shutil.which(BROWSER)
    if browser is None:
        say(err, f"{BROWSER} is not installed: no picture of the page")
        return
    if picture.is_symlink():
        picture.unlink()  # the browser would write where it leads
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,1060"]
    command = [browser, *options, f"--screenshot={picture}", page.resolve().as_uri()]
    try:
        subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
    except subprocess.SubprocessError:
        say(err, f"{BROWSER} took no picture of the page within {SECONDS} s")
