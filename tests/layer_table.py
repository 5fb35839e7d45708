"""The one table of all layers; `test_layer_table.py` crosses it with every property of the contract."""

import importlib
import pkgutil

import tests.cases

CASES = [
    case
    for module in sorted(info.name for info in pkgutil.iter_modules(tests.cases.__path__) if info.name != "case")
    for case in importlib.import_module(f"tests.cases.{module}").CASES
]
