"""The machine and versions of a result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "optax", "flax", "equinox", "dm-haiku", "keras", "torch", "numpy")


def describe() -> str:
    """Hardware, operating system, versions and commit, as a Markdown list."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} missing")
    return "\n".join(
        [
            f"- hardware: {_processor()}, {os.cpu_count()} cores visible",
            f"- system: {platform.system()} {platform.machine()}, Python {platform.python_version()}",
            f"- versions: {', '.join(versions)}",
            f"- commit: {commit()}",
        ]
    )


def commit() -> str:
    """The commit of the checkout, with "-dirty" if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "not a git checkout"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
