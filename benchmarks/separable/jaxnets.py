"""jaxnets: the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp

from benchmarks import separable as case
from benchmarks.resnet20.jaxnets import train
from jaxnets import init, make_model, nn


def block_spec(before, after):
    return {
        "depthwise": nn.depthwise_conv_spec(before, (3, 3), bias=False),
        "norm1": nn.batch_norm_spec(before),
        "pointwise": nn.conv_spec(before, after, (1, 1), bias=False),
        "norm2": nn.batch_norm_spec(after),
    }


def block(params, state, x, *, stride, train):
    x = nn.depthwise_conv(params["depthwise"], x, stride=stride, padding=1)
    x, norm1 = nn.batch_norm(params["norm1"], state["norm1"], x, train=train)
    x = nn.conv(params["pointwise"], jax.nn.relu(x))
    x, norm2 = nn.batch_norm(params["norm2"], state["norm2"], x, train=train)
    return jax.nn.relu(x), {"norm1": norm1, "norm2": norm2}


CHANNELS, STRIDES = zip(*case.BLOCKS, strict=True)
SPEC = {
    "stem": nn.conv_spec(3, case.WIDTH, (3, 3)),
    "blocks": [block_spec(*sizes) for sizes in zip((case.WIDTH, *CHANNELS[:-1]), CHANNELS, strict=True)],
    "fc": nn.linear_spec(CHANNELS[-1], 10),
}


def apply(params, state, x, *, key=None, train):
    x, states = nn.conv(params["stem"], x, padding=1), []
    for block_params, block_state, stride in zip(params["blocks"], state["blocks"], STRIDES, strict=True):
        x, new_state = block(block_params, block_state, x, stride=stride, train=train)
        states.append(new_state)
    return nn.linear(params["fc"], nn.global_avg_pool(x)), {"blocks": states}


def make_params(weights):
    def leaf(path, array):
        return jnp.asarray(weights[jax.tree_util.keystr(path, simple=True, separator="/")]).reshape(array.shape)

    return jax.tree_util.tree_map_with_path(leaf, init(SPEC, jax.random.key(0))[0])


def prepare(weights, images, labels):
    return train(case, make_model(SPEC, apply), make_params(weights), images, labels)
