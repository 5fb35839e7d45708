"""Settings that many experiments have. Each has a frozen dataclass `Config` of its own, made from one of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of every experiment."""

    seed: int = 0
    """Of everything random."""
    out: Path | None = None
    """The run folder; by default runs/<experiment>/<time>-seed<seed>."""
    smoke: bool = False
    """Do very little, to see that everything runs; needs no files."""


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Settings):
    """Settings of an experiment that trains for some epochs."""

    epochs: int = 10
    """How often a network sees every example."""
    batch_size: int = 64
    """Examples per step."""
    learning_rate: float = 1e-3
    """Adam's learning rate."""


Config = TypeVar("Config", bound=Settings)


def with_presets(config: Config, presets: Mapping[str, Mapping[str, Any]]) -> Config:
    """Replace the settings of each preset whose flag is set.

    Args:
        config: the settings that were given.
        presets: for each flag, the settings that it stands for; a later flag overrides an earlier one.
    """
    for flag, settings in presets.items():
        if getattr(config, flag):
            config = dataclasses.replace(config, **settings)
    return config
