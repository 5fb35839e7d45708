"""Provenance of a result: date, command, commit, versions, device and processor."""

from __future__ import annotations

import datetime
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
    return _output(["git", *arguments], folder)


def _output(command: Sequence[str], folder: Path | None = None) -> str | None:
    try:
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:  # no such program, or no such folder
        return None
    return finished.stdout.strip() if finished.returncode == 0 else None


def date() -> str:
    """Return the date and time, in UTC and to the second, as ISO 8601 writes them.

    Example:
        >>> datetime.datetime.fromisoformat(date()).utcoffset()
        datetime.timedelta(0)
    """
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


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
    """Return what JAX computes on, and what is around it.

    Returns:
        `platform`, such as `"gpu"`; `kind`, the model of a GPU or TPU, such as `"NVIDIA H100 80GB HBM3"`, and `"cpu"`
        for any CPU; `count`; `processor`, the model of the CPU; `cores`, how many of its cores this process may use;
        `system`, such as `"Linux x86_64"`.

    Example:
        >>> sorted(device())
        ['cores', 'count', 'kind', 'platform', 'processor', 'system']
    """
    import jax

    devices = jax.devices()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "processor": processor(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor(cpuinfo: str | os.PathLike[str] = "/proc/cpuinfo") -> str:
    """Return the model of the CPU, or its architecture where the system does not say more.

    Args:
        cpuinfo: the file in which Linux describes its CPUs.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w") as file:
        ...     print("processor : 0", "model name : AMD EPYC 7B13", sep=chr(10), file=file, flush=True)
        ...     processor(file.name)
        'AMD EPYC 7B13'
    """
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    if platform.system() == "Darwin":
        named = _output(["sysctl", "-n", "machdep.cpu.brand_string"])
        if named:
            return named
    return platform.processor() or platform.machine()
