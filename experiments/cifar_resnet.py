"""The ResNet of the paper on CIFAR-10: 20 layers by default, with or without its shortcuts.

With --full it is the schedule of an accelerator, whose aim is a test accuracy of 0.91 on the published images. `--depth
56` and `--depth 56 --no-residual`, both with `--epochs 2 --batch-size 64 --learning-rate 0.1`, compare a deep network
with its plain form, which has the same parameters.

expected:  test accuracy 0.626 +- 0.011 (mean and deviation over the seeds 0 to 2; 0.629 with seed 0); 56 layers in that
           comparison 0.443 +- 0.017 with shortcuts, 0.193 +- 0.006 without; --full has not been measured
images:    JPEG-compressed (quality about 75): a published ResNet-20 of accuracy 0.917 has 0.810 on them, so the
           figures compare with no published ones
time:      6 min of processor time
compile:   14 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.cifar_resnet --seed 0
"""

from __future__ import annotations

import dataclasses

from experiments.support import cifar
from jaxnets.config import PositiveInt
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.models import CifarResNetConfig, cifar_resnet
from jaxnets.report import RunFolder


@dataclasses.dataclass(frozen=True)
class Config(cifar.CifarSettings):
    """Settings of the experiment; the defaults are for two cores, `--full` is for a GPU or TPU."""

    depth: PositiveInt = 20
    """6 n + 2 layers."""
    residual: bool = True
    """Whether blocks have shortcuts."""
    learning_rate: float = 0.2


@in_run_folder(full=cifar.FULL | {"learning_rate": 0.2}, smoke=cifar.SMOKE)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, evaluate, and draw."""
    model = cifar_resnet(CifarResNetConfig(config.depth, residual=config.residual))
    return cifar.train(config, folder, model)


if __name__ == "__main__":
    main(Config, run, __doc__)
