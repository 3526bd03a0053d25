"""The comparison with peers, without a peer: protocol, ratios, the common start, the page."""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bench.peers.compare import measure
from bench.peers.contender import Contender, ContenderError
from bench.peers.naive_peer import NaiveSession
from bench.peers.networks import NETWORKS, Cell, Network, start
from bench.peers.ours import OurSession, method_rule, network_at_start
from bench.peers.page import write_page
from bench.peers.protocol import Answer
from bench.peers.tables import Goal, groups_of, markdown, summary, verdicts
from suite.models.blocks.layers import binary_layers

CELL = Cell("binarynet-1/8", "bop", "float32")

FAKE = """
import sys, time
from bench.peers.protocol import serve

class Fake:
    images_per_step, binary, real = 5, 3, 2

    def __init__(self, cell, fixed_batch):
        self.trained = 0

    def run(self, steps):
        print("a library prints")  # must not reach the coordinator
        time.sleep(0.05)  # wall time with hardly any CPU time
        self.trained += steps
        if steps > 90:
            sys.exit("out of breath")
        return [float(self.trained)]

serve({"fake": "1.0"}, Fake)
"""


@pytest.fixture
def fake(tmp_path: Path):
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    with Contender("fake", [sys.executable, str(script)], {"PYTHONPATH": "."}) as contender:
        yield contender


def test_a_cell_stays_warm_and_a_fixed_batch_starts_a_new_one(fake: Contender) -> None:
    assert fake.versions == {"fake": "1.0"}
    assert [fake.train(CELL, 2).losses for _ in range(2)] == [[2.0], [4.0]]
    assert fake.train(CELL._replace(method="latent-adam"), 1).losses == [1.0]
    assert fake.train(CELL, 3, fixed_batch=True).losses == [3.0]
    assert fake.train(CELL, 1).losses == [5.0]


def test_an_answer_holds_both_clocks_and_the_sizes(fake: Contender) -> None:
    answer = fake.train(CELL, 4)
    assert (answer.images, answer.binary, answer.real) == (20, 3, 2)
    assert answer.wall >= 0.05 > answer.cpu


def test_a_contender_that_ends_is_named_with_its_last_lines(fake: Contender) -> None:
    with pytest.raises(ContenderError, match=r"fake: it ended[\s\S]*out of breath"):
        fake.train(CELL, 91)
    with pytest.raises(ContenderError, match="fake: "):
        fake.train(CELL, 1)


def test_a_contender_that_cannot_start_is_named() -> None:
    with pytest.raises(ContenderError, match=r"broken: it ended[\s\S]*no larq here"):
        Contender("broken", [sys.executable, "-c", "raise SystemExit('no larq here')"])


class Recorded:
    """In place of a contender: keeps a list of the requests; one step takes `seconds`."""

    def __init__(self, name: str, seconds: float, asked: list[tuple[str, str, int]]) -> None:
        self.name, self.seconds, self.asked = name, seconds, asked

    def train(self, cell: Cell, steps: int) -> Answer:
        self.asked.append((self.name, cell.precision, steps))
        seconds = self.seconds * steps
        return Answer(wall=2 * seconds, cpu=seconds, images=10 * steps, losses=[], binary=0, real=0)


def test_every_round_asks_all_in_turn_for_the_same_steps_and_starts_with_another_one() -> None:
    asked: list[tuple[str, str, int]] = []
    contenders = {"ours": Recorded("ours", 0.1, asked), "naive": Recorded("naive", 0.4, asked)}
    lines = list(measure(contenders, "binarynet-1", "bop", rounds=2, seconds=1.0))  # type: ignore[arg-type]
    first, second, naive = ("ours", "float32"), ("ours", "bfloat16"), ("naive", "float32")
    assert [turn[:2] for turn in asked[-6:]] == [first, second, naive, second, naive, first]
    assert {line["steps"] for line in lines} == {10}  # a second for the fastest
    assert [(line["contender"], line["precision"]) for line in lines if line["round"] == 1] == [
        second,
        naive,
        first,
    ]


