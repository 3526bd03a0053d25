"""Every plugin beside a claim keeps the contract of a method, in the rules that an intervention may break.

`flipbench check FILE` tries all rules.
"""

import pytest

from optimizers import METHODS, methods_in
from optimizers.core import Method
from suite.checks.contract.method import (
    Rule,
    counts_its_flips,
    deploys_signs,
    describes_itself,
    keeps_float32,
    owns_the_binary_weights,
    resumes_in_a_network,
)
from tests.support.plugins import CLAIMS, plugin

PLUGINS = [each for path in sorted(CLAIMS.glob("*.py")) for each in methods_in(plugin(path))]
RULES = [
    describes_itself,
    owns_the_binary_weights,
    deploys_signs,
    counts_its_flips,
    resumes_in_a_network,
    keeps_float32,
]


@pytest.mark.parametrize("method", PLUGINS, ids=lambda method: method.name)
def test_a_plugin_keeps_the_contract(method: Method) -> None:
    rules: list[Rule] = RULES
    assert [remark for rule in rules for remark in rule(method)] == []


def test_no_plugin_takes_the_name_of_another_method() -> None:
    names = [method.name for method in PLUGINS]
    assert len(set(names)) == len(names) and not set(names) & set(METHODS)
