"""Settings that many experiments have, and what each may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

from jaxnets.config import PositiveFloat, PositiveInt, Rule
from jaxnets.errors import SettingError

Seed: TypeAlias = Annotated[int, Rule("from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32)]
"""A seed, of 32 bits."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of every experiment. Each has a frozen dataclass `Config` of its own, which inherits from this one.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config(Settings):
        ...     steps: PositiveInt = 1_000
        >>> Config(seed=3)
        Config(seed=3, out=None, smoke=False, steps=1000)
    """

    seed: Seed = 0
    """Of everything random."""
    out: Path | None = None
    """The run folder; by default runs/<experiment>/<time>-seed<seed>."""
    smoke: bool = False
    """Do very little, to see that everything runs; needs no files."""


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Settings):
    """Settings of an experiment that trains for some epochs.

    Example:
        >>> TrainingSettings(epochs=3)
        TrainingSettings(seed=0, out=None, smoke=False, epochs=3, batch_size=64, learning_rate=0.001)
    """

    epochs: PositiveInt = 10
    """How often a network sees every example."""
    batch_size: PositiveInt = 64
    """Examples per step."""
    learning_rate: PositiveFloat = 1e-3
    """Adam's learning rate."""


Config = TypeVar("Config", bound=Settings)


def with_presets(config: Config, presets: Mapping[str, Mapping[str, Any]]) -> Config:
    """Replace the settings of each preset whose flag is set.

    Args:
        config: the settings that were given.
        presets: for each flag, the settings that it stands for; a later flag overrides an earlier one.

    Returns:
        The settings, of the same class.

    Example:
        >>> with_presets(TrainingSettings(smoke=True), {"smoke": {"epochs": 1}}).epochs
        1
    """
    for flag, settings in presets.items():
        if getattr(config, flag):
            config = dataclasses.replace(config, **settings)
    return config


def check_settings(config: Settings) -> None:
    """Check every setting by the `jaxnets.config.Rule` of its annotation, also one that a base class has.

    Raises:
        SettingError: a ValueError, if a setting does not keep to its rule.

    Example:
        >>> check_settings(TrainingSettings(epochs=0))
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: epochs must be at least 1, got 0
    """
    for owner in type(config).__mro__:
        for name, hint in get_type_hints(owner, include_extras=True).items():
            for rule in getattr(hint, "__metadata__", ()):
                if isinstance(rule, Rule) and not rule.holds(value := getattr(config, name)):
                    raise SettingError(f"{name} must be {rule.meaning}, got {value!r}")
