"""`flipbench load`: what is in a kept network, and whether it still has the scores of its run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from suite.cli.console import complain, err, out, print_json, say
from suite.cli.options import AsJson, Plugin
from suite.cli.plugins import load_plugins
from suite.machine.errors import UserError

if TYPE_CHECKING:
    import torch

    from suite.deploy import Deployed
    from suite.records.weights import KeptNetwork


def load(
    path: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_FILE", help="The folder of a final run, or its weights.safetensors."),
    ],
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Evaluate it on the test images again.")
    ] = True,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps. Default: that of the run.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Default: those of the run; another number can give other bits."),
    ] = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Show a kept network; evaluate it on the test images again: other scores than its run's are exit code 1.

    Nothing from the file is executed. No file of a method is needed, but that of a model of your own.
    """
    from suite.cli.views import load as view
    from suite.machine.apart import apart

    if plugin:
        loaded = apart(plugin, _load_with, plugin, path, test, device, threads)
    else:
        loaded = _load(path, test, device, threads)
    kept, again, problem = loaded.kept, loaded.again, ""
    recorded = kept.header.test_scores
    if again and again != recorded:
        problem = view.difference(kept, recorded, again, loaded.device, loaded.threads)
    if as_json:
        print_json(view.as_json(kept, recorded, again))
    else:
        out.print(view.picture(kept, recorded, again))
    if problem:
        complain("other scores:", problem)
        raise typer.Exit(1)


class Loaded(NamedTuple):
    """A kept network, its scores now, and where they were computed."""

    kept: "KeptNetwork"
    again: dict[str, float]
    device: str
    threads: int


def _load_with(
    plugins: list[Path], path: Path, test: bool, device: str | None, threads: int | None
) -> Loaded:
    load_plugins(plugins)
    return _load(path, test, device, threads)


def _load(path: Path, test: bool, device: str | None, threads: int | None) -> Loaded:
    from suite.deploy import load as load_network
    from suite.machine.environment import choose_device

    network = load_network(path)
    header = network.kept.header
    count = threads or header.threads
    if not test:
        return Loaded(network.kept, {}, device or header.device, count)
    where = choose_device(device or header.device)
    return Loaded(network.kept, _scores_again(network, where, count), where.type, count)


def _scores_again(network: "Deployed", device: "torch.device", threads: int) -> dict[str, float]:
    """The scores on the test images, in the batches of the run; nothing where the images are not here."""
    from suite.data import absent, load_test
    from suite.machine.environment import use_device
    from suite.plugins import not_here
    from suite.training.evaluate import evaluate

    trial = network.kept.header.trial
    if problem := not_here(trial, "data"):
        raise UserError(f"{problem}. Without its images: --no-test")
    if missing := absent(trial.data):
        say(err, f"not evaluated, because images are absent: {', '.join(map(str, missing))}")
        return {}
    use_device(device, threads)
    images = load_test(trial.data).to(device)
    scores, _ = evaluate(network.network.to(device), images, trial.train.precision)
    return {"test_loss": scores.loss, "test_top1": scores.top1, "test_top5": scores.top5}
