"""Provenance of a result: command, commit, versions and device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_SETTINGS = ("JAX_", "JAXNETS_", "XLA_FLAGS", "LIBTPU_INIT_ARGS")


def command(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return the command of this process, quoted for a shell, preceded by the environment variables of JAX.

    Args:
        arguments: the interpreter and its arguments; by default this process's.
        environment: environment variables; by default this process's. Those of JAX, XLA and jaxnets are included,
            because they can change a result.

    Example:
        >>> command(["/usr/bin/python3", "-m", "experiments.digits_cnn", "--out", "my runs"], {"JAX_PLATFORMS": "cpu"})
        "JAX_PLATFORMS=cpu python -m experiments.digits_cnn --out 'my runs'"
        >>> command(["/usr/bin/python3", "/home/me/.venv/bin/jaxnets", "train", "--seed", "1"], {})
        'jaxnets train --seed 1'
    """
    arguments = sys.orig_argv if arguments is None else arguments
    environment = os.environ if environment is None else environment
    settings = [
        f"{name}={shlex.quote(environment[name])}" for name in sorted(environment) if name.startswith(_SETTINGS)
    ]
    words = ["python", *arguments[1:]]
    if [Path(word).name for word in words[1:2]] == ["jaxnets"]:  # the script that pip installed
        words = ["jaxnets", *words[2:]]
    return " ".join([*settings, shlex.join(words)])


def commit(file: str | os.PathLike[str]) -> str | None:
    """Return the git commit of the checkout that contains a file.

    Args:
        file: a source file.

    Returns:
        The hash, followed by `-dirty` if there are changes; None without a checkout or git, or if the file is ignored
        (such as an installed package inside a checkout).

    Example:
        >>> commit("/no/such/folder/file.py") is None
        True
    """
    folder, name = Path(file).resolve().parent, Path(file).name
    head = _git(folder, "rev-parse", "HEAD")
    if head is None or _git(folder, "check-ignore", "--quiet", name) is not None:
        return None
    changes = _git(folder, "status", "--porcelain")
    return head if changes == "" else f"{head}-dirty"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None if it fails or is not there."""
    try:
        finished = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:  # no git, or no such folder
        return None
    return finished.stdout.strip() if finished.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions of Python, this library, and the packages that numbers depend on.

    Example:
        >>> sorted(versions())
        ['jax', 'jaxlib', 'jaxnets', 'numpy', 'optax', 'python']
    """
    import jaxnets

    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "optax", "numpy")}
    return {"python": platform.python_version(), "jaxnets": jaxnets.__version__, **packages}


def device() -> dict[str, Any]:
    """Return what JAX computes on: `platform`, `kind` and `count`.

    Example:
        >>> sorted(device())
        ['count', 'kind', 'platform']
    """
    import jax

    devices = jax.devices()
    return {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)}
