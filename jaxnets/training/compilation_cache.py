"""Compiled programs that later processes use again."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def keep_compiled_programs(folder: str | os.PathLike[str]) -> None:
    """Keep all compiled programs in a folder, so that later processes need not compile them again.

    This is JAX's persistent compilation cache with its limits taken away: by default it skips programs that compile in
    less than a second, which is most of those on a CPU. Call it before the first computation. The folder may be shared
    by programs; delete it when it grows too large.

    Args:
        folder: is made if it is not there.

    Example:
        >>> import tempfile
        >>> keep_compiled_programs(tempfile.mkdtemp())
        >>> jax.config.jax_persistent_cache_min_compile_time_secs
        0
        >>> jax.config.update("jax_compilation_cache_dir", None)
    """
    path = Path(folder).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
