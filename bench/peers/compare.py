"""Train the same networks with this project, the naive PyTorch port and larq, in turn, and compare speeds.

    make bench-peers                                                   # the comparison; about 15 minutes
    OMP_NUM_THREADS=1 .venv/bin/python -m bench.peers.compare --check  # is the work the same?

Every contender is a warm process with one thread. In each round each of them trains a few steps, one after
the other, so that other work on the machine disturbs all of them alike. See README.md here.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from bench.peers.contender import ROOT, Contender, ContenderError
from bench.peers.networks import METHODS, NETWORKS, PRECISIONS, Cell
from bench.peers.page import write_page
from bench.peers.tables import markdown

PEERS_PYTHON = Path(__file__).parent / ".venv/bin/python"
WARM_UP = 2  # steps before the clock counts: kernels are chosen, buffers allocated, graphs traced
CHECK_STEPS = {"binarynet-1": 10, "binarynet-1/8": 60}


def commands() -> dict[str, list[str]]:
    """The command that starts each contender; ContenderError if the peers' environment is missing."""
    if not PEERS_PYTHON.exists():
        raise ContenderError(f"{PEERS_PYTHON.relative_to(ROOT)} is missing: make it with `make bench-peers`")
    return {
        "ours": [sys.executable, "-m", "bench.peers.ours"],
        "larq": [str(PEERS_PYTHON), "-m", "bench.peers.larq_peer"],
        "naive": [sys.executable, "-m", "bench.peers.naive_peer"],
    }


def entries(contenders: Mapping[str, Contender], network: str, method: str) -> list[tuple[str, Cell]]:
    """The contenders and cells of one group of turns; the naive port has float32 only."""
    cells = [Cell(network, method, precision) for precision in PRECISIONS]
    return [
        (name, cell)
        for name in contenders
        for cell in cells
        if (name, cell.precision) != ("naive", "bfloat16")
    ]


def measure(
    contenders: Mapping[str, Contender], network: str, method: str, rounds: int, seconds: float
) -> Iterator[dict]:
    """The turns of one group: in each round every entry trains about `seconds`, in an order of its own."""
    turns = entries(contenders, network, method)
    steps = 1
    for name, cell in turns:
        contenders[name].train(cell, WARM_UP)
        pace = contenders[name].train(cell, WARM_UP)
        steps = max(steps, round(seconds * WARM_UP / pace.cpu))
    for number in range(rounds):
        shift = number % len(turns)
        for name, cell in turns[shift:] + turns[:shift]:
            answer = contenders[name].train(cell, steps)
            measured = {"images": answer.images, "wall": answer.wall, "cpu": answer.cpu}
            yield {"contender": name, **cell._asdict(), "round": number, "steps": steps, **measured}


def check(contenders: Mapping[str, Contender], network: str, method: str) -> Iterator[dict]:
    """Sizes, and the losses of the first and the last step on one batch, from the common start."""
    for name, cell in entries(contenders, network, method):
        steps = CHECK_STEPS[network]
        answer = contenders[name].train(cell, steps, fixed_batch=True)
        yield {
            **{"network": network, "method": method, "entry": f"{name} {cell.precision}"},
            **{"binary weights": answer.binary, "real parameters": answer.real},
            **{"steps": steps, "first loss": answer.losses[0], "last loss": answer.losses[-1]},
        }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the speed of a training step with peers.")
    parser.add_argument("--check", action="store_true", help="compare sizes and losses instead of speed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of CPU per turn, of the fastest entry")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--output", type=Path, default=Path("results/bench-peers"))
    return parser.parse_args()


def main() -> None:
    wanted = options()
    groups = [(network, method) for network in wanted.networks for method in wanted.methods]
    lines: list[dict] = []
    page = ""
    with ExitStack() as stack:
        contenders = {name: stack.enter_context(Contender(name, line)) for name, line in commands().items()}
        versions = {name: contender.versions for name, contender in contenders.items()}
        for network, method in groups:
            print(f"{network}, {method} ...", file=sys.stderr, flush=True)
            if wanted.check:
                lines += check(contenders, network, method)
                page = markdown(pd.DataFrame(lines))
            else:
                lines += measure(contenders, network, method, wanted.rounds, wanted.seconds)
                page = write_page(wanted.output, pd.DataFrame(lines), versions)  # a stop loses one group
    print(page)


if __name__ == "__main__":
    try:
        main()
    except ContenderError as error:
        sys.exit(str(error))
