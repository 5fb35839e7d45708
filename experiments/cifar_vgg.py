"""VGG-16 with batch norm on CIFAR-10, one linear layer after the convolutions.

With --full it is the network at its full width on the schedule of an accelerator, whose aim is a test accuracy of 0.92
on the published images.

expected:  test accuracy 0.670 +- 0.008 (mean and deviation over the seeds 0 to 2; 0.662 with seed 0), a quarter of the
           width, 8 epochs on 10,000 images; --full has not been measured
images:    JPEG-compressed (quality about 75): a published ResNet-20 of accuracy 0.917 has 0.810 on them, so the
           figures compare with no published ones
time:      5 min of processor time
compile:   21 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.cifar_vgg --seed 0
"""

from __future__ import annotations

import dataclasses

from experiments.support import cifar
from jaxnets.config import PositiveInt
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.models import VGGConfig, vgg
from jaxnets.report import RunFolder


@dataclasses.dataclass(frozen=True)
class Config(cifar.CifarSettings):
    """Settings of the experiment; the defaults are for two cores, `--full` is for a GPU or TPU."""

    depth: PositiveInt = 16
    """11, 13, 16 or 19 layers."""
    width: float = 0.25
    """A factor for the channels of all convolutions."""
    epochs: int = 8


@in_run_folder(full=cifar.FULL | {"width": 1.0, "learning_rate": 0.1}, smoke=cifar.SMOKE)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, evaluate, and draw."""
    model = vgg(VGGConfig(config.depth, 10, norm=True, pooled=1, hidden=(), width=config.width))
    return cifar.train(config, folder, model)


if __name__ == "__main__":
    main(Config, run, __doc__)
