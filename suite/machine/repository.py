"""The code that runs: where it is, and its state in git. Nothing here imports torch."""

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds suite/ and optimizers/


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """The commit of this code, and whether uncommitted changes are on top; None outside its repository."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return None, None  # an installed copy inside somebody's repository
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "suite", "optimizers"))
    except (OSError, subprocess.SubprocessError):
        return None, None
