"""What a file may import: a method and a model nothing that reads images, a data set what it is made of."""

import ast

import pytest

from suite.checks.contract.source import imports_no_data


@pytest.mark.parametrize(
    ("text", "alone", "with_data"),
    [
        ("from suite.models.blocks.layers import Sign", 0, 0),
        ("from suite.data import Images, dataset", 1, 0),
        ("from suite.data import data_root", 1, 0),
        ("from suite.data import Images, load_test", 1, 1),
        ("import suite.data", 1, 1),
        ("import torchvision.datasets", 1, 1),
        ("__import__('sklearn.datasets')", 1, 1),
        ("import suite_of_mine, torch", 0, 0),
    ],
)
def test_an_import_that_reaches_images_is_a_fault(text: str, alone: int, with_data: int) -> None:
    for allowed, expected in ((False, alone), (True, with_data)):
        found = list(imports_no_data(ast.parse(text), with_data=allowed))
        assert len(found) == expected
        hints = [remark.text.endswith("belongs in a file of its own") for remark in found]
        assert hints == [allowed] * expected
