"""A run of `fit` in a process of its own, for the tests that kill it: `python -m tests.training.killed_run FOLDER`."""

import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np

from jaxnets.training import (
    Checkpoints,
    early_stopping,
    fit,
    init_train_state,
    load_best,
    make_evaluate,
    make_step,
    supervised,
)

EPOCHS, BATCH, PER_CALL = 6, 8, 3


def main(folder: Path, pause: float, epochs: int = EPOCHS) -> None:
    """Train with checkpoints; write every number of the run and, at the end, every bit of the train state."""
    import optax

    from jaxnets import losses, metrics
    from tests.training.problem import MODEL, data

    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, 100))
    loss = supervised(MODEL, losses.cross_entropy, {"accuracy": metrics.accuracy})

    def slow(event):
        print(event.kind, event.step, flush=True)
        if event.kind == "steps":
            time.sleep(pause)

    result = fit(
        init_train_state(MODEL, optimizer, seed=3),
        make_step(loss, optimizer),
        data(100),
        epochs=epochs,
        batch_size=BATCH,
        steps_per_call=PER_CALL,
        evaluate=make_evaluate(loss),
        validation=data(30, seed=1),
        callbacks=[slow, early_stopping(patience=100)],
        checkpoints=Checkpoints(folder / "checkpoints", every_steps=PER_CALL),
    )
    best = load_best(folder / "checkpoints", like=result.train_state)
    both = jax.tree.leaves((result.train_state, best))
    leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(both)}
    np.savez(folder / "end.npz", history=np.array([repr(record) for record in result.history]), **leaves)


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests started by nohup would pass on that it is ignored
    main(Path(sys.argv[1]), float(sys.argv[2]))
