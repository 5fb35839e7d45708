"""Runs that differ in nothing but their seed, what differs between such groups, and their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnets.report.pages.curves import Point, points_of
from jaxnets.report.pages.record import RunRecord, setting

NOT_SETTINGS = ("seed", "out")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Group(NamedTuple):
    """Runs of one experiment that differ in their seed only.

    Attributes:
        letter: its short name.
        label: the settings that other groups do not have.
        runs: ordered by seed.
    """

    letter: str
    label: str
    runs: list[RunRecord]

    @property
    def seeds(self) -> list[Any]:
        """The seeds of the runs."""
        return [run.seed for run in self.runs]


class Spread(NamedTuple):
    """Statistics of the numbers of several runs; `deviation` has n - 1 in the denominator and is None for one run."""

    n: int
    mean: float
    deviation: float | None
    smallest: float
    largest: float


def settings_of(run: RunRecord) -> dict[str, Any]:
    """What two runs of one group have in common."""
    return {name: value for name, value in run.config.items() if name not in NOT_SETTINGS}


def group_runs(runs: Sequence[RunRecord]) -> list[Group]:
    """Put runs together that differ in their seed only; groups in the order of their first runs."""
    together: list[list[RunRecord]] = []
    for run in runs:
        for others in together:
            if _alike(run, others[0]):
                others.append(run)
                break
        else:
            together.append([run])
    different = differences([others[0] for others in together])
    experiments = names_of_experiments(runs)
    groups = []
    for number, others in enumerate(together):
        config = settings_of(others[0])
        words = [others[0].experiment] if len(experiments) > 1 else []
        words += [f"{name} {setting(config[name])}" for name in different if name in config]
        letter = LETTERS[number % len(LETTERS)] + (str(number // len(LETTERS) + 1) if number >= len(LETTERS) else "")
        ordered = sorted(others, key=lambda run: (not isinstance(run.seed, int), str(run.seed).zfill(12)))
        groups.append(Group(letter, ", ".join(words) or others[0].experiment, ordered))
    return groups


def _alike(run: RunRecord, other: RunRecord) -> bool:
    """Whether two runs differ in their seed only; the folder of an unfinished one need not say its experiment."""
    known = run.result is not None and other.result is not None
    return settings_of(run) == settings_of(other) and (run.experiment == other.experiment or not known)


def names_of_experiments(runs: Sequence[RunRecord]) -> list[str]:
    """The names of all experiments, by the finished runs if there are any."""
    finished = [run for run in runs if run.result is not None]
    return list(dict.fromkeys(run.experiment for run in finished or runs))


def differences(runs: Sequence[RunRecord]) -> list[str]:
    """The names of the settings that not all of some runs have in common."""
    configs = [settings_of(run) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if any(config.get(name, ...) != configs[0].get(name, ...) for config in configs)]


def repeated_seeds(group: Group) -> list[Any]:
    """Seeds that several runs of a group have: their numbers are no independent repetitions."""
    return sorted({seed for seed in group.seeds if group.seeds.count(seed) > 1}, key=str)


def spread(values: Sequence[float]) -> Spread:
    """Mean and spread; not a number if one of the values is.

    Example:
        >>> spread([1.0, 2.0, 6.0])
        Spread(n=3, mean=3.0, deviation=2.6457513110645907, smallest=1.0, largest=6.0)
    """
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return Spread(len(values), float(np.mean(values)), deviation, float(np.min(values)), float(np.max(values)))


def spreads(group: Group) -> dict[tuple[str, str], Spread]:
    """The spread of each final number over the finished runs of a group that have it."""
    found = [run.metrics for run in group.runs]
    names = dict.fromkeys(name for metrics in found for name in metrics)
    return {name: spread([metrics[name] for metrics in found if name in metrics]) for name in names}


def mean_curve(group: Group, name: str, split: str) -> tuple[list[Point], list[tuple[float, float, float]]]:
    """The mean of a group's curves, and mean minus and plus the standard deviation.

    Both are of the epochs at which every run of the group that has the curve was measured. A mean of values of which
    one is not finite is None, and has no band.
    """
    curves = [points for run in group.runs if (points := points_of(run.rows, name, split))]
    if len(curves) < 2:
        return [], []
    by_epoch = [{epoch: (step, value) for epoch, step, value in points} for points in curves]
    means: list[Point] = []
    band = []
    for epoch, (step, _) in by_epoch[0].items():
        if not all(epoch in curve for curve in by_epoch):
            continue
        values = [curve[epoch][1] for curve in by_epoch]
        finite = [value for value in values if value is not None]
        if len(finite) < len(values):
            means.append((epoch, step, None))
            continue
        of_all = spread(finite)
        means.append((epoch, step, of_all.mean))
        deviation = of_all.deviation or 0.0
        if math.isfinite(of_all.mean) and math.isfinite(deviation):
            band.append((epoch, of_all.mean - deviation, of_all.mean + deviation))
    return means, band
