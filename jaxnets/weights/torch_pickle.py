"""PyTorch's files, read without running code from them and in memory that is a small multiple of the file's size."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

from jaxnets.errors import FileError
from jaxnets.extras import needed_for

_NEEDED = ("collections OrderedDict", "collections Counter", "__builtin__ set", "builtins set")
_LEGACY_PICKLES = 5
"""In a file of before PyTorch 1.6: a magic number, a version, the system, the content, the names of the storages."""
_ERRORS = (  # what PyTorch raises on damaged files
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile),
)


def load_torch(path: Path) -> Any:
    """Return what `torch.save` wrote, of types that PyTorch takes for safe.

    Besides those, PyTorch lets a file call `bytearray` and `encode`, with which a file of a kilobyte fills any memory,
    and decompresses it. `torch.save` needs neither, so such files are refused before PyTorch reads them.

    Args:
        path: of the file.

    Raises:
        ImportError: if PyTorch is not installed.
        ValueError: if the file is damaged, or is refused.

    Example:
        `load_torch(Path("resnet50.pth"))["fc.bias"]` is a tensor `[1000]`.
    """
    with needed_for("weights.read_torch"):
        import torch

    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\3\4":
                content = path.read_bytes()  # from a file, PyTorch takes the memory of every length in it first
                stream = io.BytesIO(content)
                for _ in range(_LEGACY_PICKLES):
                    _check_pickle(stream)
                return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            _check_archive(file, path.stat().st_size)
        return torch.load(path, map_location="cpu", weights_only=True)
    except _ERRORS as error:
        raise FileError(f"{path} is damaged, or holds more than tensors, which is never loaded: {error}") from error


def _check_archive(file: IO[bytes], size: int) -> None:
    """Raise ValueError unless the members are stored as they are, and the pickles call nothing unusual."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed; torch.save never does that")
        total = sum(member.file_size for member in members)
        if total > size:
            raise ValueError(f"it announces {total:,} bytes of content in a file of {size:,} bytes")
        for member in members:
            if member.filename.endswith(".pkl"):
                _check_pickle(io.BytesIO(archive.read(member)))


def _check_pickle(stream: IO[bytes]) -> None:
    """Raise ValueError unless the next pickle calls only PyTorch, which is limited by `weights_only`."""
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name == "GLOBAL" and not (argument in _NEEDED or str(argument).startswith(("torch ", "torch."))):
            raise ValueError(f"it calls {str(argument).replace(' ', '.')}, which no state_dict needs")
