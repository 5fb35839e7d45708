"""jaxnets: nn.lstm with cuDNN's kernel; the scan where there is no GPU."""

import functools

from benchmarks.gpu.lstm.jaxnets import prepare as prepare_any
from jaxnets import backend

prepare = functools.partial(prepare_any, implementation="cudnn" if backend.platform() == "gpu" else "scan")
