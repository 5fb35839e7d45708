"""The modules of PyTorch's networks, one table a network: `names(spec)` says where each of them is in the spec."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from jaxnets.spec import Spec
from jaxnets.weights.torch_modules import Names, Place


def mnist_cnn_names(spec: Spec) -> Names:
    """Name the modules of the course's network as PyTorch's MNIST example does: `conv1`, `conv2`, `fc1`, `fc2`.

    Example:
        >>> from jaxnets import models
        >>> mnist_cnn_names(models.mnist_cnn_spec())["fc1"].flattened
        (12, 12, 64)
    """
    return _plain("conv1", "conv2", "fc2") | {"fc1": Place("fc1", flattened=_square(spec["fc1"], 64))}


def lenet5_names(spec: Spec) -> Names:
    """Name the modules of LeNet-5 `conv1`, `conv2`, `fc1`, `fc2` and `fc3`.

    Example:
        >>> from jaxnets import models
        >>> lenet5_names(models.lenet5_spec())["fc1"].flattened
        (5, 5, 16)
    """
    return _plain("conv1", "conv2", "fc2", "fc3") | {"fc1": Place("fc1", flattened=_square(spec["fc1"], 16))}


def vgg_names(spec: Spec) -> Names:
    """Name the modules of a VGG as torchvision does: `features.0`, `classifier.0`, ...

    Example:
        >>> from jaxnets import models
        >>> vgg_names(models.vgg_spec(11, norm=True))["features.4"].path
        'stages/1/0/conv'
    """
    names: dict[str, Place] = {}
    number = 0
    for stage, units in enumerate(spec["stages"]):
        for position, unit in enumerate(units):
            for part in unit:  # the convolution, and batch norm if there is one
                names[f"features.{number}"] = Place(f"stages/{stage}/{position}/{part}")
                number += 1
            number += 1  # ReLU
        number += 1  # pooling
    channels = spec["stages"][-1][-1]["conv"]["kernel"].shape[-1]
    for position, layer in enumerate(spec["classifier"]):
        flattened = _square(layer, channels) if position == 0 else None
        names[f"classifier.{3 * position}"] = Place(f"classifier/{position}", flattened=flattened)
    return names


def resnet_names(spec: Spec) -> Names:
    """Name the modules of a ResNet as torchvision and timm do: `layer1.0.conv1`, `layer1.0.downsample.0`, ...

    It is also the table of `cifar_resnet`, whose shortcuts have no modules.

    Example:
        >>> from jaxnets import models
        >>> resnet_names(models.resnet_spec(50))["layer3.5.bn2"]
        Place(path='stages/2/rest/conv2/norm', layer=4, flattened=None, transposed=False)
    """
    names = {"conv1": Place("stem/conv"), "bn1": Place("stem/norm"), "fc": Place("fc")}
    for number, stage in enumerate(spec["stages"]):
        for block, (path, index, parts) in enumerate(_blocks(stage)):
            module = f"layer{number + 1}.{block}"
            for part in parts:
                conv, norm = (Place(f"stages/{number}/{path}/{part}/{kind}", index) for kind in ("conv", "norm"))
                if part == "shortcut":
                    names |= {f"{module}.downsample.0": conv, f"{module}.downsample.1": norm}
                else:
                    names |= {f"{module}.{part}": conv, f"{module}.{part.replace('conv', 'bn')}": norm}
    return names


def googlenet_names(spec: Spec) -> Names:
    """Name the modules of GoogLeNet as torchvision does: `inception3a.branch2.0.conv`, `aux1.fc1`, ...

    Example:
        >>> from jaxnets import models
        >>> googlenet_names(models.googlenet_spec())["inception3a.branch2.1.bn"].path
        'inception3a/three/norm'
    """
    branches = {
        "one": "branch1",
        "three_reduce": "branch2.0",
        "three": "branch2.1",
        "five_reduce": "branch3.0",
        "five": "branch3.1",
        "pool": "branch4.1",
    }
    names = {"fc": Place("fc")}
    for name, part in spec.items():
        if name.startswith("inception"):
            for branch, module in branches.items():
                names |= _conv_bn(f"{name}.{module}", f"{name}/{branch}")
        elif name.startswith("auxiliary"):
            module = name.replace("auxiliary", "aux")
            flattened = _square(part["fc1"], part["conv"]["conv"]["kernel"].shape[-1])
            names |= _conv_bn(f"{module}.conv", f"{name}/conv")
            names |= {f"{module}.fc1": Place(f"{name}/fc1", flattened=flattened), f"{module}.fc2": Place(f"{name}/fc2")}
        elif name.startswith("conv"):
            names |= _conv_bn(name, name)
    return names


def efficientnet_names(spec: Spec) -> Names:
    """Name the modules of an EfficientNet as torchvision does: `features.1.0.block.0.0`, `classifier.1`, ...

    Example:
        >>> from jaxnets import models
        >>> efficientnet_names(models.efficientnet_spec(0))["features.2.0.block.2.fc1"].path
        'stages/1/0/excitation/squeeze'
    """
    names = {"classifier.1": Place("fc")}
    names |= _numbered("features.0", "stem")
    names |= _numbered(f"features.{len(spec['stages']) + 1}", "head")
    for stage, blocks in enumerate(spec["stages"]):
        for position, block in enumerate(blocks):
            for number, part in enumerate(block):  # expand (if there is one), depthwise, excitation, project
                module, path = f"features.{stage + 1}.{position}.block.{number}", f"stages/{stage}/{position}/{part}"
                if part == "excitation":
                    names |= {f"{module}.fc1": Place(f"{path}/squeeze"), f"{module}.fc2": Place(f"{path}/excite")}
                else:
                    names |= _numbered(module, path)
    return names


def gpt_names(spec: Spec) -> Names:
    """Name the modules of GPT-2 as Hugging Face's `GPT2LMHeadModel` does: `transformer.h.0.attn.c_attn`, ...

    Pass `ignore=["lm_head.weight", "*.attn.bias", "*.attn.masked_bias"]` to `from_torch`: the output layer is the table
    of embeddings again, and older files hold masks.

    Example:
        >>> from jaxnets import models
        >>> gpt_names(models.gpt_spec(layers=2))["transformer.h.1.attn.c_proj"]
        Place(path='blocks/attention/out', layer=1, flattened=None, transposed=True)
    """
    names: dict[str, Place | Sequence[Place]] = {
        "transformer.wte": Place("tokens"),
        "transformer.wpe": Place("positions"),
        "transformer.ln_f": Place("norm"),
    }
    parts = {"attn.c_proj": "attention/out", "mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}
    for block in range(spec["blocks"]["norm1"]["scale"].shape[0]):
        module = f"transformer.h.{block}"
        names |= {f"{module}.ln_{number}": Place(f"blocks/norm{number}", block) for number in (1, 2)}
        names |= {f"{module}.{part}": Place(f"blocks/{path}", block, transposed=True) for part, path in parts.items()}
        names[f"{module}.attn.c_attn"] = _heads(block, transposed=True)
    return names


def vit_names(spec: Spec) -> Names:
    """Name the modules of a Vision Transformer as torchvision does: `encoder.layers.encoder_layer_0.mlp.0`, ...

    Example:
        >>> from jaxnets import models
        >>> vit_names(models.vit_spec(layers=2))["encoder.layers.encoder_layer_1.mlp.3"].path
        'blocks/linear2'
    """
    names: dict[str, Place | Sequence[Place]] = {
        "conv_proj": Place("patches"),
        "class_token": Place("class_token"),
        "encoder.pos_embedding": Place("positions"),
        "encoder.ln": Place("norm"),
        "heads.head": Place("fc"),
    }
    parts = {"self_attention.out_proj": "attention/out", "mlp.0": "linear1", "mlp.3": "linear2"}
    for block in range(spec["blocks"]["norm1"]["scale"].shape[0]):
        module = f"encoder.layers.encoder_layer_{block}"
        names |= {f"{module}.ln_{number}": Place(f"blocks/norm{number}", block) for number in (1, 2)}
        names |= {f"{module}.{part}": Place(f"blocks/{path}", block) for part, path in parts.items()}
        names[f"{module}.self_attention.in_proj_"] = _heads(block)
    return names


def _heads(block: int, *, transposed: bool = False) -> list[Place]:
    """The three products of attention, which PyTorch computes at once."""
    return [Place(f"blocks/attention/{part}", block, transposed=transposed) for part in ("query", "key", "value")]


def _plain(*modules: str) -> dict[str, Place]:
    return {module: Place(module) for module in modules}


def _numbered(module: str, path: str) -> dict[str, Place]:
    return {f"{module}.0": Place(f"{path}/conv"), f"{module}.1": Place(f"{path}/norm")}


def _conv_bn(module: str, path: str) -> dict[str, Place]:
    return {f"{module}.conv": Place(f"{path}/conv"), f"{module}.bn": Place(f"{path}/norm")}


def _square(layer: Any, channels: int) -> tuple[int, int, int]:
    """Height, width and channels of the square image whose entries are the inputs of a linear layer."""
    features = layer["kernel"].shape[0]
    side = math.isqrt(features // channels)
    if side * side * channels != features:
        raise ValueError(
            f"{features} inputs of a linear layer are no square image of {channels} channels; write a table of names "
            "with Place(path, flattened=(height, width, channels))"
        )
    return side, side, channels


def _blocks(stage: Spec) -> Iterator[tuple[str, int | None, list[str]]]:
    """Path, index and parts of each block of a stage."""
    yield "first", None, list(stage["first"])
    if "rest" in stage:
        for index in range(stage["rest"]["conv1"]["conv"]["kernel"].shape[0]):
            yield "rest", index, list(stage["rest"])
