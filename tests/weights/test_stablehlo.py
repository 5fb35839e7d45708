"""Exported networks run in a process that does not know this library, and are the same functions."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import models
from jaxnets.weights import export_model, load_exported

NETWORKS = {
    "lenet5": (models.lenet5(), (28, 28, 1), jnp.float32),
    "cifar_resnet": (models.cifar_resnet(models.CifarResNetConfig(14, width=4)), (16, 16, 3), jnp.float32),
    "vgg": (
        models.vgg(models.VGGConfig(11, 5, norm=True, pooled=1, hidden=(), width=1 / 16)),
        (32, 32, 3),
        jnp.float32,
    ),
    "googlenet": (
        models.googlenet(models.GoogLeNetConfig(5, small_images=True, width=1 / 16)),
        (32, 32, 3),
        jnp.float32,
    ),
    "char_rnn": (models.char_rnn(models.CharRNNConfig(7, hidden=8)), (5,), jnp.int32),
    "mlp": (models.mlp(models.MLPConfig((4, 8, 8, 3), norm=True)), (4,), jnp.float32),
}
SLOW = ("cifar_resnet", "googlenet", "vgg")
ELSEWHERE = """
import pathlib, sys
import jax, numpy
sys.modules["jaxnets"] = None  # an import would fail
exported = jax.export.deserialize(bytearray(pathlib.Path(sys.argv[1]).read_bytes()))
assert set(exported.platforms) == {"cpu", "cuda", "tpu"}, exported.platforms
for name in ("three", "eight"):
    numpy.save(sys.argv[2] + f"/{name}-out.npy", exported.call(numpy.load(sys.argv[2] + f"/{name}.npy")))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS]
)
def test_a_process_without_this_library_computes_the_same_for_any_batch(name, tmp_path):
    model, shape, dtype = NETWORKS[name]
    params, state = model.init(jax.random.key(0))
    export_model(tmp_path / "net", model, params, state, jax.ShapeDtypeStruct((1, *shape), dtype))
    expected = {}
    apply = jax.jit(lambda params, state, inputs: model.apply(params, state, inputs, train=False)[0])
    for batch, size in (("three", 3), ("eight", 8)):
        values = np.random.default_rng(size).normal(size=(size, *shape)) * 3
        inputs = (np.abs(values) % 7).astype(np.int32) if dtype == jnp.int32 else values.astype(np.float32)
        np.save(tmp_path / f"{batch}.npy", inputs)
        expected[batch] = apply(params, state, inputs)
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "net"), str(tmp_path)]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    for batch, outputs in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{batch}-out.npy"), outputs, rtol=1e-5, atol=1e-5)


def test_a_batch_of_fixed_size_and_one_platform(tmp_path):
    model = models.lenet5()
    params, state = model.init(jax.random.key(0))
    images = jnp.ones((2, 28, 28, 1))
    export_model(tmp_path / "net", model, params, state, images, platforms=["cpu"], any_batch=False)
    function = load_exported(tmp_path / "net")
    np.testing.assert_allclose(
        function(images), model.apply(params, state, images, train=False)[0], rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match=r"batch|shape"):
        function(jnp.ones((3, 28, 28, 1)))


def test_damaged_files_and_inputs_without_a_batch(tmp_path):
    (tmp_path / "net").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is damaged or was not written by export_model"):
        load_exported(tmp_path / "net")
    model = models.lenet5()
    with pytest.raises(ValueError, match="an input has no axes"):
        export_model(tmp_path / "net", model, {}, {}, jnp.float32(1))
