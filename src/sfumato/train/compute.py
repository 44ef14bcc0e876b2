"""What a run computes with."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from sfumato import machine

T = TypeVar("T")


@dataclass(frozen=True)
class Compute:
    """The processes of a training, the device of this one, and the precision that they compute in."""

    accelerator: Accelerator
    precision: machine.Precision
    threads: int | None = None
    """Those asked for, on the CPU; None lets the run choose."""

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes and speaks."""
        return self.accelerator.is_main_process

    @property
    def processes(self) -> int:
        return self.accelerator.num_processes

    @property
    def threads_in_use(self) -> int | None:
        """The threads that this process computes with; None on another device than the CPU, where they decide
        nothing."""
        return torch.get_num_threads() if self.device.type == "cpu" else None

    def agreed(self, value: T) -> T:
        """The first process's value, in every process."""
        return value if self.processes == 1 else broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Until every process has come here."""
        self.accelerator.wait_for_everyone()
