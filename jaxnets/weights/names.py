"""The names that PyTorch's libraries give the layers of our networks, by architecture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from jaxnets import models
from jaxnets.model import Model
from jaxnets.spec import Spec


class Place(NamedTuple):
    """Where the arrays of one of PyTorch's modules are in a spec.

    Attributes:
        path: of the layer, such as `"stages/0/first/conv1/norm"`.
        layer: its position among stacked layers; None if it is not stacked.
        flattened: height, width and channels of the image whose entries are the inputs of this linear layer, None for
            other layers. PyTorch flattens channels first.
        transposed: whether the weight is `[in, out]` there too, as in Hugging Face's `Conv1D`.
    """

    path: str
    layer: int | None = None
    flattened: tuple[int, int, int] | None = None
    transposed: bool = False


Names: TypeAlias = Mapping[str, Place | Sequence[Place]]
"""Of each of PyTorch's modules its place in a spec, or the places of its parts, if it computes several layers at once.

The place of an `RNN`, `LSTM` or `GRU` is that of the recurrent layer, stacked and bidirectional ones included. A place
may also be that of an array, if its name there is not that of a module. A name that ends with an underscore is followed
by `weight` without a dot. An array with no place, `()`, may be there and is not read.
"""


def torch_names(model: Model) -> Names:
    """Return the names of a network's modules in PyTorch, and where each is in its spec.

    ================================ ==============================================================================
    network                          names
    ================================ ==============================================================================
    `vgg`, `googlenet`,              torchvision's
    `efficientnet`, `vit`
    `efficientnet_lite`              those of the package `efficientnet_lite_pytorch`
    `resnet`, `cifar_resnet`         torchvision's and timm's
    `gpt`, `bert`                    those of Hugging Face's `GPT2LMHeadModel` and `BertModel`
    `llama`                          those of `LlamaForCausalLM`, `Qwen2ForCausalLM` and `Qwen3ForCausalLM`
    `clip` without a stem            those of `CLIPModel`
    `transformer`                    PyTorch's `Transformer`'s, `source`, `target` and `out` or `out_bias`
    `mnist_cnn`, `lenet5`            `conv1`, `conv2`, `fc1`, `fc2` (`fc3`), as in PyTorch's MNIST example
    ================================ ==============================================================================

    Args:
        model: one of these networks.

    Raises:
        ValueError: if there is no table for the network.

    Example:
        >>> names = torch_names(models.resnet(models.ResNetConfig(50)))
        >>> names["layer3.5.bn2"]
        Place(path='stages/2/rest/conv2/norm', layer=4, flattened=None, transposed=False)
    """
    table = _TABLES.get(type(model.config))
    if table is None:
        raise ValueError(
            f"torch_names: there is no table for {type(model.config).__name__}, only for "
            f"{', '.join(config.__name__ for config in _TABLES)}; pass names={{'conv1': Place('conv1'), ...}}"
        )
    return table(model.config, model.spec)


def _mnist(config: models.MnistCNNConfig | models.LeNet5Config, spec: Spec) -> Names:
    return {module: Place(module, flattened=config.pooled if module == "fc1" else None) for module in spec}


def _vgg(config: models.VGGConfig, spec: Spec) -> Names:
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
    for position in range(len(spec["classifier"])):
        flattened = None if position else (config.pooled, config.pooled, channels)
        names[f"classifier.{3 * position}"] = Place(f"classifier/{position}", flattened=flattened)
    return names


def _resnet(config: models.ResNetConfig | models.CifarResNetConfig, spec: Spec) -> Names:
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


def _blocks(stage: Spec) -> Iterator[tuple[str, int | None, list[str]]]:
    """Path, index and parts of each block of a stage."""
    yield "first", None, list(stage["first"])
    if "rest" in stage:
        for index in range(stage["rest"]["conv1"]["conv"]["kernel"].shape[0]):
            yield "rest", index, list(stage["rest"])


def _googlenet(config: models.GoogLeNetConfig, spec: Spec) -> Names:
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
            flattened = 4, 4, part["conv"]["conv"]["kernel"].shape[-1]
            names |= _conv_bn(f"{module}.conv", f"{name}/conv")
            names |= {f"{module}.fc1": Place(f"{name}/fc1", flattened=flattened), f"{module}.fc2": Place(f"{name}/fc2")}
        elif name.startswith("conv"):
            names |= _conv_bn(name, name)
    return names


def _efficientnet(config: models.EfficientNetConfig, spec: Spec) -> Names:
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


def _efficientnet_lite(config: models.EfficientNetLiteConfig, spec: Spec) -> Names:
    names = {"_conv_stem": Place("stem/conv"), "_bn0": Place("stem/norm"), "_fc": Place("fc")}
    names |= {"_conv_head": Place("head/conv"), "_bn1": Place("head/norm")}
    for number, block in enumerate(spec["blocks"]):
        for norm, part in enumerate(block):  # expand (if there is one), depthwise, project
            module, path = f"_blocks.{number}", f"blocks/{number}/{part}"
            names |= {
                f"{module}._{part}_conv": Place(f"{path}/conv"),
                f"{module}._bn{norm + 3 - len(block)}": Place(f"{path}/norm"),
            }
    return names


def _gpt(config: models.GPTConfig, spec: Spec) -> Names:
    names: dict[str, Place | Sequence[Place]] = {
        "transformer.wte": Place("tokens"),
        "transformer.wpe": Place("positions"),
        "transformer.ln_f": Place("norm"),
        "lm_head.weight": (),  # the table of tokens again
    }
    parts = {"attn.c_proj": "attention/out", "mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}
    for block in range(config.layers):
        module = f"transformer.h.{block}"
        names |= {f"{module}.ln_{number}": Place(f"blocks/norm{number}", block) for number in (1, 2)}
        names |= {f"{module}.{part}": Place(f"blocks/{path}", block, transposed=True) for part, path in parts.items()}
        names[f"{module}.attn.c_attn"] = _heads(block, transposed=True)
        names |= {f"{module}.attn.{mask}": () for mask in ("bias", "masked_bias")}  # in older files
    return names


def _vit(config: models.ViTConfig, spec: Spec) -> Names:
    names: dict[str, Place | Sequence[Place]] = {
        "conv_proj": Place("patches"),
        "class_token": Place("class_token"),
        "encoder.pos_embedding": Place("positions"),
        "encoder.ln": Place("norm"),
        "heads.head": Place("fc"),
    }
    parts = {"self_attention.out_proj": "attention/out", "mlp.0": "linear1", "mlp.3": "linear2"}
    for block in range(config.layers):
        module = f"encoder.layers.encoder_layer_{block}"
        names |= {f"{module}.ln_{number}": Place(f"blocks/norm{number}", block) for number in (1, 2)}
        names |= {f"{module}.{part}": Place(f"blocks/{path}", block) for part, path in parts.items()}
        names[f"{module}.self_attention.in_proj_"] = _heads(block)
    return names


def _llama(config: models.LlamaConfig, spec: Spec) -> Names:
    names: dict[str, Place | Sequence[Place]] = {
        "model.embed_tokens": Place("tokens"),
        "model.norm": Place("norm"),
        "lm_head": Place("out") if "out" in spec else (),
    }
    if config.tied:
        names["lm_head.weight"] = names.pop("lm_head")
    parts = {
        "input_layernorm": "norm1",
        "post_attention_layernorm": "norm2",
        "self_attn.q_proj": "attention/query",
        "self_attn.k_proj": "attention/key",
        "self_attn.v_proj": "attention/value",
        "self_attn.o_proj": "attention/out",
        **(
            {"self_attn.q_norm": "attention/query/norm", "self_attn.k_norm": "attention/key/norm"}
            if config.head_norm
            else {}
        ),
        "mlp.gate_proj": "gate",
        "mlp.up_proj": "linear1",
        "mlp.down_proj": "linear2",
    }
    for block in range(config.layers):
        module = f"model.layers.{block}"
        names |= {f"{module}.{part}": Place(f"blocks/{path}", block) for part, path in parts.items()}
        names[f"{module}.self_attn.rotary_emb.inv_freq"] = ()  # in older files
    return names


def _bert(config: models.BertConfig, spec: Spec) -> Names:
    names = {
        "embeddings.word_embeddings": Place("tokens"),
        "embeddings.position_embeddings": Place("positions"),
        "embeddings.token_type_embeddings": Place("types"),
        "embeddings.LayerNorm": Place("norm"),
    }
    parts = {
        "attention.self.query": "attention/query",
        "attention.self.key": "attention/key",
        "attention.self.value": "attention/value",
        "attention.output.dense": "attention/out",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "linear1",
        "output.dense": "linear2",
        "output.LayerNorm": "norm2",
    }
    for block in range(config.layers):
        names |= {f"encoder.layer.{block}.{part}": Place(f"blocks/{path}", block) for part, path in parts.items()}
    return names


def _clip(config: models.CLIPConfig, spec: Spec) -> Names:
    if config.stem:
        raise ValueError(f"torch_names: PyTorch's libraries have no CLIP with a stem, such as this of {config.stem}")
    names: dict[str, Place | Sequence[Place]] = {
        "logit_scale": Place("log_scale"),
        "visual_projection": Place("image/projection"),
        "text_projection": Place("text/projection"),
        "vision_model.embeddings.class_embedding": Place("image/class_token"),
        "vision_model.embeddings.patch_embedding": Place("image/patches"),
        "vision_model.embeddings.position_embedding": Place("image/positions"),
        "vision_model.pre_layrnorm": Place("image/norm_first"),  # its name there
        "vision_model.post_layernorm": Place("image/norm"),
        "text_model.embeddings.token_embedding": Place("text/tokens"),
        "text_model.embeddings.position_embedding": Place("text/positions"),
        "text_model.final_layer_norm": Place("text/norm"),
    }
    parts = {
        "layer_norm1": "norm1",
        "layer_norm2": "norm2",
        "self_attn.q_proj": "attention/query",
        "self_attn.k_proj": "attention/key",
        "self_attn.v_proj": "attention/value",
        "self_attn.out_proj": "attention/out",
        "mlp.fc1": "linear1",
        "mlp.fc2": "linear2",
    }
    for tower, module, layers in (("image", "vision", config.image_layers), ("text", "text", config.text_layers)):
        names[f"{module}_model.embeddings.position_ids"] = ()  # in older files
        for block in range(layers):
            start = f"{module}_model.encoder.layers.{block}"
            names |= {f"{start}.{part}": Place(f"{tower}/blocks/{path}", block) for part, path in parts.items()}
    return names


def _transformer(config: models.TransformerConfig, spec: Spec) -> Names:
    names: dict[str, Place | Sequence[Place]] = {
        part: Place(part) for part in ("source", "target", "out") if part in spec
    }
    if "bias" in spec:
        names["out_bias"] = Place("bias")
    for stack, norms in {"encoder": ("norm1", "norm2"), "decoder": ("norm1", "norm_memory", "norm2")}.items():
        names[f"{stack}.norm"] = Place(f"{stack}_norm")
        for block in range(config.layers):
            module = f"{stack}.layers.{block}"
            names |= {f"{module}.norm{i + 1}": Place(f"{stack}/{norm}", block) for i, norm in enumerate(norms)}
            names |= {f"{module}.{part}": Place(f"{stack}/{part}", block) for part in ("linear1", "linear2")}
            attentions = {"self_attn": "attention"} | ({"multihead_attn": "memory_attention"} if len(norms) > 2 else {})
            for part, path in attentions.items():
                names[f"{module}.{part}.in_proj_"] = _heads(block, path=f"{stack}/{path}")
                names[f"{module}.{part}.out_proj"] = Place(f"{stack}/{path}/out", block)
    return names


def _heads(block: int, *, path: str = "blocks/attention", transposed: bool = False) -> list[Place]:
    """The three products of attention, which PyTorch computes at once."""
    return [Place(f"{path}/{part}", block, transposed=transposed) for part in ("query", "key", "value")]


def _numbered(module: str, path: str) -> dict[str, Place]:
    return {f"{module}.0": Place(f"{path}/conv"), f"{module}.1": Place(f"{path}/norm")}


def _conv_bn(module: str, path: str) -> dict[str, Place]:
    return {f"{module}.conv": Place(f"{path}/conv"), f"{module}.bn": Place(f"{path}/norm")}


_TABLES: Mapping[Any, Callable[[Any, Spec], Names]] = {
    models.BertConfig: _bert,
    models.CLIPConfig: _clip,
    models.CifarResNetConfig: _resnet,
    models.EfficientNetConfig: _efficientnet,
    models.EfficientNetLiteConfig: _efficientnet_lite,
    models.GPTConfig: _gpt,
    models.GoogLeNetConfig: _googlenet,
    models.LeNet5Config: _mnist,
    models.LlamaConfig: _llama,
    models.MnistCNNConfig: _mnist,
    models.ResNetConfig: _resnet,
    models.TransformerConfig: _transformer,
    models.VGGConfig: _vgg,
    models.ViTConfig: _vit,
}
