"""What jax2onnx makes of the networks computes the same in onnxruntime.

jax2onnx asks for an older Orbax than training does, so that it lies apart from the environment; `make test-slow` puts
it there. The conversion has a process of its own, without the tests' strict modes.
"""

import importlib.util
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is None, reason="jax2onnx is not installed"),
]

NETWORKS = {
    "lenet5": ("models.lenet5()", (28, 28, 1), "B"),
    "mnist_cnn": ("models.mnist_cnn()", (28, 28, 1), "B"),
    "mlp": ("models.mlp(models.MLPConfig((4, 8, 8, 3), norm=True))", (4,), "B"),
    "vgg": ("models.vgg(models.VGGConfig(11, 5, norm=True, pooled=1, hidden=(), width=1 / 16))", (32, 32, 3), "B"),
    "cifar_resnet": ("models.cifar_resnet(models.CifarResNetConfig(14, width=4))", (16, 16, 3), "B"),
    "resnet": ("models.resnet(models.ResNetConfig(50, 3, width=2))", (32, 32, 3), 5),
    "googlenet": ("models.googlenet(models.GoogLeNetConfig(5, small_images=True, width=1 / 16))", (32, 32, 3), 5),
    "efficientnet": ("models.efficientnet(models.efficientnet_config(0, classes=3))", (32, 32, 3), 5),
}
"""Models, the shapes of their examples, and the batch; "B" for any, which jax2onnx cannot do where it pads."""
PROGRAM = """
import sys
import jax, jax2onnx, numpy as np, onnxruntime
from jaxnets import models
from jaxnets.backend import plain_forms

networks = []
for name, (model, shape, batch) in eval(sys.argv[1]).items():
    model = eval(model)
    params, state = model.init(jax.random.key(0))

    def predict(x, model=model, params=params, state=state):
        return model.apply(params, state, x, train=False)[0]

    sizes = (1, 5) if batch == "B" else (batch,)
    inputs = [np.random.default_rng(size).normal(size=(size, *shape)).astype(np.float32) for size in sizes]
    expected = [np.asarray(jax.jit(predict)(x)) for x in inputs]
    networks.append((name, predict, [(batch, *shape)], inputs, expected))

for name, predict, shapes, inputs, expected in networks:  # conversions leave patches in JAX's caches
    path = f"{sys.argv[2]}/{name}.onnx"
    with plain_forms("convolution,small_product"):  # else in primitives that jax2onnx does not know
        jax2onnx.to_onnx(predict, shapes, return_mode="file", output_path=path)
    session = onnxruntime.InferenceSession(path)
    argument = session.get_inputs()[0].name
    for x, outputs in zip(inputs, expected, strict=True):
        np.testing.assert_allclose(session.run(None, {argument: x})[0], outputs, rtol=1e-4, atol=1e-5, err_msg=name)
    print(name)
"""


def test_onnxruntime_computes_the_same_of_every_network(tmp_path):
    command = [sys.executable, "-c", PROGRAM, repr(NETWORKS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.split() == [*NETWORKS]
