"""A network of the playground as a program of its own, to be read, copied and changed."""

from __future__ import annotations

import json

from jaxnets.playground.settings import ACTIVATIONS, PlaygroundSettings, to_link

_PROGRAM = '''\
"""{title}, a network of the playground: the same steps, and on the same machine the same bits.

{link}
"""

import itertools

import jax
{imports}
jax.config.update("jax_platforms", "cpu")  # as the page does

data = playground("{data}", {data_seed}, noise={noise}, features={features}, train={train_share})


def uniform(key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -0.5, 0.5)


def layer_spec(inputs, neurons):
    tenths = jax.nn.initializers.constant(0.1)
    return {{"linear": nn.linear_spec(inputs, neurons, kernel_init=uniform, bias_init=tenths)}}


def apply(params, state, x, *, key=None, train):
    *hidden, output = params["layers"]
    for layer in hidden:
        x = nn.{activation}(nn.linear(layer["linear"], x))
    return {output}, state

{accuracy}
sizes = {sizes}  # of the input, of each hidden layer, and of the output
model = make_model({{"layers": [layer_spec(*pair) for pair in itertools.pairwise(sizes)]}}, apply)
loss = training.supervised(model, optax.l2_loss{loss_metrics})  # (output - label)^2 / 2
optimizer = {optimizer}
state = training.init_train_state(model, optimizer, seed={seed})

steps = training.steps_per_epoch(len(data.train[0]), {batch_size})
step = training.make_step(loss, optimizer)
epoch = training.compile_step(training.scan_data(step, steps=steps, batch_size={batch_size}, shuffle=False))
for _ in range({epochs}):
    state, _ = epoch(state, data.train)

evaluate = jax.jit(training.make_evaluate(loss))
for name, split in (("train", data.train), ("test", data.test)):
    numbers = metrics.compute(evaluate(state, split))
    print(name, {{metric: f"{{float(value):.9g}}" for metric, value in numbers.items()}})
'''

_ACCURACY = """
def accuracy(outputs, labels):
    return metrics.mean((outputs > 0) == (labels > 0))

"""


def program(settings: PlaygroundSettings) -> str:
    """Write the program that trains a network for `settings.epochs` and prints its losses.

    Args:
        settings: what it is.

    Returns:
        The text of a program in Python that needs nothing but this library. It prints, for each split, the loss and the
        accuracy of a classifier, with the nine digits that determine a number of 32 bits.

    Example:
        >>> from jaxnets.playground import PlaygroundSettings
        >>> lines = program(PlaygroundSettings(hidden=(4, 2))).splitlines()
        >>> [line for line in lines if line.startswith("sizes")]
        ['sizes = (2, 4, 2, 1)  # of the input, of each hidden layer, and of the output']
    """
    imports = [
        *(["import jax.numpy as jnp"] if settings.classifies else []),
        "import optax",
        "",
        "from jaxnets import make_model, metrics, nn, training",
        "from jaxnets.data import playground",
        *(["from jaxnets.playground import shrink_l1"] if settings.regularization == "l1" else []),
        *(["from jaxnets.regularizers import decay_mask"] if settings.regularization != "none" else []),
        "",
    ]
    last = 'nn.linear(output["linear"], x)'
    return _PROGRAM.format(
        **{name: getattr(settings, name) for name in _PLAIN},
        title=_title(settings),
        link=f"#{to_link(settings)}",
        imports="\n".join(imports),
        activation=ACTIVATIONS[settings.activation],
        features=json.dumps(settings.features),
        output=f"jnp.tanh({last}[:, 0])" if settings.classifies else f"{last}[:, 0]",
        accuracy=_ACCURACY if settings.classifies else "",
        loss_metrics=', {"accuracy": accuracy}' if settings.classifies else "",
        optimizer=_optimizer(settings),
    )


_PLAIN = ("data", "data_seed", "noise", "train_share", "sizes", "seed", "batch_size", "epochs")


def _title(settings: PlaygroundSettings) -> str:
    hidden = "-".join(map(str, settings.hidden))
    return f"{settings.data}, {hidden} {settings.activation} neurons" if hidden else f"{settings.data}, no hidden layer"


def _optimizer(settings: PlaygroundSettings) -> str:
    descent, rate = f"optax.sgd({settings.learning_rate})", settings.regularization_rate
    if settings.regularization == "l2":
        return f"optax.chain(optax.add_decayed_weights({rate}, mask=decay_mask), {descent})"
    if settings.regularization == "l1":
        return f"optax.chain({descent}, optax.masked(shrink_l1({settings.learning_rate}, {rate}), decay_mask))"
    return descent
