"""Files of weights: what is written is read, and damaged, foreign or hostile files are refused."""

import codecs
import json
import os
import pickle
import subprocess
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from jaxnets import init, models, nn
from jaxnets.weights import load, read_safetensors, read_torch, save
from jaxnets.weights.torch_layout import host_array

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


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*/none for the file a\.safetensors"):
        save(tmp_path / "none" / "a.safetensors", {"w": np.ones(2)})


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


OTHER = {"fc.weight": torch.zeros(2, 3), "fc.bias": torch.zeros(2)}
WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


@pytest.mark.parametrize(
    "nested",
    [
        lambda w: w,
        lambda w: {"state_dict": w, "epoch": 3},
        lambda w: {"model": w},
        lambda w: {
            "epoch": 3,
            "model_state_dict": w,
            "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(2)}}},
        },
        lambda w: {"state_dict_ema": w, "arch": "net"},
        lambda w: {"model": w, "model_ema": OTHER, "loss": torch.ones(2)},
        lambda w: {"state_dict": w, "state_dict_ema": OTHER},
        lambda w: {"model": {"state_dict": w, "depth": 3}},
        lambda w: {"model": {"depth": 3}, "net": w},
        lambda w: {"model": torch.ones(2), "weights": w, "args": {}},
    ],
)
def test_pytorch_s_files(nested, tmp_path):
    torch.save(nested(WEIGHTS), tmp_path / "net.pth")
    torch.save(nested(WEIGHTS), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(WEIGHTS, tmp_path / "net.safetensors")
    for name in ("net.pth", "old.pth", "net.safetensors"):
        weights = read_torch(tmp_path / name)
        assert {key: np.asarray(value).tolist() for key, value in weights.items()} == {
            "fc.weight": [[0, 1, 2], [3, 4, 5]],
            "fc.bias": [1, 1],
        }


def test_one_of_several_state_dicts(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"generator": WEIGHTS, "critic": OTHER, "epoch": 3, "losses": [1.0, 2.0]}, path)
    listed = r"a dict of 'generator' \(dict of 2\), 'critic' \(dict of 2\), 'epoch' \(int\), 'losses' \(list of 2\)"
    with pytest.raises(ValueError, match=f"got {listed}. .* write read_torch\\(path, entry=") as caught:
        read_torch(path)
    assert len(str(caught.value)) < 1000
    assert read_torch(path, entry="critic")["fc.bias"].tolist() == [0, 0]
    with pytest.raises(ValueError, match=f"no entry 'discriminator'; it holds {listed}"):
        read_torch(path, entry="discriminator")
    torch.save({"state_dict": WEIGHTS, "state_dict_ema": OTHER}, path)
    assert read_torch(path, entry="state_dict_ema")["fc.bias"].tolist() == [0, 0]
    safetensors.torch.save_file(WEIGHTS, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="a safetensors file has no entries"):
        read_torch(tmp_path / "net.safetensors", entry="model")


def write_shards(folder, suffix=".safetensors"):
    """Two files and their index, as Hugging Face's libraries write them."""
    places = {name: f"model-0000{number}-of-00002{suffix}" for number, name in enumerate(WEIGHTS, start=1)}
    for name, file in places.items():
        write = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
        write({name: WEIGHTS[name]}, folder / file)
    index = folder / f"model{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": places}))
    return index, places


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_network_in_several_files_is_read_as_one(tmp_path, suffix):
    index, places = write_shards(tmp_path, suffix)
    for read in (read_torch, read_safetensors) if suffix == ".safetensors" else (read_torch,):
        arrays = read(index)
        assert {name: np.asarray(array).tolist() for name, array in arrays.items()} == {
            "fc.weight": [[0, 1, 2], [3, 4, 5]],
            "fc.bias": [1, 1],
        }
    with pytest.raises(
        FileNotFoundError, match=rf"arrays are in several files, so read their index model{suffix}.index"
    ):
        read_torch(tmp_path / f"model{suffix}")
    (tmp_path / places["fc.bias"]).unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no file .*model-00002-of-00002{suffix}"):
        read_torch(index)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is no index of weights: it must hold 'weight_map'"),
        ('{"weight_map": {"a": 3}}', "is no index of weights"),
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', "must be the name of a file in the folder"),
        (json.dumps({"weight_map": {"a": "x" * 300}}), "must be the name of a file in the folder"),
        ('{"weight_map": {"a": "../other.safetensors"}}', "must be the name of a file in the folder of the index"),
        (
            json.dumps({"weight_map": dict.fromkeys(("fc.weight", "x"), "model-00001-of-00002.safetensors")}),
            "does not fit its files: x is only in one of them",
        ),
    ],
)
def test_an_index_that_does_not_fit(tmp_path, content, message):
    index, _ = write_shards(tmp_path)
    index.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_torch(index)


FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")


@pytest.mark.parametrize("kind", ["net.pth", "net.safetensors"])
def test_dtypes_are_kept(tmp_path, kind):
    numbers = torch.tensor([[0.5, -1.25, 3.0], [0.0, 100.0, 0.013]])
    tensors = {
        name: numbers.to(getattr(torch, name)) for name in (*FLOAT8, "bfloat16", "float16", "float32", "float64")
    }
    tensors["number"] = torch.tensor(2.0).to(torch.float8_e5m2)
    (safetensors.torch.save_file if kind == "net.safetensors" else torch.save)(tensors, tmp_path / kind)
    arrays = {name: host_array(array) for name, array in read_torch(tmp_path / kind).items()}
    for name, tensor in tensors.items():
        assert name in ("number", arrays[name].dtype)
        np.testing.assert_array_equal(arrays[name].astype(np.float64), tensor.double().numpy())


