"""Run an experiment: read its settings, open its run folder, show a finished run, write the result of a new one."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from jaxnets.console import typed_command, user_errors
from jaxnets.errors import UserError
from jaxnets.experiment.settings import Config, check_settings, with_presets
from jaxnets.extras import needed_for
from jaxnets.report import RunFolder, write_report
from jaxnets.training import FitResult, Interrupted, is_first, keep_freed_memory, start_processes
from jaxnets.types import Params

Result: TypeAlias = dict[str, Any]
"""What is in `result.json`; see `jaxnets.report.RunFolder.write_result`."""
Options = TypeVar("Options")


class Findings(NamedTuple):
    """What an experiment found.

    Attributes:
        metrics: the final metrics.
        params: the final parameters, whose fingerprint is written.
        compile_seconds: wall time spent compiling, as far as it was measured.
        first_step: the step from which a resumed run went on.
        draw: draws the pictures. It is called after the result is written, so that no error in it costs the result.
        parts: what of the other time was spent on what, as far as it was measured.
    """

    metrics: Mapping[str, Any]
    params: Params
    compile_seconds: float = 0.0
    first_step: int = 0
    draw: Callable[[], object] | None = None
    parts: Mapping[str, float] = types.MappingProxyType({})

    @classmethod
    def of_fit(
        cls, trained: FitResult, metrics: Mapping[str, Any], params: Params, draw: Callable[[], object] | None = None
    ) -> Findings:
        """What was found after one `fit`: its times are known, those of training with callbacks."""
        parts = {"evaluation": trained.evaluate_seconds, "waiting for data": trained.waiting_seconds}
        parts = {"training": trained.run_seconds - sum(parts.values())} | parts
        known = {part: seconds for part, seconds in parts.items() if seconds}
        return cls(metrics, params, trained.compile_seconds, trained.first_step, draw, known)


def show_summary(folder: RunFolder, *summaries: Any, name: str = "summary") -> None:
    """Print summaries of models and keep them in a text file of the run.

    Args:
        folder: of the run.
        summaries: what `jaxnets.summary` returns, or texts.
        name: of the file, without `.txt`; the report shows those that begin with "summary" as models.

    Example:
        `show_summary(folder, jaxnets.summary(model, data.train[0][:1]))`
    """
    text = "\n".join(map(str, summaries))
    print(text, flush=True)
    folder.write_text(f"{name}.txt", text)


Work: TypeAlias = Callable[[Config, RunFolder], Findings]
"""What an experiment does with its settings and an open run folder."""


def in_run_folder(**presets: Mapping[str, Any]) -> Callable[[Work[Config]], Callable[[Config], Result]]:
    """Make `run(config) -> Result`, by `run_experiment`, of the function below it that does the work.

    Args:
        presets: for each flag among the settings, the settings that it stands for, such as `smoke={"epochs": 1}`.

    Returns:
        A decorator.

    Example:
        >>> import dataclasses, pathlib, tempfile
        >>> from jaxnets.experiment import TrainingSettings
        >>> @in_run_folder(smoke={"epochs": 1})
        ... def run(config, folder):
        ...     return Findings({"test": {"epochs": config.epochs}}, params={})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = run(TrainingSettings(smoke=True, out=pathlib.Path(folder) / "run"))  # doctest: +ELLIPSIS
        fingerprint ...
        run folder ...
        report ...
        >>> result["metrics"]
        {'test': {'epochs': 1}}
    """

    def decorate(work: Work[Config]) -> Callable[[Config], Result]:
        @functools.wraps(work)
        def run(config: Config) -> Result:
            return run_experiment(work, with_presets(config, presets))

        return run

    return decorate


def run_experiment(work: Work[Config], config: Config) -> Result:
    """Do the work in its run folder, write the result, draw and write a report, or show the result of an ended run.

    The experiment is named after the file of `work`. The result adds seconds, command, commit, versions and device to
    what was found. If the work refuses a setting or lacks a file before it has written anything, no folder is left.

    Args:
        work: `work(config, folder) -> Findings`.
        config: the settings.

    Returns:
        The content of `result.json`.

    Raises:
        SettingError: a ValueError, if a setting has a value that it cannot have.
        RunFolderError: a ValueError, if the folder `config.out` holds something else than this run.
    """
    check_settings(config)
    folder = RunFolder.open(Path(inspect.getfile(work)).stem, config, path=config.out)
    if (done := folder.read_result()) is not None:
        print(f"this run has ended: {folder.path / 'result.json'}")
        return done
    if not folder.checkpoints.exists():  # nothing to go on from: what a stopped run wrote is written again
        folder.drop_metrics_after(-1)
    keep_freed_memory()
    started = time.perf_counter()
    try:
        found = work(config, folder)
    except (UserError, OSError):  # such as a batch size that the data do not allow
        folder.remove_untouched()
        raise
    seconds = time.perf_counter() - started
    result = folder.write_result(
        found.metrics,
        found.params,
        compile_seconds=found.compile_seconds,
        run_seconds=seconds - found.compile_seconds,
        first_step=found.first_step,
        parts=found.parts,
    )
    print(f"fingerprint {result['fingerprint']}\nrun folder {folder.path}", flush=True)
    if is_first():
        _show(found, folder)
    return folder.read_result() or result


def _show(found: Findings, folder: RunFolder) -> None:
    """Draw the pictures of a run, and write its report."""
    if found.draw is not None:
        started = time.perf_counter()
        found.draw()
        folder.add_seconds("drawing", time.perf_counter() - started)
    print(f"report {write_report(folder.path)}", flush=True)


def read_options(
    options: Callable[..., Options],
    description: str | None = None,
    words: Sequence[str] | None = None,
    command: str | None = None,
) -> Options:
    """Read a command line into a dataclass, or call a function with what it says.

    Args:
        options: the class or function; its fields or arguments become options.
        description: what `--help` says first, line by line; often the docstring of the program.
        words: of the command line; by default those of the process.
        command: as it is typed; by default as it was.

    Returns:
        The instance, or what the function returned.

    Raises:
        MissingPackageError: an ImportError, if tyro is not installed.

    Example:
        >>> from jaxnets.experiment import TrainingSettings
        >>> read_options(TrainingSettings, words=["--epochs", "3"]).epochs
        3
    """
    command = command or typed_command()
    with needed_for("a command line"):
        import tyro
    words = sys.argv[1:] if words is None else words
    if description and not {"-h", "--help", "-H", "--help-verbose"}.isdisjoint(words):
        print(description.strip(), end="\n\n")  # tyro would join its lines
    return tyro.cli(options, prog=command, description=description and "", args=words)


def main(
    config_class: type[Any],
    run: Callable[[Any], Any],
    description: str | None,
    *,
    words: Sequence[str] | None = None,
    command: str | None = None,
) -> None:
    """Read the settings from the command line, run the experiment, and say how to go on if it is interrupted.

    Of several processes the first one alone prints. What the user can correct is said on one line, without traceback.

    Args:
        config_class: of the settings.
        run: `run(config)`.
        description: what `--help` says first; often the docstring of the program.
        words: of the command line; by default those of the process.
        command: as it is typed; by default as it was.

    Example:
        `main(Config, run, __doc__)`, at the end of a file below `if __name__ == "__main__":`
    """
    command = command or typed_command()
    with user_errors(command):
        config = read_options(config_class, description, words, command)
        start_processes()
        if not is_first():
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        try:
            run(config)
        except Interrupted as interrupted:
            print(f"{interrupted}; run the same command again to go on", file=sys.stderr)
            sys.exit(128 + interrupted.signal_number)
