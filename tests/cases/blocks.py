"""Cases of a convolution with norm, residual blocks and stages, and squeeze and excitation."""

import functools

import jax

from jaxnets import nn
from tests.cases.case import Case, stateless
from tests.oracles import normal


def with_state(function, **settings):
    def apply(params, state, inputs, key):
        return function(params, state, inputs, **settings)

    return apply


def depthwise_spec(in_channels, out_channels, kernel_size, **settings):
    return nn.depthwise_conv_spec(
        in_channels, kernel_size, **(settings | {"kernel_init": jax.nn.initializers.normal()})
    )


def conditioned(params, state, inputs, key, rate=0.2):
    x, condition = inputs["x"], inputs["condition"]
    return nn.conditioned_block(params, x, condition, groups=2, dropout_rate=rate, key=key, train=True), state


CONV_NORM = (nn.conv_norm,)
BASIC = (nn.basic_block,)
IMAGE = normal(2, 6, 5, 4)
SMOOTH = {"activation": jax.nn.tanh}
CASES = [
    Case(
        "conv-norm-train",
        CONV_NORM,
        nn.conv_norm_spec(4, 3, (3, 3)),
        with_state(nn.conv_norm, train=True, stride=2, padding=1, **SMOOTH),
        IMAGE,
        needs_examples=True,
    ),
    Case(
        "conv-norm-depthwise",
        CONV_NORM,
        nn.conv_norm_spec(4, 4, (3, 3), convolution_spec=depthwise_spec),
        with_state(nn.conv_norm, train=False, convolution=nn.depthwise_conv, epsilon=1e-3),
        IMAGE,
    ),
    Case(
        "basic-block",
        BASIC,
        nn.basic_block_spec(4, 4),
        with_state(nn.basic_block, train=True),
        IMAGE,
        needs_examples=True,
    ),
    Case(
        "basic-block-zeros-for-channels",
        BASIC,
        nn.basic_block_spec(4, 7),
        with_state(nn.basic_block, train=False, stride=2),
        IMAGE,
    ),
    Case(
        "basic-block-plain",
        BASIC,
        nn.basic_block_spec(4, 6),
        with_state(nn.basic_block, train=True, stride=2, residual=False),
        IMAGE,
        needs_examples=True,
    ),
    Case(
        "bottleneck-block-projection",
        (nn.bottleneck_block,),
        nn.bottleneck_block_spec(4, 2, projection=True),
        with_state(nn.bottleneck_block, train=True, stride=2),
        IMAGE,
        needs_examples=True,
        slow=True,
    ),
    Case(
        "residual-stage",
        (nn.residual_stage,),
        nn.residual_stage_spec(nn.basic_block_spec(4, 5, projection=True), nn.basic_block_spec(5, 5), 3),
        with_state(functools.partial(nn.residual_stage, nn.basic_block), train=False, stride=2),
        IMAGE,
    ),
    Case(
        "conditioned-block",
        (nn.conditioned_block,),
        nn.conditioned_block_spec(4, 6, 5),
        conditioned,
        {"x": IMAGE, "condition": normal(2, 5)},
        random=True,
    ),
    Case(
        "conditioned-block-scaled",
        (nn.conditioned_block,),
        nn.conditioned_block_spec(4, 4, 5, scaled=True),
        functools.partial(conditioned, rate=0.0),
        {"x": IMAGE, "condition": normal(2, 5)},
    ),
    Case(
        "image-attention",
        (nn.image_attention,),
        nn.image_attention_spec(4, heads=2),
        stateless(nn.image_attention, groups=2),
        IMAGE,
        uses=64,
    ),
    Case(
        "squeeze-excitation",
        (nn.squeeze_excitation,),
        nn.squeeze_excitation_spec(4, 2),
        stateless(nn.squeeze_excitation, activation=jax.nn.silu),
        IMAGE,
    ),
]
