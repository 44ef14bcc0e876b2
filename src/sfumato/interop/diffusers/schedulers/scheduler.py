"""A scheduler in diffusers' sense: how a model is sampled from."""

from dataclasses import dataclass
from typing import Any

from sfumato.core.grid import Spacing
from sfumato.core.parameterization import Parameterization
from sfumato.core.schedule import Schedule
from sfumato.sample import Sampler
from sfumato.system.settings import Thresholding


@dataclass(frozen=True)
class Scheduler:
    """The noise schedule, what the network predicts, the sampler, its spacing and number of steps, and how the estimate
    of x_0 is bounded: what diffusers keeps in one object."""

    schedule: Schedule
    parameterization: Parameterization
    sampler: Sampler[Any]
    spacing: Spacing
    steps: int = 50
    thresholding: Thresholding = Thresholding()
