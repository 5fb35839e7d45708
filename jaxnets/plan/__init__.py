"""What a training step will need on TPUs that are not there: memory, time and price, as the TPU compiler predicts them.

`python -m jaxnets plan EXPERIMENT --target v5e:4x4` plans the step of a program; `plan_step` plans a step.
"""

from jaxnets.plan.chips import CHIPS as CHIPS, Chip as Chip, Machine as Machine, machine as machine
from jaxnets.plan.collectives import Collective as Collective
from jaxnets.plan.memory import Memory as Memory
from jaxnets.plan.plan_step import Training as Training, plan_step as plan_step
from jaxnets.plan.report import Plan as Plan
