"""No layer is forgotten in the table."""

from jaxnets import nn
from tests.layer_table import CASES


def test_every_layer_has_a_case():
    covered = {function.__name__ for case in CASES for function in case.layers}
    assert set(nn.LAYERS) <= covered, f"add cases to tests/cases for {sorted(set(nn.LAYERS) - covered)}"


def test_every_case_has_a_name_of_its_own():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
