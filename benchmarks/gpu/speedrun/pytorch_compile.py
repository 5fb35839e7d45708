"""PyTorch: the same recipe with parameters in half precision, channels last, torch.compile, images on the device."""

import itertools

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks.gpu import SMALL, speedrun as case
from benchmarks.gpu.training import pytorch_device
from benchmarks.peer import Peer, outputs_first
from experiments import cifar_speedrun as recipe
from jaxnets.tree import paths

CONFIG = case.CONFIG
HALF = torch.float32 if SMALL else torch.float16


class Stage(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
        for conv in (self.conv1, self.conv2):
            nn.init.dirac_(conv.weight[: conv.in_channels].data)
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad_(False)

    def forward(self, x):
        x = functional.gelu(self.norm1(functional.max_pool2d(self.conv1(x), 2)))
        return functional.gelu(self.norm2(self.conv2(x)))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)
        sizes = itertools.pairwise((24, *case.WIDTHS))
        self.stages = nn.Sequential(*(Stage(channels, width) for channels, width in sizes))
        self.fc = nn.Linear(case.WIDTHS[-1], 10, bias=False)
        nn.init.zeros_(self.whitening.bias)
        self.whitening.weight.requires_grad_(False)

    def forward(self, x):
        x = self.stages(functional.gelu(self.whitening(x)))
        return self.fc(x.amax((2, 3))) / 9

    def whiten(self, images):
        patches = functional.unfold(images[:5000].float(), 2).transpose(1, 2).reshape(-1, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        kernel = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
        self.whitening.weight.data.copy_(torch.cat([kernel, -kernel]))


def make_optimizer(network):
    """SGD for the three groups; losses are sums over a batch, so that gradients do not vanish in half precision."""

    def group(parameters, peak):
        decay = CONFIG.weight_decay * CONFIG.learning_rate / peak * CONFIG.batch_size
        return {"params": list(parameters), "lr": peak / CONFIG.batch_size, "weight_decay": decay}

    kernels = [p for name, p in network.named_parameters() if p.requires_grad and "norm" not in name]
    kernels = [p for p in kernels if p is not network.whitening.bias]
    biases = [p for name, p in network.named_parameters() if "norm" in name and name.endswith("bias")]
    rate = CONFIG.learning_rate
    groups = [group([network.whitening.bias], rate), group(kernels, rate), group(biases, rate * CONFIG.bias_factor)]
    fused = next(network.parameters()).is_cuda
    return torch.optim.SGD(groups, lr=rate, momentum=CONFIG.momentum, nesterov=True, fused=fused)


def set_rates(optimizer, peaks, step):
    rising = max(1, int(0.23 * case.STEPS))
    if step < rising:
        share = 0.2 + 0.8 * step / rising
    else:
        share = 1 + (0.07 - 1) * min(1, (step - rising) / (case.STEPS - rising))
    for i, (group, peak) in enumerate(zip(optimizer.param_groups, peaks, strict=True)):
        learns = i > 0 or step < CONFIG.whitening_epochs * case.PER_EPOCH
        group["lr"] = peak * share if learns else 0.0


def augmented(images, mirrored):
    """All images of an epoch, `[images, height, width, channels]`: mirrored where asked, and shifted at random."""
    count, height, width, _ = images.shape
    x = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    x = functional.pad(x.permute(0, 3, 1, 2), (CONFIG.shift,) * 4, mode="reflect").permute(0, 2, 3, 1)
    shifts = torch.randint(0, 2 * CONFIG.shift + 1, (2, count, 1), device=images.device)
    rows = (torch.arange(height, device=images.device) + shifts[0])[:, :, None]
    columns = (torch.arange(width, device=images.device) + shifts[1])[:, None, :]
    return x[torch.arange(count, device=images.device)[:, None, None], rows, columns].permute(0, 3, 1, 2)


class Average:
    """The slow weights and statistics, which the fast ones meet every few steps."""

    def __init__(self, network):
        self.fast = [value for value in network.state_dict().values() if value.is_floating_point()]
        self.slow = [value.clone() for value in self.fast]

    @torch.no_grad()
    def meet(self, keep):
        torch._foreach_lerp_(self.slow, self.fast, 1 - keep)
        self.copy()

    @torch.no_grad()
    def copy(self):
        torch._foreach_copy_(self.fast, self.slow)


def train(network, compiled, images, labels):
    network.train()
    optimizer, average = make_optimizer(network), Average(network)
    peaks = [group["lr"] for group in optimizer.param_groups]
    mirrored = torch.rand(len(images), device=images.device) < 0.5
    for step in range(case.STEPS):
        epoch, place = divmod(step, case.PER_EPOCH)
        if place == 0:
            x = augmented(images, mirrored ^ (epoch % 2 == 1))
            order = torch.randperm(len(images), device=images.device)
        chosen = order[place * CONFIG.batch_size : (place + 1) * CONFIG.batch_size]
        set_rates(optimizer, peaks, step)
        loss = functional.cross_entropy(
            compiled(x[chosen]), labels[chosen], label_smoothing=CONFIG.label_smoothing, reduction="sum"
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % recipe.LOOKAHEAD_STEPS == 0:
            average.meet(0.95**recipe.LOOKAHEAD_STEPS * (step / case.STEPS) ** 3)
    average.copy()


@torch.no_grad()
def predict(compiled, x):
    def both(x):
        return (compiled(x) + compiled(x.flip(3))) / 2

    height, width = x.shape[2:]
    padded = functional.pad(x, (1,) * 4, mode="reflect")
    shifted = [padded[:, :, :height, :width], padded[:, :, 2:, 2:]]
    return both(x) / 2 + sum(both(view.contiguous(memory_format=torch.channels_last)) for view in shifted) / 4


def make_network(device, images, memory=torch.channels_last):
    network = Network().to(device, memory_format=memory)
    network.whiten(images)
    network.to(HALF)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    return network


def prepare(weights, images, labels, test_images, test_labels):
    device, seeds = pytorch_device(), itertools.count()
    images, test_images = (torch.tensor(array).to(device, HALF) for array in (images, test_images))
    labels, test_labels = (torch.tensor(array).long().to(device) for array in (labels, test_labels))
    views, answers = test_images.permute(0, 3, 1, 2).split(case.VIEWED), test_labels.split(case.VIEWED)
    network = make_network(device, images.permute(0, 3, 1, 2))
    compiled = network if SMALL else torch.compile(network, mode="max-autotune")

    def run(steps):
        torch.manual_seed(next(seeds))
        network.load_state_dict(make_network(device, images.permute(0, 3, 1, 2)).state_dict())
        train(network, compiled, images, labels)
        network.eval()
        right = sum((predict(compiled, x).argmax(1) == y).sum() for x, y in zip(views, answers, strict=True))
        return right.item() / len(test_labels)

    return Peer(run, results=lambda: first_losses(network, images, labels))


def first_losses(network, images, labels):
    """The loss from the first weights of jaxnets, without augmentation, and its change by a step."""
    params, _ = case.first_weights(0, images.float().cpu().numpy())
    arrays = {path: np.asarray(array) for path, array in paths(params).items()}
    for path, array in outputs_first(arrays).items():
        name = path.replace("/", ".").replace("kernel", "weight")
        network.get_parameter(name).data.copy_(torch.tensor(array))
    network.train()
    optimizer = make_optimizer(network)
    set_rates(optimizer, [group["lr"] for group in optimizer.param_groups], 0)
    found = []
    for _ in range(2):
        logits = network(images[: CONFIG.batch_size].permute(0, 3, 1, 2))
        targets = labels[: CONFIG.batch_size]
        loss = functional.cross_entropy(logits, targets, label_smoothing=CONFIG.label_smoothing, reduction="sum")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        found.append(loss.item() / CONFIG.batch_size)
    return [found[0], found[1] - found[0]]
