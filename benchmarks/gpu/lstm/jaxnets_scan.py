"""jaxnets: nn.lstm as it comes, a scan that allows all transformations."""

import functools

from benchmarks.gpu.lstm.jaxnets import prepare as prepare_any

prepare = functools.partial(prepare_any, implementation="scan")
