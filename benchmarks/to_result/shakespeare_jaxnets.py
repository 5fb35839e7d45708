"""jaxnets: `python -m benchmarks.to_result.shakespeare_jaxnets SEED` prints the validation loss."""

import sys

import jax
import optax

from benchmarks import nanogpt as case
from benchmarks.nanogpt.jaxnets import decayed
from benchmarks.to_result import SHAKESPEARE
from jaxnets import losses
from jaxnets.data import text_windows, tiny_shakespeare
from jaxnets.models import GPTConfig, gpt
from jaxnets.training import compile_step, init_train_state, make_evaluate, make_step, scan_data, supervised

STEPS, PEAK = SHAKESPEARE["steps"], SHAKESPEARE["rate"]


def main(seed):
    text = tiny_shakespeare()
    parts = [text_windows(part, case.CONTEXT) for part in (text.train, text.validation)]
    train, validation = [(windows[:, :-1], windows[:, 1:]) for windows in parts]
    sizes = {"layers": case.LAYERS, "heads": case.HEADS, "features": case.FEATURES}
    model = gpt(GPTConfig(case.VOCABULARY, case.CONTEXT, activation="gelu_exact", bias=False, **sizes))
    rate = optax.warmup_cosine_decay_schedule(0.0, PEAK, SHAKESPEARE["warm_up"], STEPS, PEAK / 10)
    adamw = optax.adamw(rate, *case.BETAS, weight_decay=case.DECAY, mask=decayed)
    optimizer = optax.chain(optax.clip_by_global_norm(case.CLIP), adamw)
    loss = supervised(model, losses.cross_entropy)
    state = init_train_state(model, optimizer, seed)
    run = compile_step(scan_data(make_step(loss, optimizer), steps=STEPS, batch_size=case.BATCH))
    state, _ = run(state, jax.device_put(train))
    return float(make_evaluate(loss, batch_size=64)(state, validation)["loss"].compute())


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
