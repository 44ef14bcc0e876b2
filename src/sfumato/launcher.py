"""What a launcher of several processes has left in the environment, as torchrun, `accelerate launch` and mpirun do."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sfumato.errors import InputError, quoted

COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
LOCAL = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
"""Where launchers say how many processes there are, which of them one is, and which on its machine."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Part:
    """What one of `count` processes does of a work in parts: every `count`-th of them, from number `rank` on."""

    rank: int = 0
    count: int = 1
    local: int = 0
    """Its number on its machine."""

    def of(self, parts: Sequence[_T]) -> Sequence[_T]:
        """Its own parts: which they are hangs on nothing but the number of processes."""
        return parts[self.rank :: self.count]


def share() -> Part:
    """The share of this process, all of it where no launcher has started several."""
    count = from_environment(COUNTS) or 1
    if count == 1:
        return Part()
    rank = from_environment(RANKS)
    if rank is None or rank >= count:
        named = next(name for name in COUNTS if os.environ.get(name))
        came = "RANK is not set" if rank is None else f"the rank is {rank}"
        raise InputError(f"{named} is {count} and {came}: unset it, or start by torchrun")
    return Part(rank, count, from_environment(LOCAL) or 0)


def from_environment(names: tuple[str, ...]) -> int | None:
    """The number that a launcher has left under one of these names; None without any."""
    for name in names:
        if text := os.environ.get(name):
            if not (text.isdecimal() and text.isascii() and int(text) < 10**6):
                raise InputError(f"{name} is {quoted(text)}, which is no number of a process: unset it")
            return int(text)
    return None
