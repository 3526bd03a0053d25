"""The seeds of runs: the same for ever, exact in JSON, and never both a tuning and a final seed."""

import json
from itertools import product

from suite.records.seeds import final_seed, tuning_seed


def test_a_seed_follows_from_its_key_and_never_moves() -> None:
    # Whoever must change one raises PROTOCOL in suite/records/trial.py as well.
    assert tuning_seed(0, "digits.mlp.bop", "random", 0) == 453487347676401
    assert final_seed(0, 0, 0) == 4577588998365777


def test_every_part_of_a_key_counts() -> None:
    tuning = [tuning_seed(*key) for key in product((0, 1), ("a.b.c", "a.b.d"), ("random", "tpe"), (0, 1, 2))]
    final = [final_seed(*key) for key in product((0, 1), range(10), range(50))]
    assert len(set(tuning)) == 24 and len(set(final)) == 1000


def test_tuning_and_final_seeds_never_coincide_and_are_exact_in_json() -> None:
    for number in range(1000):
        tuning, final = tuning_seed(number, "a.b.c", "random", 0), final_seed(number, 0, 0)
        assert 0 <= tuning < 2**52 <= final < 2**53
        assert json.loads(json.dumps(float(final))) == final  # a reader that knows floats alone
