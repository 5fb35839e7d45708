"""Training: the step as a pure function, ways to compile it, evaluation, and the loop."""

from jaxnets.train.batches import batch_indices, data_size, steps_per_epoch
from jaxnets.train.checkpoint import load_checkpoint, save_checkpoint
from jaxnets.train.checkpoints import Checkpoints, load_best, load_last
from jaxnets.train.compilation_cache import keep_compiled_programs
from jaxnets.train.compiled import compile_step, scan_data, scan_steps
from jaxnets.train.early_stopping import early_stopping
from jaxnets.train.ema import use_ema, with_ema
from jaxnets.train.evaluation import make_evaluate
from jaxnets.train.event import Callback, Event
from jaxnets.train.freeze import freeze, path_mask
from jaxnets.train.gradient import Loss
from jaxnets.train.gradient_report import GradientRow, gradient_table, make_gradient_report
from jaxnets.train.history import History, Record
from jaxnets.train.interrupt import Interrupted
from jaxnets.train.loop import FitResult, fit
from jaxnets.train.nonfinite import NonFiniteError
from jaxnets.train.parallel import data_parallel, device_mesh, pmap_step, replicate
from jaxnets.train.precision import compute_in
from jaxnets.train.state import TrainState, init_train_state
from jaxnets.train.step import Step, make_step, supervised
from jaxnets.train.tune import compiler_options, keep_freed_memory, tuning_enabled

__all__ = [
    "Callback",
    "Checkpoints",
    "Event",
    "FitResult",
    "GradientRow",
    "History",
    "Interrupted",
    "Loss",
    "NonFiniteError",
    "Record",
    "Step",
    "TrainState",
    "batch_indices",
    "compile_step",
    "compiler_options",
    "compute_in",
    "data_parallel",
    "data_size",
    "device_mesh",
    "early_stopping",
    "fit",
    "freeze",
    "gradient_table",
    "init_train_state",
    "keep_compiled_programs",
    "keep_freed_memory",
    "load_best",
    "load_checkpoint",
    "load_last",
    "make_evaluate",
    "make_gradient_report",
    "make_step",
    "path_mask",
    "pmap_step",
    "replicate",
    "save_checkpoint",
    "scan_data",
    "scan_steps",
    "steps_per_epoch",
    "supervised",
    "tuning_enabled",
    "use_ema",
    "with_ema",
]

keep_freed_memory()