def turns() -> pd.DataFrame:
    """Three rounds of 100 images; CPU seconds by hand, wall seconds twice as long."""
    seconds = {
        ("ours", "bfloat16"): [1.0, 2.0, 4.0],
        ("larq", "bfloat16"): [2.0, 5.0, 4.0],
        ("larq", "float32"): [4.0, 8.0, 2.0],
    }
    return pd.DataFrame(
        [
            {"network": "binarynet-1", "method": "bop", "contender": name, "precision": precision}
            | {"round": n, "steps": 2, "images": 100, "wall": 2 * cpu, "cpu": cpu}
            for (name, precision), rounds in seconds.items()
            for n, cpu in enumerate(rounds)
        ]
    )


def test_ratios_are_taken_within_a_round() -> None:
    table = summary(turns()).set_index("entry")
    ours = table.loc["ours bfloat16"].to_dict()
    assert ours["images/s cpu"] == 50.0 and ours["images/s wall"] == 25.0
    # Rounds give 2, 2.5, 1 against larq in bfloat16 and 4, 4, 0.5 against larq in float32.
    assert ours["/ larq, same precision, cpu"] == 2.0
    assert ours["/ larq float32, cpu"] == ours["/ larq float32, wall"] == 4.0
    assert "/ naive, cpu" not in table.columns


def test_a_goal_is_met_at_its_bound_and_not_above() -> None:
    goals = [Goal("ours bfloat16", "larq bfloat16", "binarynet-1", bound) for bound in (2.0, 2.01)]
    elsewhere = Goal("ours bfloat16", "larq bfloat16", "binarynet-1/8", 1.0)
    assert list(verdicts(turns(), [*goals, elsewhere])["met"]) == ["yes", "no"]


def test_the_page_shows_a_dash_where_there_is_no_figure() -> None:
    assert markdown(pd.DataFrame({"a": [1.234, 123.4], "b": ["x", None]})).splitlines()[2] == "| 1.23 | x |"
    assert markdown(pd.DataFrame({"a": [12.34, np.nan]})).splitlines()[2:] == ["| 12.3 |", "| - |"]


def test_the_page_shows_the_goals_and_the_picture_the_ratios(tmp_path: Path) -> None:
    naive = turns().query("precision == 'float32'").assign(contender="naive")
    ours = naive.assign(contender="ours")
    text = write_page(tmp_path, pd.concat([turns(), naive, ours]), {"ours": {"torch": "2.15"}})
    assert text == (tmp_path / "peers.md").read_text()
    assert "ours: torch 2.15" in text and "| ours bfloat16 at least 1.7 x larq float32 |" in text
    assert len(pd.read_csv(tmp_path / "turns.csv")) == 15 and len(pd.read_csv(tmp_path / "summary.csv")) == 5
    picture = ElementTree.parse(tmp_path / "peers.svg")
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"binarynet-1", "ours bfloat16", "larq float32", "naive float32", "4.00"} <= set(texts)


def test_groups_are_found_in_their_order() -> None:
    others = turns().assign(network="binarynet-1/8")
    groups = groups_of(pd.concat([others, turns()]))
    assert [(group.network, len(group.turns)) for group in groups] == [
        ("binarynet-1/8", 9),
        ("binarynet-1", 9),
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network(width=1 / 32, batch=8)
    monkeypatch.setitem(NETWORKS, "binarynet-1/8", network)
    return network


@pytest.mark.parametrize("method", ["bop", "latent-adam"])
def test_ours_and_the_naive_port_start_alike_and_learn(small: Network, method: str) -> None:
    cell = CELL._replace(method=method)
    sessions = [OurSession(cell, fixed_batch=True), NaiveSession(cell, fixed_batch=True)]
    losses = [session.run(60) for session in sessions]
    # The sign of an activation near zero depends on the order of a sum: the losses are no closer than this.
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.02)
    assert all(loss[-1] < 0.8 * loss[0] for loss in losses)
    assert len({(session.binary, session.real) for session in sessions}) == 1


def test_the_start_of_the_first_dense_layer_is_in_torchs_order(small: Network) -> None:
    model = network_at_start(small, method_rule("latent-adam"))
    weights = [layer.weight.detach() for _, layer in binary_layers(model)]
    dense = start(small)[6]  # (height, width, inputs, outputs)
    channels = dense.shape[2]
    row, column, channel, output = 2, 1, 5, 3
    assert float(weights[6][output, channel * 9 + row * 3 + column]) == dense[row, column, channel, output]
    assert [weight.numel() for weight in weights] == [value.size for value in start(small)]
    assert channels == 16 and torch.isfinite(weights[6]).all()
