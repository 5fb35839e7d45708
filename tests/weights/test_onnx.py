"""What jax2onnx makes of the networks computes the same in onnxruntime.

jax2onnx asks for an older Orbax than training does, so that it lies apart from the environment; `make test-slow` puts it
there. The conversion has a process of its own, without the tests' strict modes.
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
    "lenet5": ("models.lenet5()", (28, 28, 1)),
    "mnist_cnn": ("models.mnist_cnn()", (28, 28, 1)),
    "mlp": ("models.mlp([4, 8, 8, 3], norm=True)", (4,)),
    "vgg": ("models.vgg(11, 5, norm=True, pooled=1, hidden=(), width=1 / 16)", (32, 32, 3)),
    "cifar_resnet": ("models.cifar_resnet(14, width=4)", (16, 16, 3)),
}
PROGRAM = """
import sys
import jax, jax2onnx, numpy as np, onnxruntime
from jaxnets import models

model, shape, path = eval(sys.argv[1]), eval(sys.argv[2]), sys.argv[3]
params, state = model.init(jax.random.key(0))

def predict(x):
    return model.apply(params, state, x, train=False)[0]

jax2onnx.to_onnx(predict, [("B", *shape)], return_mode="file", output_path=path)
session = onnxruntime.InferenceSession(path)
name = session.get_inputs()[0].name
for batch in (1, 5):
    x = np.random.default_rng(batch).normal(size=(batch, *shape)).astype(np.float32)
    np.testing.assert_allclose(session.run(None, {name: x})[0], jax.jit(predict)(x), rtol=1e-4, atol=1e-5)
"""


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_computes_the_same(name, tmp_path):
    model, shape = NETWORKS[name]
    command = [sys.executable, "-c", PROGRAM, model, str(shape), str(tmp_path / "net.onnx")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
