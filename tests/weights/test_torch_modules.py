"""Networks written in PyTorch compute the same as ours with their weights, and what does not fit is listed."""

import dataclasses
import functools
import re

import jax
import numpy as np
import pytest
import torch

from jaxnets import init, models, nn
from jaxnets.weights import Place, from_torch, to_torch, torch_names
from tests.oracles import assert_close


class TorchLeNet5(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = torch.nn.Linear(400, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)

    def forward(self, x):
        x = torch.nn.functional.avg_pool2d(torch.tanh(self.conv1(x)), 2)
        x = torch.nn.functional.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        x = torch.tanh(self.fc2(torch.tanh(self.fc1(x.flatten(1)))))
        return self.fc3(x)


class TorchMnistCnn(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 32, 3), torch.nn.Conv2d(32, 64, 3)
        self.fc1, self.fc2 = torch.nn.Linear(9216, 128), torch.nn.Linear(128, 10)

    def forward(self, x):
        x = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        x = torch.nn.functional.max_pool2d(x, 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


@pytest.mark.parametrize(("network", "model"), [(TorchLeNet5, models.lenet5()), (TorchMnistCnn, models.mnist_cnn())])
def test_the_textbook_networks_in_pytorch(network, model):
    torch.manual_seed(0)
    theirs = network()
    params, state = from_torch(theirs.state_dict(), model)
    x = np.random.default_rng(0).normal(size=(3, 28, 28, 1)).astype(np.float32)
    assert_close(model.apply(params, state, x, train=False)[0], theirs(torch.tensor(x).permute(0, 3, 1, 2)))


LAYERS = {
    "conv3d": (nn.conv, nn.conv_spec(4, 6, (2, 3, 1)), torch.nn.Conv3d(4, 6, (2, 3, 1)), (1, 5, 5, 5, 4)),
    "grouped": (
        nn.grouped_conv,
        nn.grouped_conv_spec(4, 6, (3, 2), groups=2),
        torch.nn.Conv2d(4, 6, (3, 2), groups=2),
        (2, 6, 5, 4),
    ),
    "depthwise": (
        nn.depthwise_conv,
        nn.depthwise_conv_spec(4, (3,), multiplier=2),
        torch.nn.Conv1d(4, 8, 3, groups=4),
        (2, 6, 4),
    ),
    "transposed": (
        nn.conv_transpose,
        nn.conv_transpose_spec(4, 6, (3, 2)),
        torch.nn.ConvTranspose2d(4, 6, (3, 2)),
        (2, 6, 5, 4),
    ),
    "transposed, in as out": (
        nn.conv_transpose,
        nn.conv_transpose_spec(2, 2, (2,)),
        torch.nn.ConvTranspose1d(2, 2, 2),
        (2, 6, 2),
    ),
    "grouped and transposed": (
        nn.grouped_conv_transpose,
        nn.grouped_conv_transpose_spec(4, 6, (3, 2), groups=2),
        torch.nn.ConvTranspose2d(4, 6, (3, 2), groups=2),
        (2, 6, 5, 4),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_layout_of_every_kind_of_kernel(name):
    layer, spec, theirs, shape = LAYERS[name]
    params, _ = from_torch(theirs.state_dict(prefix="conv."), {"conv": spec}, {"conv": Place("conv")})
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = theirs(torch.tensor(np.moveaxis(x, -1, 1)))
    assert_close(np.moveaxis(np.asarray(layer(params["conv"], x, padding="VALID")), -1, 1), expected)
    back = to_torch(params, {}, {"conv": spec}, {"conv": Place("conv")})
    assert_close(back["conv.weight"], theirs.weight)


class TorchTagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.rnn = torch.nn.Embedding(7, 3), torch.nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
        self.act, self.decoder = torch.nn.PReLU(8), torch.nn.Linear(8, 7)

    def forward(self, ids):
        y = self.rnn(self.encoder(ids))[0]
        return self.decoder(self.act(y.movedim(-1, 1)).movedim(1, -1))


TAGGER = {
    "encoder": nn.embedding_spec(7, 3),
    "recurrent": {"layers": nn.stacked_spec(nn.gru_spec, 3, 4, count=2, bidirectional=True)},
    "act": nn.prelu_spec(8),
    "decoder": nn.linear_spec(8, 7),
}
TAGGER_NAMES = {name: Place(name) for name in ("encoder", "act", "decoder")} | {"rnn": Place("recurrent/layers")}


def test_a_network_with_recurrent_layers_inside():
    torch.manual_seed(0)
    theirs, ids = TorchTagger(), np.array([[0, 3, 6, 1], [5, 5, 2, 0]])
    params, _ = from_torch(theirs.state_dict(), TAGGER, TAGGER_NAMES)
    both_ways = functools.partial(nn.bidirectional, nn.gru)
    y, _ = nn.stacked(both_ways, params["recurrent"]["layers"], nn.embedding(params["encoder"], ids))
    assert_close(nn.linear(params["decoder"], nn.prelu(params["act"], y)), theirs(torch.tensor(ids)))
    again = TorchTagger()
    weights = to_torch(params, {}, TAGGER, TAGGER_NAMES)
    again.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    np.testing.assert_allclose(again(torch.tensor(ids)).detach(), theirs(torch.tensor(ids)).detach(), rtol=1e-5)
    entries = dict(theirs.named_parameters())
    del entries["rnn.weight_hh_l1"]
    with pytest.raises(ValueError, match=r"weights of 'rnn' do not fit the spec: .*weight_hh_l1"):
        from_torch(entries, TAGGER, TAGGER_NAMES)


def test_bfloat16_keeps_its_bits_and_comes_back_as_float32():
    torch.manual_seed(0)
    theirs = TorchTagger().to(torch.bfloat16)
    params, _ = from_torch(dict(theirs.named_parameters()), TAGGER, TAGGER_NAMES)
    assert params["decoder"]["kernel"].dtype == "bfloat16"
    assert params["recurrent"]["layers"][1]["backward"]["hidden_kernel"].dtype == "bfloat16"
    np.testing.assert_array_equal(params["decoder"]["kernel"], theirs.decoder.weight.detach().float().numpy().T)
    weights = {name: torch.tensor(array) for name, array in to_torch(params, {}, TAGGER, TAGGER_NAMES).items()}
    assert torch.equal(weights["rnn.weight_hh_l1_reverse"], theirs.rnn.weight_hh_l1_reverse.float())


def test_statistics_of_half_precision_weights_are_float32():
    names = {"bn": Place("bn")}
    spec = {"bn": nn.batch_norm_spec(4)}
    params, state = from_torch(torch.nn.BatchNorm1d(4).half().state_dict(prefix="bn."), spec, names)
    assert params["bn"]["scale"].dtype == "float16"
    assert state["bn"]["mean"].dtype == state["bn"]["variance"].dtype == "float32"


MODELS = {
    "mnist_cnn": models.mnist_cnn(),
    "vgg16_bn": models.vgg(models.VGGConfig(16, 10, norm=True, pooled=2, hidden=(8, 6), width=1 / 16)),
    "resnet50": models.resnet(models.ResNetConfig(50, 10, width=2)),
    "cifar_resnet": models.cifar_resnet(models.CifarResNetConfig(20, width=2)),
    "googlenet": models.googlenet(models.GoogLeNetConfig(10, width=1 / 16)),
    "efficientnet_b1": models.efficientnet(models.efficientnet_config(1, classes=10)),
}


def random_weights(spec):
    """Parameters and state of random numbers made by numpy, which compiles nothing."""
    generator = np.random.default_rng(0)
    arrays = jax.tree.map(lambda leaf: generator.normal(size=leaf.shape).astype(np.float32), spec)
    params, state = jax.eval_shape(lambda: init(spec, jax.random.key(0)))

    def pick(path, leaf):
        value = arrays
        for entry in path:
            value = value[entry.key if hasattr(entry, "key") else entry.idx]
        return np.asarray(value * 100).astype(np.int32) if leaf.dtype == np.int32 else value

    return jax.tree_util.tree_map_with_path(pick, params), jax.tree_util.tree_map_with_path(pick, state)


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back(name):
    model = MODELS[name]
    params, state = random_weights(model.spec)
    weights = to_torch(params, state, model)
    assert_trees_equal(from_torch(weights, model), (params, state))


def assert_trees_equal(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_everything_that_does_not_fit_is_listed_at_once():
    theirs = TorchLeNet5().state_dict()
    del theirs["conv1.bias"], theirs["fc2.weight"]
    theirs["fc3.weight"] = torch.zeros(100, 84)
    theirs["head.weight"] = torch.zeros(3)
    with pytest.raises(ValueError, match="do not fit") as caught:
        from_torch(theirs, models.lenet5())
    message = str(caught.value)
    for part in (
        "missing conv1.bias [6]",
        "missing fc2.weight [84, 120]",
        "unexpected head.weight [3]",
        "fc3.weight must be [10, 84], got [100, 84]",
    ):
        assert part in message


def test_entries_to_ignore_and_old_files_without_counts():
    model = models.cifar_resnet(models.CifarResNetConfig(8, width=2))
    params, state = random_weights(model.spec)
    weights = to_torch(params, state, model)
    weights = {name: array for name, array in weights.items() if not name.endswith("num_batches_tracked")}
    weights["aux.0.weight"] = np.zeros(3, np.float32)
    again, new_state = from_torch(weights, model, ignore=["aux.*"])
    assert_trees_equal(again, params)
    norm = {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)}
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    _, after = nn.batch_norm(norm, new_state["stem"]["norm"], x, train=True)
    old = new_state["stem"]["norm"]["mean"]
    np.testing.assert_allclose(after["mean"], 0.9 * old + 0.1 * x.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_names_that_do_not_cover_the_spec_are_an_error():
    spec = models.lenet5().spec
    with pytest.raises(ValueError, match="no module for conv2/bias, conv2/kernel, fc1/bias"):
        from_torch({}, spec, {"conv1": Place("conv1")})
    with pytest.raises(ValueError, match="module for 'conv9', where the spec has no arrays"):
        from_torch({}, spec, {"conv1": Place("conv9")})
    with pytest.raises(ValueError, match="a spec alone does not say the names; pass the model"):
        from_torch({}, spec)
    with pytest.raises(ValueError, match="there is no table for MLPConfig, only for BertConfig, CLIPConfig, "):
        torch_names(models.mlp(models.MLPConfig((2, 3))))


def test_an_image_that_is_not_square():
    torch.manual_seed(0)
    theirs = TorchMnistCnn()
    theirs.fc1 = torch.nn.Linear(12 * 8 * 64, 128)
    model = models.mnist_cnn(models.MnistCNNConfig(28, 20))
    params, state = from_torch(theirs.state_dict(), model)
    x = np.random.default_rng(0).normal(size=(3, 28, 20, 1)).astype(np.float32)
    assert_close(model.apply(params, state, x, train=False)[0], theirs(torch.tensor(x).permute(0, 3, 1, 2)))


def test_bfloat16_tensors():
    weights = {name: tensor.bfloat16() for name, tensor in TorchLeNet5().state_dict().items()}
    params, _ = from_torch(weights, models.lenet5())
    assert_close(params["conv1"]["bias"], weights["conv1.bias"].float())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "net.encoder."])
def test_prefixed_names(prefix):
    theirs = TorchLeNet5()
    weights = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    message = rf"have the prefix '{re.escape(prefix)}', .*; write from_torch\(\.\.\., prefix='{re.escape(prefix)}'\)"
    with pytest.raises(ValueError, match=message):
        from_torch(weights, models.lenet5())
    weights |= {"n_averaged": torch.tensor(3), "criterion.weight": torch.ones(3)}
    params, _ = from_torch(weights, models.lenet5(), prefix=prefix)
    assert_trees_equal(params, from_torch(theirs.state_dict(), models.lenet5())[0])
    del weights[f"{prefix}fc1.bias"]
    with pytest.raises(ValueError, match=r"missing fc1.bias \[120\]$"):
        from_torch(weights, models.lenet5(), prefix=prefix)


def test_a_part_of_a_prefix_and_a_wrong_one():
    weights = {f"module.model.{name}": tensor for name, tensor in TorchLeNet5().state_dict().items()}
    with pytest.raises(ValueError, match=r"write from_torch\(\.\.\., prefix='module.model.'\)"):
        from_torch(weights, models.lenet5(), prefix="module.")
    with pytest.raises(ValueError, match=r"no name of the weights begins with the prefix 'net.'"):
        from_torch(weights, models.lenet5(), prefix="net.")
    both = weights | {name.replace("module.model.", "ema."): tensor for name, tensor in weights.items()}
    with pytest.raises(ValueError, match=r"have the prefix 'ema.' or 'module.model.', .*"):
        from_torch(both, models.lenet5())


@pytest.mark.parametrize(
    ("renamed", "rename"),
    [
        ({"fc3": "linear"}, {"linear": "fc3"}),
        ({"fc3": "linear", "conv1": "fc3.conv1"}, {"linear": "fc3", "fc3": ""}),
        ({"conv1": "net.stem", "conv2": "net.conv2"}, {"net": "", "net.stem": "conv1"}),
        ({"fc1": "fc2", "fc2": "fc1"}, {"fc1": "fc2", "fc2.": "fc1."}),
    ],
)
def test_modules_of_other_names(renamed, rename):
    theirs = TorchLeNet5().state_dict()
    file = {}
    for name, tensor in theirs.items():
        module, array = name.split(".")
        file[f"{renamed.get(module, module)}.{array}"] = tensor
    params, _ = from_torch(file, models.lenet5(), rename=rename)
    assert_trees_equal(params, from_torch(theirs, models.lenet5())[0])
    file = {f"module.{name}": tensor for name, tensor in file.items()}
    assert_trees_equal(from_torch(file, models.lenet5(), prefix="module.", rename=rename)[0], params)


def test_rename_says_what_does_not_fit():
    theirs = TorchLeNet5().state_dict()
    with pytest.raises(
        ValueError, match="nothing has the name 'linear' of rename; there are conv1, conv2, fc1, fc2, fc3"
    ):
        from_torch(theirs, models.lenet5(), rename={"linear": "fc3"})
    with pytest.raises(ValueError, match=r"'fc1.weight' and 'fc2.weight' are both 'fc2.weight'"):
        from_torch(theirs, models.lenet5(), rename={"fc1": "fc2"})
    with pytest.raises(ValueError, match="nothing has the name 'conv'"):  # whole names between dots
        from_torch(theirs, models.lenet5(), rename={"conv": "x"})
    theirs["linear.bias"] = theirs.pop("fc3.bias")
    with pytest.raises(
        ValueError, match=r"missing fc3.bias \[10\]\n  unexpected linear.bias \[10\]\n.*rename=\{'linear': 'fc'\}"
    ):
        from_torch(theirs, models.lenet5())


def test_a_module_around_all():
    model = models.gpt(models.GPTConfig(vocabulary=7, context=4, features=8, layers=1, heads=2))
    params, state = random_weights(model.spec)
    weights = {name.removeprefix("transformer."): array for name, array in to_torch(params, state, model).items()}
    assert_trees_equal(from_torch(weights, model, rename={"": "transformer"})[0], params)


def test_a_prefix_of_recurrent_layers():
    torch.manual_seed(0)
    theirs = TorchTagger().state_dict()
    weights = {f"module.{name}": tensor for name, tensor in theirs.items()}
    with pytest.raises(ValueError, match=r"prefix='module.'"):
        from_torch(weights, TAGGER, TAGGER_NAMES)
    params, _ = from_torch(weights, TAGGER, TAGGER_NAMES, prefix="module.")
    assert_trees_equal(params, from_torch(theirs, TAGGER, TAGGER_NAMES)[0])


def test_names_that_lack_a_prefix_as_those_of_hugging_faces_gpt2():
    model = models.gpt(models.GPTConfig(vocabulary=7, context=4, features=8, layers=1, heads=2))
    params, state = random_weights(model.spec)
    weights = {name.removeprefix("transformer."): array for name, array in to_torch(params, state, model).items()}
    with pytest.raises(ValueError, match=r"lack the prefix 'transformer.'; write from_torch\({'transformer.' \+ name"):
        from_torch(weights, model)
    again, _ = from_torch({"transformer." + name: array for name, array in weights.items()}, model)
    assert_trees_equal(again, params)


def test_weights_of_another_network_are_not_called_prefixed():
    weights = TorchLeNet5().state_dict() | {"layer.conv1.weight": torch.ones(2), "layer.conv2.weight": torch.ones(2)}
    with pytest.raises(ValueError, match=r"unexpected layer.conv1.weight \[2\]"):
        from_torch(weights, models.lenet5())
    with pytest.raises(ValueError, match="unexpected weight"):
        from_torch({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, models.lenet5())


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_float8_keeps_its_bits_and_comes_back_as_float32(name):
    spec, names = {"fc": nn.linear_spec(3, 2), "bn": nn.batch_norm_spec(4)}, {"fc": Place("fc"), "bn": Place("bn")}
    numbers = torch.tensor([[0.5, -1.25, 3.0], [0.0, 100.0, 0.013]]).to(getattr(torch, name))
    weights = {"fc.weight": numbers, "fc.bias": torch.ones(2).to(getattr(torch, name))}
    weights |= {
        f"bn.{key}": tensor.to(getattr(torch, name)) for key, tensor in torch.nn.BatchNorm1d(4).state_dict().items()
    }
    params, state = from_torch(weights, spec, names)
    assert params["fc"]["kernel"].dtype == name
    assert state["bn"]["variance"].dtype == "float32"
    np.testing.assert_array_equal(params["fc"]["kernel"].astype(np.float32), numbers.float().numpy().T)
    again = to_torch(params, state, spec, names)
    assert torch.equal(torch.tensor(again["fc.weight"]), numbers.float())


def test_a_dtype_that_jax_does_not_have():
    weights = {"fc.weight": torch.zeros(2, 3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "fc.bias": torch.ones(2)}
    with pytest.raises(ValueError, match=r"JAX does not have the dtype of a tensor of torch.float4_e2m1fn_x2; write"):
        from_torch(weights, {"fc": nn.linear_spec(3, 2)}, {"fc": Place("fc")})


def test_the_names_of_logical_axes_do_not_matter():
    model = models.gpt(models.GPTConfig(vocabulary=8, context=4, layers=2, heads=2, features=4))
    renamed = jax.tree.map(lambda leaf: dataclasses.replace(leaf, axes=()), model.spec)
    params, state = model.init(jax.random.key(0))
    expected = to_torch(params, state, model)
    actual = to_torch(params, state, model._replace(spec=renamed))
    assert actual.keys() == expected.keys()
    assert all(np.array_equal(actual[name], expected[name]) for name in expected)
