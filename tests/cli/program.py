"""The command line as a test sees it, and the settings of a small run."""

from collections.abc import Callable
from typing import NamedTuple

SMALL = (
    "network.patch=1",
    "network.width=8",
    "network.multipliers=[1,2]",
    "network.attention=[]",
    "network.scale_shift=true",
    "train.batch=8",
    "settings.steps=3",
    "settings.guidance=1.0",
)


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Sfumato = Callable[..., Result]
