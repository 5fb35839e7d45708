"""Files of weights: what is written is read, and damaged, foreign or hostile files are refused."""

import os
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from jaxnets import models
from jaxnets.weights import load, read_torch, save

MODEL = models.cifar_resnet(models.CifarResNetConfig(14, 3, width=2))
SPEC = MODEL.spec


@pytest.fixture(scope="module")
def network():
    return MODEL.init(jax.random.key(0))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_what_is_saved_is_loaded(network, dtype, tmp_path):
    params, state = jax.tree.map(lambda leaf: leaf.astype(dtype), network[0]), network[1]
    save(tmp_path / "net.safetensors", params, state)
    again, again_state = load(tmp_path / "net.safetensors", SPEC)
    assert jax.tree.structure((again, again_state)) == jax.tree.structure((params, state))
    jax.tree.map(np.testing.assert_array_equal, (again, again_state), (params, state))
    assert jax.tree.map(lambda leaf: leaf.dtype, again) == jax.tree.map(lambda leaf: leaf.dtype, params)
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_others_read_what_is_saved(network, tmp_path):
    save(tmp_path / "net.safetensors", *network)
    tensors = safetensors.torch.load_file(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(tensors["params/fc/kernel"].numpy(), network[0]["fc"]["kernel"])
    assert tensors["state/stages/0/rest/conv1/norm/count"].tolist() == [0]


def test_a_failed_save_leaves_the_file_before(network, tmp_path, monkeypatch):
    save(tmp_path / "net.safetensors", *network)
    before = (tmp_path / "net.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(OSError, match="no space"):
        save(tmp_path / "net.safetensors", *network)
    assert (tmp_path / "net.safetensors").read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_a_file_of_another_network_lists_what_does_not_fit(network, tmp_path):
    save(tmp_path / "net.safetensors", *network)
    with pytest.raises(ValueError, match="do not fit the spec") as caught:
        load(tmp_path / "net.safetensors", models.cifar_resnet(models.CifarResNetConfig(8, 10, width=2)).spec)
    for part in ("unexpected params/stages/0/rest/conv1/conv/kernel", "params/fc/kernel must be [8, 10], got [8, 3]"):
        assert part in str(caught.value)


def test_damaged_and_missing_files(network, tmp_path):
    path = tmp_path / "net.safetensors"
    save(path, *network)
    content = path.read_bytes()
    for damaged in (content[:100], content[:-4], b"", b"\xff" * 64):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"net\.safetensors is damaged or no safetensors file"):
            load(path, SPEC)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "other.safetensors", SPEC)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_torch(tmp_path / "other.pth")


WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


@pytest.mark.parametrize("nested", [lambda w: w, lambda w: {"state_dict": w, "epoch": 3}, lambda w: {"model": w}])
def test_pytorch_s_files(nested, tmp_path):
    torch.save(nested(WEIGHTS), tmp_path / "net.pth")
    safetensors.torch.save_file(WEIGHTS, tmp_path / "net.safetensors")
    for name in ("net.pth", "net.safetensors"):
        weights = read_torch(tmp_path / name)
        assert {key: np.asarray(value).tolist() for key, value in weights.items()} == {
            "fc.weight": [[0, 1, 2], [3, 4, 5]],
            "fc.bias": [1, 1],
        }


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_never_run(tmp_path):
    for name, write in (("new.pth", torch.save), ("old.pth", lambda o, p: p.write_bytes(pickle.dumps(o, protocol=2)))):
        write({"fc.weight": Hostile(tmp_path / "attacked")}, tmp_path / name)
        with pytest.raises(ValueError, match="is damaged, or holds more than tensors"):
            read_torch(tmp_path / name)
        assert not (tmp_path / "attacked").exists()


def test_other_content_of_pytorch_s_files(tmp_path):
    path = tmp_path / "net.pth"
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="must hold a state_dict, names with tensors; got list"):
        read_torch(path)
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="is damaged"):
        read_torch(path)
