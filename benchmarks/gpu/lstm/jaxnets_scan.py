"""jaxnets: nn.lstm by default, a scan that supports all transformations."""

import functools

from benchmarks.gpu.lstm.jaxnets import prepare as prepare_any

prepare = functools.partial(prepare_any, implementation="scan")
