"""Training: the step as a pure function, ways to compile it, evaluation, and a plain loop."""

from jaxnets.train.batches import batch_indices, data_size, steps_per_epoch
from jaxnets.train.checkpoint import load_checkpoint, save_checkpoint
from jaxnets.train.compiled import compile_step, scan_data, scan_steps
from jaxnets.train.evaluation import make_evaluate
from jaxnets.train.event import Callback, Event
from jaxnets.train.loop import FitResult, fit
from jaxnets.train.state import TrainState, init_train_state
from jaxnets.train.step import Loss, Step, make_step, supervised
from jaxnets.train.tune import compiler_options, keep_freed_memory, tuning_enabled

__all__ = [
    "Callback",
    "Event",
    "FitResult",
    "Loss",
    "Step",
    "TrainState",
    "batch_indices",
    "compile_step",
    "compiler_options",
    "data_size",
    "fit",
    "init_train_state",
    "keep_freed_memory",
    "load_checkpoint",
    "make_evaluate",
    "make_step",
    "save_checkpoint",
    "scan_data",
    "scan_steps",
    "steps_per_epoch",
    "supervised",
    "tuning_enabled",
]

keep_freed_memory()
