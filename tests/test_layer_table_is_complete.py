"""No layer is forgotten in the table."""

import inspect

from jaxnets import nn
from tests.layer_table import CASES

ACTIVATIONS = ("jaxnets.nn.activations", "jaxnets.nn.gelu", "jaxnets.nn.softmax")


def is_layer(name):
    """Whether a public name is that of a layer, not of a spec, carry, mask, frequencies, constant or activation.

    Activations are functions of one array; `tests/nn/test_activations.py` tests them. Those with parameters or with
    randomness in training are layers.
    """
    function = inspect.unwrap(getattr(nn, name))
    if (
        not inspect.isroutine(function)
        or name.startswith("_")
        or name.endswith(("_spec", "_carry", "_mask", "_frequencies"))
    ):
        return False
    plain = not {"params", "train"} & set(inspect.signature(function).parameters)
    module = function.__module__
    activation = plain and (module in ACTIVATIONS or not module.startswith("jaxnets"))
    return not activation


def test_every_layer_has_a_case():
    layers = {name for name in vars(nn) if is_layer(name)}
    assert layers == {name for name, value in vars(nn).items() if getattr(value, "is_layer", False)}, "write @layer"
    assert {"linear", "batch_norm", "lstm", "max_pool", "dropout", "rotary", "rrelu"} <= layers
    covered = {function.__name__ for case in CASES for function in case.layers}
    assert layers <= covered, f"add cases to tests/cases for {sorted(layers - covered)}"


def test_every_case_has_a_name_of_its_own():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
