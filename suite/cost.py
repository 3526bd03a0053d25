"""What an experiment will take, estimated from its plan."""

from suite.plan import FIRST_SEED, Cell, Plan
from suite.trial import network_size

BYTES_PER_LINE = 500  # of epochs.jsonl, and as many again for each binary layer's counts
BYTES_PER_RUN = 8_000  # trial, environment, result


def disk_bytes(plan: Plan) -> int:
    """An upper estimate of the bytes that the experiment's records take when it is done."""
    each = plan.experiment.tuning.trials + plan.experiment.seeds
    return sum(each * _run_bytes(cell) for cell in plan.cells)


def _run_bytes(cell: Cell) -> int:
    layers = network_size(cell.trial(cell.published, FIRST_SEED, "final"), cell.sizes).layers
    steps = max(1, cell.sizes["train"] // cell.train["batch_size"]) * cell.train["epochs"]
    lines = cell.train["epochs"] * BYTES_PER_LINE * (1 + layers // 4)
    return BYTES_PER_RUN + lines + 4 * steps * layers + cell.sizes["test"] // 8
