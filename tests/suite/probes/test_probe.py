"""What holds for every probe: its texts, its cost, which methods have latent weights."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from optimizers import METHODS
from suite.data import Batch, Images
from suite.probes import PROBES
from suite.probes.probe import Found, Scored, Trained, has_latents, probe
from suite.records.schema import DataSizes
from tests.support.probed import CLASSES, IMAGES, SIDE, planted, trained

SIZES = DataSizes(classes=CLASSES, shape=[1, SIDE, SIDE], train=IMAGES, val=IMAGES, test=IMAGES, bytes=0)


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_computes_as_many_images_as_the_plan_counts(name: str) -> None:
    subject, count = trained(planted()), 0

    def batches() -> Iterator[Batch]:
        nonlocal count
        for x, labels in subject.batches():
            count += len(labels)
            yield x, labels

    def score(network: Any, images: Any) -> Scored:
        nonlocal count
        assert isinstance(images, Images)
        count += len(images)
        return subject.score(network, images)

    def reestimate(network: Any) -> None:
        nonlocal count
        count += IMAGES
        subject.reestimate(network)

    counted = dataclasses.replace(subject, batches=batches, score=score, reestimate=reestimate)
    found = PROBES[name](counted)
    assert count == PROBES[name].images(SIZES, **PROBES[name].options)
    assert all(type(value) in (float, str) for value in found.values())
    numbers = [key for key, value in found.items() if isinstance(value, float)]
    # The planted network has latent weights, so nothing is left out.
    assert sorted(numbers) == sorted(PROBES[name].numbers)


def test_a_probe_is_registered_with_its_options_and_its_caption() -> None:
    @probe(images=lambda sizes, often: often, numbers=["often"])
    def of_mine(trained: Trained, *, often: int = 3) -> Found:
        """Measures something.

        Keys: none.
        """
        return {"often": float(often)}

    assert (of_mine.name, of_mine.summary, of_mine.options) == (
        "of-mine", "Measures something.", {"often": 3}
    )  # fmt: skip
    assert of_mine(trained(planted()), often=4) == {"often": 4.0}
    with pytest.raises(TypeError, match="without needs a docstring"):

        @probe(images=lambda sizes: 0, numbers=())
        def without(trained: Trained) -> Found:
            return {}


def test_latent_weights_are_measured() -> None:
    without = {name for name, method in METHODS.items() if not has_latents(method())}
    assert {"bop", "bop-second-order", "frozen", "real"} < without
    assert not {"latent-adam", "latent-sgd", "binarynet-adam", "bayes-binn"} & without
