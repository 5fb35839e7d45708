"""One readable script for each result; `python -m experiments` lists them. Wheels leave them to the repository."""

import contextlib
import importlib.util
import sys

NEEDED = ("matplotlib", "rich", "sklearn", "tyro")

if not all(map(importlib.util.find_spec, NEEDED)):
    from jaxnets.console import user_errors
    from jaxnets.extras import require

    # while `python -m` looks for an experiment, "-m" is in the place of its name
    with user_errors("experiments") if sys.argv[0] == "-m" else contextlib.nullcontext():
        require("every experiment", *NEEDED)
