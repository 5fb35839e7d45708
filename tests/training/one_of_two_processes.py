"""One of two processes on this machine that train together, each with data of its own: `... RANK ADDRESS`."""

import sys

import jax
import numpy as np

from jaxnets.training import data_parallel, device_mesh, fit, replicate


def main(rank, address):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, 2, rank)
    from tests.training.problem import STEP, start

    mesh = device_mesh()
    random = np.random.default_rng(rank)
    rows = random.normal(size=(32, 4)).astype(np.float32), random.integers(0, 3, 32).astype(np.int32)
    try:
        fit(replicate(start(), mesh), data_parallel(STEP, mesh), rows, epochs=1, batch_size=16)
    except ValueError as error:
        print(error)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
