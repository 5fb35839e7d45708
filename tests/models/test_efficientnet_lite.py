"""EfficientNet-Lite against the same network in PyTorch, and its published sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from jaxnets import count_flops, count_parameters, models, weights
from tests.oracles import assert_close, normal, quick_jit

# kernel size, stride, expansion, in, out, blocks; the authors' table of B0
PUBLISHED = [
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
]


class Convolution(torch.nn.Conv2d):
    """With TensorFlow's padding: in all what makes ceil(size / stride) results, the larger half at the end."""

    same = True

    def forward(self, x):
        kernel, stride = self.kernel_size[0], self.stride[0]
        if not self.same:
            return F.conv2d(x, self.weight, None, stride, kernel // 2, 1, self.groups)
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, None, stride, 0, 1, self.groups)


def conv(before, after, kernel, stride=1, groups=1):
    return Convolution(before, after, kernel, stride, bias=False, groups=groups)


def norm(channels):
    return torch.nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(torch.nn.Module):
    def __init__(self, kernel, stride, expansion, before, after):
        super().__init__()
        middle = before * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = conv(before, middle, 1), norm(middle)
        self._depthwise_conv, self._bn1 = conv(middle, middle, kernel, stride, middle), norm(middle)
        self._project_conv, self._bn2 = conv(middle, after, 1), norm(after)
        self.adds = stride == 1 and before == after

    def forward(self, x):
        y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class Lite1(torch.nn.Module):
    """Every stage but the first and the last has a tenth more blocks, rounded up."""

    def __init__(self, classes):
        super().__init__()
        self._conv_stem, self._bn0 = conv(3, 32, 3, 2), norm(32)
        blocks = []
        for kernel, stride, expansion, before, after, count in PUBLISHED:
            count += after not in (16, 320)  # 2.2 -> 3, 3.3 -> 4, 4.4 -> 5
            blocks.append(Block(kernel, stride, expansion, before, after))
            blocks += [Block(kernel, 1, expansion, after, after) for _ in range(count - 1)]
        self._blocks = torch.nn.ModuleList(blocks)
        self._conv_head, self._bn1 = conv(320, 1280, 1), norm(1280)
        self._fc = torch.nn.Linear(1280, classes)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


@pytest.mark.parametrize(("padding", "size"), [("SAME", (64, 47)), ("half", (40, 64))])
def test_equals_pytorch(padding, size, monkeypatch):
    monkeypatch.setattr(Convolution, "same", padding == "SAME")
    torch.manual_seed(0)
    theirs = Lite1(5)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            module.num_batches_tracked.fill_(10**4)
    config = models.efficientnet_lite_config(1, classes=5, padding=padding, dropout_rate=0.0, drop_path_rate=0.0)
    model = models.efficientnet_lite(config)
    params, state = weights.from_torch(theirs.state_dict(), model)
    x = normal(2, *size, 3)
    for train in (False, True):
        theirs.train(train)
        logits, new_state = quick_jit(lambda p, s, x, train=train: model.apply(p, s, x, train=train))(params, state, x)
        assert_close(logits, theirs(torch.tensor(x).permute(0, 3, 1, 2)), rtol=1e-3, atol=1e-3)
    _, expected = weights.from_torch(theirs.state_dict(), model)
    for ours, other in zip(jax.tree.leaves(new_state), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("variant", "size", "parameters", "multiplications"),
    [(0, 224, 4_652_008, 407e6), (1, 240, 5_416_680, 631e6), (2, 260, 6_092_072, 899e6), (4, 300, 13_006_568, 2.64e9)],
)
def test_published_sizes(variant, size, parameters, multiplications):
    """Parameters of `efficientnet_lite_pytorch`'s networks, and multiplications of the authors' table."""
    model = models.efficientnet_lite(models.efficientnet_lite_config(variant))
    assert count_parameters(model.spec) == parameters
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    flops = count_flops(lambda p, s, x: model.apply(p, s, x, train=False)[0], params, state, x)
    assert flops / 2 == pytest.approx(multiplications, rel=0.06)


def test_an_unknown_variant_is_an_error():
    with pytest.raises(ValueError, match="variant must be 0 to 4, for Lite0 to Lite4; got 5"):
        models.efficientnet_lite_config(5)
