"""Training: the step as a pure function, ways to compile it, evaluation, and the loop."""

from jaxnets.training.batches import batch_indices, data_size, steps_per_epoch
from jaxnets.training.checkpoint import load_checkpoint, save_checkpoint
from jaxnets.training.checkpoints import Checkpoints, load_best, load_last
from jaxnets.training.compilation_cache import keep_compiled_programs
from jaxnets.training.compiled import compile_step, scan_data, scan_steps
from jaxnets.training.early_stopping import early_stopping
from jaxnets.training.ema import use_ema, with_ema
from jaxnets.training.evaluation import make_evaluate
from jaxnets.training.event import Callback, Event
from jaxnets.training.freeze import freeze, path_mask
from jaxnets.training.gradient import Loss
from jaxnets.training.gradient_report import GradientRow, gradient_table, make_gradient_report
from jaxnets.training.history import History, Record
from jaxnets.training.interrupt import Interrupted
from jaxnets.training.loop import FitResult, fit
from jaxnets.training.nonfinite import NonFiniteError
from jaxnets.training.parallel import data_parallel, device_mesh, pmap_step, replicate
from jaxnets.training.precision import compute_in
from jaxnets.training.state import TrainState, init_train_state
from jaxnets.training.step import Step, make_step
from jaxnets.training.supervised import supervised
from jaxnets.training.tune import compiler_options, keep_freed_memory, tuning_enabled

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
