"""Where a run works."""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from sfumato import machine


@dataclass(frozen=True)
class Place:
    """Where a run works and what it computes in."""

    folder: Path
    accelerator: Accelerator
    precision: machine.Precision

    @property
    def device(self) -> torch.device:
        return self.accelerator.device
