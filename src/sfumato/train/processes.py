"""The processes that train together."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list

from sfumato import machine
from sfumato.errors import InputError, SfumatoError

LONGEST_WAIT = timedelta(days=2)
"""For the process that computes all latents, or draws a sheet, while the others wait."""


def join(device: str | None) -> Accelerator:
    """accelerate's view of the machine, on the kind of device asked for; which one of several is its own to say."""
    kind = machine.pick_device(device).type
    patience = InitProcessGroupKwargs(timeout=LONGEST_WAIT)
    accelerator = Accelerator(cpu=kind == "cpu", kwargs_handlers=[patience])
    if accelerator.device.type != kind:
        raise InputError(f"training takes the device {accelerator.device.type} here, not {kind}")
    return accelerator


@contextmanager
def all_or_none(accelerator: Accelerator) -> Iterator[None]:
    """An error in the first process's block is one in every process; the others wait for its end."""
    error: SfumatoError | None = None
    try:
        yield
    except SfumatoError as raised:
        error = raised
    if accelerator.num_processes > 1:
        error = broadcast_object_list([error])[0]
    if error is not None:
        raise error
