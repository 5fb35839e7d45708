"""GoogLeNet in a form for small images on CIFAR-10, with its two auxiliary heads.

With --full it is the network at its full width on the schedule of an accelerator.

expected:  test accuracy 0.576 +- 0.006 (mean and deviation over the seeds 0 to 2; 0.579 with seed 0), an eighth of the
           width, 5 epochs on 10,000 images; --full has not been measured
images:    JPEG-compressed (quality about 75): a published ResNet-20 of accuracy 0.917 has 0.810 on them, so the
           figures compare with no published ones
time:      9 min of processor time
compile:   70 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.cifar_googlenet --seed 0
"""

from __future__ import annotations

import dataclasses

from experiments.support import cifar
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.models import GoogLeNetConfig, googlenet, googlenet_loss
from jaxnets.report import RunFolder


@dataclasses.dataclass(frozen=True)
class Config(cifar.CifarSettings):
    """Settings of the experiment; the defaults are for two cores, `--full` is for a GPU or TPU."""

    width: float = 0.125
    """A factor for the channels of all convolutions."""


@in_run_folder(full=cifar.FULL | {"width": 1.0, "learning_rate": 0.1}, smoke=cifar.SMOKE)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, evaluate, and draw."""
    model = googlenet(GoogLeNetConfig(10, small_images=True, width=config.width))
    return cifar.train(config, folder, model, loss_function=googlenet_loss)


if __name__ == "__main__":
    main(Config, run, __doc__)
