"""PyTorch: torchvision's network, channels last, autocast to bfloat16, torch.compile."""

import torch
import torch.nn.functional as functional

from benchmarks.gpu import resnet50 as case
from benchmarks.gpu.training import load_state, pytorch_device, train_pytorch
from benchmarks.peer import Peer
from jaxnets import models
from tests.torchvision_oracle import import_torchvision

torchvision = import_torchvision("torchvision.models")


def prepare(values, images, labels):
    device = pytorch_device()
    network = getattr(torchvision, f"resnet{case.DEPTH}")(num_classes=case.CLASSES)
    load_state(network, *values, models.resnet(models.ResNetConfig(case.DEPTH, case.CLASSES)))
    network = network.to(device, memory_format=torch.channels_last)
    x = torch.tensor(images).permute(0, 3, 1, 2).to(device, memory_format=torch.channels_last)
    y = torch.tensor(labels).long().to(device)
    compiled = torch.compile(network.train())
    optimizer = torch.optim.SGD(network.parameters(), lr=case.RATE, momentum=case.MOMENTUM)
    return Peer(train_pytorch(lambda: functional.cross_entropy(compiled(x).float(), y), optimizer, device))
