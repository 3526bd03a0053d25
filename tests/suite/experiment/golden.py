"""Makes golden/plan.json and golden/runs.csv again, after a change of PROTOCOL:

python -m tests.suite.experiment.golden
"""

import shutil
import tempfile
from pathlib import Path

from report.build import build_report
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine
from tests.support.tiny import tiny_plan

CHANGES = (
    "tuning={random: {trials: 3, studies: 2}, tpe: {trials: 5, studies: 2, at_once: 2}, seed: 5}",
    "train.epochs=1",
    "seeds=2",
)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        plan, folder = tiny_plan(Path(place), *CHANGES), Path(place) / "results"
        prepare_folder(plan, folder, {})
        with LocalPool(Machine(("cpu",))) as pool:
            assert Sweep(plan, folder, pool).run()
        build_report(folder)
        golden = Path(__file__).parent / "golden"
        golden.mkdir(exist_ok=True)
        shutil.copy(folder / "plan.json", golden)
        shutil.copy(folder / "report" / "runs.csv", golden)


if __name__ == "__main__":
    main()
