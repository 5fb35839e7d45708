"""Training: the step as a pure function, ways to compile it, evaluation, and the loop."""

from jaxnets.path_mask import path_mask as path_mask
from jaxnets.processes import (
    OtherProcessError as OtherProcessError,
    from_first as from_first,
    is_first as is_first,
)
from jaxnets.start_processes import start_processes as start_processes
from jaxnets.training.alternate import Part as Part, alternate as alternate, alternate_state as alternate_state
from jaxnets.training.batches import (
    batch_indices as batch_indices,
    data_size as data_size,
    steps_per_epoch as steps_per_epoch,
)
from jaxnets.training.bucketed import bucket_evaluate as bucket_evaluate, bucket_step as bucket_step
from jaxnets.training.checkpoint import load_checkpoint as load_checkpoint, save_checkpoint as save_checkpoint
from jaxnets.training.checkpoints import Checkpoints as Checkpoints, load_best as load_best, load_last as load_last
from jaxnets.training.compilation_cache import keep_compiled_programs as keep_compiled_programs
from jaxnets.training.compiled import compile_step as compile_step, scan_data as scan_data, scan_steps as scan_steps
from jaxnets.training.early_stopping import early_stopping as early_stopping
from jaxnets.training.ema import use_ema as use_ema, with_ema as with_ema
from jaxnets.training.evaluation import make_evaluate as make_evaluate
from jaxnets.training.event import Callback as Callback, Event as Event
from jaxnets.training.freeze import freeze as freeze, freeze_except as freeze_except
from jaxnets.training.gradient import Loss as Loss
from jaxnets.training.gradient_report import (
    GradientRow as GradientRow,
    gradient_table as gradient_table,
    make_gradient_report as make_gradient_report,
)
from jaxnets.training.history import History as History, Record as Record
from jaxnets.training.in_evaluation import in_evaluation as in_evaluation
from jaxnets.training.interrupt import Interrupted as Interrupted
from jaxnets.training.loop import FitResult as FitResult, fit as fit
from jaxnets.training.loss_scale import with_loss_scale as with_loss_scale
from jaxnets.training.nonfinite import NonFiniteError as NonFiniteError
from jaxnets.training.parallel import (
    data_parallel as data_parallel,
    device_mesh as device_mesh,
    pmap_step as pmap_step,
    replicate as replicate,
)
from jaxnets.training.precision import compute_in as compute_in
from jaxnets.training.state import TrainState as TrainState, init_train_state as init_train_state
from jaxnets.training.statistics import update_statistics as update_statistics
from jaxnets.training.step import Step as Step, make_step as make_step
from jaxnets.training.supervised import supervised as supervised
from jaxnets.training.synchronized import synchronized as synchronized
from jaxnets.training.tune import (
    compiler_options as compiler_options,
    keep_freed_memory as keep_freed_memory,
    tuning_enabled as tuning_enabled,
)
