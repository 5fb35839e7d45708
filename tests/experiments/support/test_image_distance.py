"""The features of LeNet against PyTorch's layers, and distances of MNIST's own images and of noise."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from experiments.support import image_distance, mnist
from jaxnets.data.files import find

has_data = pytest.mark.skipif(
    find(image_distance.FILE) is None, reason="the weights of LeNet are not in the data folder"
)


def torch_features(arrays, images):
    """LeNet-5 for images of 32 x 32, its third convolution over all that is left."""
    x = functional.pad(torch.tensor(images).permute(0, 3, 1, 2), (2, 2, 2, 2))
    for name in ("c1", "c3"):
        x = functional.conv2d(x, arrays[f"convnet.{name}.weight"], arrays[f"convnet.{name}.bias"])
        x = functional.max_pool2d(x.tanh(), 2)
    x = functional.conv2d(x, arrays["convnet.c5.weight"], arrays["convnet.c5.bias"]).tanh().flatten(1)
    return functional.linear(x, arrays["fc.f6.weight"], arrays["fc.f6.bias"]).tanh()


def test_the_features_are_those_of_pytorch(tmp_path, monkeypatch):
    """Of random weights in a file of the same form."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"convnet.c1": (6, 1, 5, 5), "convnet.c3": (16, 6, 5, 5), "convnet.c5": (120, 16, 5, 5)}
    shapes |= {"fc.f6": (84, 120), "fc.f7": (10, 84)}
    arrays = {}
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = 0.2 * torch.randn(shape, generator=generator)
        arrays[f"{name}.bias"] = 0.2 * torch.randn(shape[0], generator=generator)
    path = tmp_path / "lenet.pth"
    torch.save(arrays, path)
    monkeypatch.setattr(image_distance, "locate", lambda files: [path])
    monkeypatch.setattr(image_distance, "read_verified", lambda path, file: b"")
    lenet = image_distance.load_lenet()
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    features = image_distance.features_of(lenet, jnp.asarray(images))
    np.testing.assert_allclose(features, torch_features(arrays, images), rtol=1e-4, atol=1e-5)
    logits = functional.linear(torch.tensor(np.asarray(features)), arrays["fc.f7.weight"], arrays["fc.f7.bias"])
    np.testing.assert_array_equal(image_distance.digits_of(lenet, features), logits.argmax(dim=1))


def test_another_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "lenet.pth").write_bytes(b"0" * image_distance.FILE.size)
    with pytest.raises(ValueError, match=r"lenet\.pth has content of SHA-256"):
        image_distance.load_lenet()


@has_data
@pytest.mark.slow
def test_distances_of_real_digits_and_of_noise():
    """Computed before with PyTorch and NumPy: 60,000 training images and 10,000 of the test, and uniform noise."""
    (images, _), (held_out, labels) = mnist.load_digits(smoke=False)
    lenet = image_distance.load_lenet()
    real, test = (image_distance.moments_of(lenet, each) for each in (images, held_out))
    assert image_distance.distance(real, test) == pytest.approx(0.052, abs=0.001)
    noise = np.random.default_rng(0).random(held_out.shape, np.float32)
    assert image_distance.distance(real, image_distance.moments_of(lenet, noise)) == pytest.approx(104.4, abs=0.3)
    read = image_distance.digits_of(lenet, image_distance.features_of(lenet, jnp.asarray(held_out)))
    assert np.mean(np.asarray(read) == labels) > 0.98
