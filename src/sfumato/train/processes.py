"""The processes that train together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Timer

import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch.distributed.rendezvous import rendezvous

from sfumato import logs, machine
from sfumato.errors import InputError, SfumatoError
from sfumato.launcher import COUNTS, LOCAL, RANKS, from_environment
from sfumato.wording import shortened

_log = logs.EventLogger(__name__)
FIRST_WAIT = timedelta(minutes=10)
"""For all processes to be there."""
LONGEST_WAIT = timedelta(days=2)
"""For the process that computes all latents, or draws a preview, while the others wait."""
SILENT = 5.0
"""Seconds to wait for other processes before a message."""
_OBEYED = ("ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE", "ACCELERATE_CPU_AFFINITY", "ACCELERATE_DEBUG_MODE")
"""Of accelerate's own settings, those that change no number."""
_TRUE = ("1", "true", "yes", "on")


def join(device: str | None) -> Accelerator:
    """accelerate's view of the machine, on the kind of device asked for; which one of several is its own to say. Where
    a launcher has started several processes, they meet first, for which `FIRST_WAIT` must do.

    accelerate's own mixed precision, accumulation and compiling are never obeyed, whatever its configuration says: a
    recipe and a precision are all that a training is. Raises an `InputError` for what a launcher asks for and cannot
    be had.
    """
    kind = machine.pick_device(device).type
    _refuse_others()
    count = from_environment(COUNTS) or 1
    try:
        if count > 1 and not dist.is_initialized():
            _meet(kind, count)
        with _plain(alone=count == 1):
            accelerator = Accelerator(cpu=kind == "cpu", mixed_precision="no", dynamo_backend="no")
    except (ValueError, ImportError, RuntimeError, OSError) as error:
        if isinstance(error, SfumatoError):
            raise
        raise InputError(f"the processes cannot be set up by accelerate: {shortened(str(error), 200)}") from error
    accelerator.gradient_accumulation_steps = 1
    if accelerator.device.type != kind:
        raise InputError(f"training takes the device {accelerator.device.type} here, not {kind}")
    return accelerator


def _refuse_others() -> None:
    """Raise an `InputError` where another way to train is asked for."""
    for name, value in os.environ.items():
        if name.startswith("ACCELERATE_USE_") and name not in _OBEYED and value.lower() in _TRUE:
            raise InputError(f"{name} is set, which is a way to train that Sfumato has not: unset it")


def _meet(kind: str, count: int) -> None:
    """Wait until all processes are there, and let them speak to one another."""
    named = next(name for name in COUNTS if os.environ.get(name))
    rank = from_environment(RANKS)
    if kind not in ("cpu", "cuda"):
        raise InputError(f"{named} is {count}, and {kind} has but one device: unset it")
    for name, there in (
        ("MASTER_ADDR", os.environ.get("MASTER_ADDR")),
        ("RANK", rank is not None),
        ("LOCAL_RANK", kind == "cpu" or from_environment(LOCAL) is not None),
    ):
        if not there:
            raise InputError(f"{named} is {count} and {name} is not set: unset it, or start by torchrun")
    assert rank is not None
    if rank >= count:
        raise InputError(f"{named} is {count} and the rank is {rank}: unset it, or start by torchrun")
    where = f"{os.environ['MASTER_ADDR']}:{os.environ.setdefault('MASTER_PORT', '29500')}"
    minutes = f"{FIRST_WAIT.total_seconds() / 60:g} minutes"
    word = Timer(SILENT, _log.info, [f"waiting for {count} processes to meet at {where}, for {minutes} at most"])
    word.daemon = True
    word.start()
    try:
        store, _, _ = next(iter(rendezvous("env://", rank, count, timeout=FIRST_WAIT)))
        store.set(f"sfumato/{rank}", "here")
        store.wait([f"sfumato/{other}" for other in range(count)], FIRST_WAIT)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{named} is {count}, and not all processes met at {where} within {minutes}: start as many, by torchrun, or"
            f" unset it ({shortened(str(error), 100)})"
        ) from error
    finally:
        word.cancel()
    store.set_timeout(LONGEST_WAIT)
    backend = "nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=LONGEST_WAIT)


@contextmanager
def _plain(alone: bool) -> Iterator[None]:
    """An environment without what accelerate would obey; and, for one process, without what launchers left."""
    before = dict(os.environ)
    owned = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")
    for name in before:
        left = alone and name in (*COUNTS, *RANKS, *LOCAL)
        if left or (name.startswith(owned) and name not in _OBEYED):
            del os.environ[name]
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.setdefault(name, value)


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
