"""The probe `reestimate`, against the same network in numpy."""

import numpy as np
import pytest

from suite.probes import PROBES
from tests.support import in_numpy
from tests.support.probed import planted, trained


def test_both_statistics_are_those_of_a_network_in_numpy() -> None:
    model = planted()
    subject = trained(model)
    model[2].running_mean += 3.0  # type: ignore[index, operator]  # as if training had left other ones
    model[5].running_var *= 4.0  # type: ignore[index, operator]
    signs = [np.where(layer >= 0, 1.0, -1.0) for layer in in_numpy.latents(model)]
    found = PROBES["reestimate"](subject)
    for kind in ("kept", "reestimated"):
        norms = in_numpy.kept(model) if kind == "kept" else in_numpy.reestimated(model, signs, subject)
        for part in ("val", "test"):
            loss, top1 = in_numpy.score(model, signs, norms, getattr(subject.data, part))
            assert found[f"{part}_top1.{kind}"] == pytest.approx(top1)
            assert found[f"{part}_loss.{kind}"] == pytest.approx(loss, rel=1e-5)
    assert len(found) == 8
    assert found["val_top1.reestimated"] == 1.0 != found["val_top1.kept"]  # the images' classes are its own
