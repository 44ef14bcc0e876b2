"""The average of the weights over training, which is saved and drawn with."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import InputError
from sfumato.parts import Kinds

_LEAST_WIDTH = 1e-6
"""The smallest width of a power average."""


@runtime_checkable
class Average(Protocol):
    """How much of the old average stays at update `step` (from 1): `average ← decay·average + (1 − decay)·weights`."""

    def decay(self, step: int) -> float: ...


@dataclass(frozen=True)
class Power:
    """`decay_t = (1 − 1/t)^(gamma + 1)`: an average as wide as a fixed share of the training so far.

    `width` is that share, the relative standard deviation σ_rel; gamma follows from it (EDM2, arXiv:2312.02696, section
    3.1 and appendix C). It suits short runs and long ones alike, and forgets the initial weights at once.
    """

    width: float = 0.1

    @cached_property
    def gamma(self) -> float:
        if not 0 < self.width < 0.28:
            raise InputError(f"the width of a power average must lie between 0 and 0.28, not {self.width}")
        if self.width < _LEAST_WIDTH:
            raise InputError(f"the width of a power average must be at least {_LEAST_WIDTH:g}, not {self.width}")
        t = self.width**-2
        return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())

    def decay(self, step: int) -> float:
        return (1 - 1 / step) ** (self.gamma + 1)


@dataclass(frozen=True)
class Constant:
    """The same `rate` throughout (DDPM's 0.9999), but no more than `(1 + t)/(10 + t)`, so that a start counts less."""

    rate: float = 0.9999

    def decay(self, step: int) -> float:
        if not 0 <= self.rate < 1:
            raise InputError(f"the rate of a constant average must be at least 0 and below 1, not {self.rate}")
        return min(self.rate, (1 + step) / (10 + step))


AVERAGES = Kinds[Average]("average", {"power": Power, "constant": Constant})


@torch.no_grad()
def update(average: Iterable[Tensor], weights: Iterable[Tensor], decay: float) -> None:
    """`average ← decay·average + (1 − decay)·weights`, in place."""
    torch._foreach_lerp_(list(average), list(weights), 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
