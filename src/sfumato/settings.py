"""How to draw: what a system is saved with, and what a call may change."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import Spacing, Trailing, levels
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.parameterization import Parameterization
from sfumato.core.schedule import Schedule
from sfumato.errors import InputError, ShapeError
from sfumato.parts import SAMPLERS, SPACINGS, part_field
from sfumato.sample import DDIM, Sampler
from sfumato.sample.driver import check_steps

MOST_SIDE = 16384


@dataclass(frozen=True)
class Settings:
    """`size` is (width, height); `guidance` the scale of classifier-free guidance, 1 for none.

    `interval` and `rescale` say where it guides and how far contrast is brought back: see `guide.ClassifierFree`.
    """

    size: tuple[int, int]
    sampler: Sampler[Any] = DDIM()
    spacing: Spacing = Trailing()
    steps: int = 50
    guidance: float = 1.0
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def dump(self) -> dict[str, Any]:
        """The settings as data, ready for JSON."""
        return {
            "size": list(self.size),
            "sampler": SAMPLERS.dump(self.sampler),
            "spacing": SPACINGS.dump(self.spacing),
            "steps": self.steps,
            "guidance": self.guidance,
            "interval": list(self.interval) if self.interval is not None else None,
            "rescale": self.rescale,
        }

    def but(self, **given: Any) -> "Settings":
        """These settings with those of `given` that are not None in their place. A sampler or spacing may be spelled:
        "ddim,eta=0.5"."""
        return replace(self, **{name: _read(name, value) for name, value in given.items() if value is not None})

    def check(self) -> None:
        """Raise an `InputError` for what is wrong in itself, whatever the system."""
        sides = [side for side in listed("size", self.size) if type(side) is int and 1 <= side <= MOST_SIDE]
        if len(sides) != 2 or len(self.size) != 2:
            raise ShapeError(f"size must be (width, height), each from 1 to {MOST_SIDE:,}, not {self.size!r}")
        whole("steps", self.steps, -(2**63), 2**63)  # how many there may be is the grid's to say
        number = isinstance(self.guidance, int | float) and not isinstance(self.guidance, bool)
        if not number or not math.isfinite(self.guidance) or self.guidance < 0:
            raise InputError(f"guidance must be a number from 0 up, not {self.guidance!r}; 1 is off")
        if self.interval is not None:
            ends = [
                end for end in listed("interval", self.interval) if isinstance(end, int | float) and math.isfinite(end)
            ]
            if len(ends) != 2 or len(self.interval) != 2 or not 0 <= ends[0] < ends[1]:
                raise InputError(f"interval must be two sigma/alpha with 0 ≤ low < high, not {self.interval!r}")
        if not isinstance(self.rescale, int | float) or not 0 <= self.rescale <= 1:
            raise InputError(f"rescale must lie between 0 (off) and 1, not {self.rescale!r}")


class SettingsTable(BaseModel):
    """Settings as they stand in `system.json`."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    size: tuple[int, int]
    sampler: Annotated[Sampler[Any], part_field(SAMPLERS)]
    spacing: Annotated[Spacing, part_field(SPACINGS)]
    steps: int
    guidance: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def settings(self) -> Settings:
        return Settings(self.size, self.sampler, self.spacing, self.steps, self.guidance, self.interval, self.rescale)


@dataclass(frozen=True)
class Stub:
    """Stands for a denoiser that is yet to be trained or asked: can what would be asked of it be?"""

    schedule: Schedule
    parameterization: Parameterization
    learned: bool

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.parameterization(level)
        return Estimate(x_t, level, torch.zeros_like(x_t), torch.full_like(x_t, 0.5) if self.learned else None)


def try_out(stub: Stub, sampler: Sampler[Any], spacing: Spacing, steps: int) -> None:
    """Make the first move of a walk with `stub`: what cannot be drawn with says so here, before anything long."""
    now, then, *_ = levels(stub.schedule, spacing, steps)
    x = torch.zeros(1, 1)
    sampler.step(stub, x, now, then, sampler.init(x), Noise([0]))
    check_steps(sampler, steps)


def listed(name: str, value: Any) -> list[Any]:
    """Several things as a list."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(f"{name} must be a list, not {value!r}")
    return list(value)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number within bounds; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise InputError(f"{name} must be a whole number from {low:,} to {high:,}, not {value!r}")
    return int(value)


def _read(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in ("sampler", "spacing"):
        return (SAMPLERS if name == "sampler" else SPACINGS).parse(value)
    return tuple(value) if isinstance(value, list) else value
