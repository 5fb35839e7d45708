"""Keras with its JAX backend, steps in one lax.scan, by its stateless interface."""

import jax

from benchmarks import mnist_cnn as case
from benchmarks.mnist_cnn.in_scan import in_scan
from benchmarks.mnist_cnn.keras_ import LOSS, start


def prepare(weights, images, labels):
    network, optimizer = start(weights, images, labels)
    optimizer.build(network.trainable_variables)
    variables = network.trainable_variables, network.non_trainable_variables, optimizer.variables
    state = [[variable.value for variable in group] for group in variables]

    def loss_fn(trainable, non_trainable, images, labels):
        logits, non_trainable = network.stateless_call(trainable, non_trainable, images, training=True)
        return LOSS(labels, logits), non_trainable

    def step(state, batch):
        trainable, non_trainable, slots = state
        (value, non_trainable), grads = jax.value_and_grad(loss_fn, has_aux=True)(trainable, non_trainable, *batch)
        trainable, slots = optimizer.stateless_apply(slots, grads, trainable)
        return [trainable, non_trainable, slots], value

    return in_scan(state, jax.device_put(case.batches(images, labels)), step)
