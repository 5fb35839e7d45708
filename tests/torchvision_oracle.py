"""torchvision, where it is installed.

Its wheels are built for torch with CUDA. Beside the CPU build they import if the shapes of their compiled operations
are not registered; the models and the transforms need none of them.
"""

import importlib
import importlib.util
from unittest import mock

import pytest
import torch


def import_torchvision(module):
    """Import a module of torchvision; skip the importing test file if it is not installed."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed", allow_module_level=True)
    register = torch.library.register_fake

    def register_others(name, *args, **kwargs):
        if isinstance(name, str) and name.startswith("torchvision::"):
            return lambda function: function
        return register(name, *args, **kwargs)

    with mock.patch.object(torch.library, "register_fake", register_others):
        return importlib.import_module(module)