def test_float8_is_saved_and_loaded(tmp_path):
    spec = {"fc": nn.linear_spec(3, 2)}
    params, _ = init(spec, jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float8_e4m3fn), params)
    save(tmp_path / "net.safetensors", params)
    again, _ = load(tmp_path / "net.safetensors", spec)
    assert again["fc"]["kernel"].dtype == jnp.float8_e4m3fn
    np.testing.assert_array_equal(again["fc"]["kernel"].astype(np.float32), params["fc"]["kernel"].astype(np.float32))


def test_a_dtype_of_safetensors_that_jax_does_not_have(tmp_path):
    packed = torch.zeros(2, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    safetensors.torch.save_file({"fc.weight": packed}, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"'fc.weight' is of the dtype F4, which JAX does not have; convert it"):
        read_torch(tmp_path / "net.safetensors")


class Calls:
    """Calls a function where it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [torch.save, write_legacy, write_pickle])
@pytest.mark.parametrize(
    "hostile",
    [
        lambda path: Calls(os.mkdir, str(path)),
        lambda path: Calls(os.system, f"mkdir {path}"),
        lambda path: Calls(eval, f"__import__('os').mkdir({str(path)!r})"),
        lambda path: Calls(exec, f"import os; os.mkdir({str(path)!r})"),
        lambda path: Calls(subprocess.run, ["mkdir", str(path)]),
    ],
)
def test_code_in_a_file_is_never_run(write, hostile, tmp_path):
    path = tmp_path / "net.pth"
    write({"fc.weight": hostile(tmp_path / "attacked")}, path)
    with pytest.raises(ValueError, match=r"net\.pth is damaged, or holds more than tensors"):
        read_torch(path)
    assert not (tmp_path / "attacked").exists()
    write({"fc.weight": hostile(tmp_path / "attacked")}, path.with_suffix(".safetensors"))
    with pytest.raises(ValueError, match=r"net\.safetensors is damaged or no safetensors file"):
        read_torch(path.with_suffix(".safetensors"))
    assert not (tmp_path / "attacked").exists()


def doubled(times):
    """A string that is twice as long with each of the nested calls."""
    text = "ab"
    for _ in range(times):
        text = Calls(codecs.encode, text, "hex")
    return text


@pytest.mark.parametrize("write", [torch.save, write_legacy])
@pytest.mark.parametrize(
    ("call", "name"), [(doubled(40), r"_codecs\.encode"), (Calls(bytearray, 1 << 32), r"__builtin__\.bytearray")]
)
def test_a_small_file_cannot_fill_the_memory(write, call, name, tmp_path):
    write({"fc.weight": torch.ones(2), "more": call}, tmp_path / "net.pth")
    assert (tmp_path / "net.pth").stat().st_size < 5000
    with pytest.raises(ValueError, match=f"holds more than tensors, which is never loaded: it calls {name}"):
        read_torch(tmp_path / "net.pth")


def repacked(path, compression):
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in content:
            archive.writestr(name, content[name] + bytes((1 << 24) * (compression == zipfile.ZIP_DEFLATED)))


def test_archives_that_are_larger_inside_are_refused(tmp_path):
    path = tmp_path / "net.pth"
    torch.save(WEIGHTS, path)
    repacked(path, zipfile.ZIP_STORED)
    assert set(read_torch(path)) == set(WEIGHTS)
    repacked(path, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"it is compressed; torch\.save never does that"):
        read_torch(path)
    with zipfile.ZipFile(path, "w") as archive:  # of which every member has the same bytes
        archive.writestr("net/data.pkl", bytes(100_000))
        archive.filelist *= 50
    with pytest.raises(ValueError, match=r"it announces 5,000,000 bytes of content in a file of 10\d,\d+ bytes"):
        read_torch(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02X\xff\xff\xff\xffabc",  # a string of 4 GiB
        b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",  # a whole number of 2 GiB
        b"\x80\x02h\x07.",  # what was never memorized
        b"\x80\x02a.",
        b"\x80",
        b"PK\3\4",
    ],
)
def test_damaged_pickles_are_refused_and_take_no_memory(content, tmp_path):
    (tmp_path / "net.pth").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"net\.pth is damaged"):
            read_torch(tmp_path / "net.pth")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_other_content_of_pytorch_s_files(tmp_path):
    path = tmp_path / "net.pth"
    for content in ({3: torch.ones(2)}, {"a": torch.ones(2, 2).to_sparse()}, {"a": torch.ones(2, device="meta")}):
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"must hold names with plain tensors, got .* with a torch"):
            read_torch(path)
    cycle = {"epoch": 3}
    cycle["model"] = cycle
    torch.save(cycle, path)
    with pytest.raises(ValueError, match=r"net\.pth is damaged: it holds a dict that holds itself"):
        read_torch(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="must hold a state_dict, names with tensors; got list"):
        read_torch(path)
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="is damaged"):
        read_torch(path)
