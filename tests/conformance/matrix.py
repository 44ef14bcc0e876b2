"""The matrix: every sampler on every schedule, parameterization, spacing and number of steps. A new one is one line."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sfumato.core import grid, schedule
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import Spacing
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.parameterization import X0, Coefficients, Eps, Mean, Parameterization, V
from sfumato.core.schedule import Schedule
from sfumato.denoise import Denoiser, DenoiserLike
from sfumato.sample import DDIM, Ancestral, Sampler, sample

SAMPLERS: dict[str, Sampler[Any]] = {
    "ddim": DDIM(),
    "ddim-half": DDIM(eta=0.5),
    "ddim-one": DDIM(eta=1.0),
    "ddpm-small": Ancestral("small"),
    "ddpm-large": Ancestral("large"),
}
DETERMINISTIC = ("ddim",)
SCHEDULES: dict[str, Schedule] = {
    "linear": schedule.Linear(),
    "scaled-linear": schedule.ScaledLinear(),
    "quadratic": schedule.Quadratic(),
    "cosine": schedule.Cosine(),
    "sigmoid": schedule.Sigmoid(),
    "vp": schedule.VP(),
}
# On a continuous schedule the mean's step is no grid's stride, so that a time rounded to float32 has the same s.
PARAMETERIZATIONS: dict[str, Callable[[Schedule], Parameterization]] = {
    "eps": lambda schedule: Eps(),
    "x0": lambda schedule: X0(),
    "v": lambda schedule: V(),
    "mean": lambda schedule: Mean(schedule, step=1.0 if schedule.T else 5e-4),
}
SPACINGS: dict[str, Spacing] = {
    "uniform": grid.Uniform(),
    "trailing": grid.Trailing(),
    "leading": grid.Leading(),
    "quadratic": grid.Quadratic(),
    "quadratic-0.8": grid.Quadratic(0.8),
}
STEPS = (7, 10, 30, 1000)
LONG = 1000


def each_row(samplers: Sequence[str] = tuple(SAMPLERS), by_turns: Sequence[int] = ()) -> Any:
    """Parametrize a test over the matrix, for all samplers or those named.

    Of the rows with as many steps as `by_turns` names, most wait for a release: a day sees one for each sampler and
    schedule (of the long rows, for every third such pair), in which parameterizations and spacings take turns.
    """

    def row(places: tuple[tuple[int, str], ...], steps: int) -> Any:
        (i, sampler), (j, schedule), (k, parameterization), (n, spacing) = places
        turn = (k, n) == ((i + j) % len(PARAMETERIZATIONS), (i + 2 * j) % len(SPACINGS))
        values = (sampler, schedule, parameterization, spacing, steps)
        waits = steps in by_turns and not (turn and (steps < LONG or (i + j) % 3 == 2))
        return pytest.param(*values, marks=[pytest.mark.release] * waits, id="-".join(map(str, values)))

    axes = [list(enumerate(axis)) for axis in (samplers, SCHEDULES, PARAMETERIZATIONS, SPACINGS)]
    rows = [row(places, steps) for places in itertools.product(*axes) for steps in STEPS]
    return pytest.mark.parametrize("sampler, schedule, parameterization, spacing, steps", rows)


@cache
def levels(schedule: str, spacing: str, steps: int) -> tuple[Level, ...]:
    return tuple(grid.levels(SCHEDULES[schedule], SPACINGS[spacing], steps))


def precision(schedule: str) -> float:
    """The error to expect of exact mathematics: float64's, but a network is told fractional times in float32."""
    return 1e-9 if SCHEDULES[schedule].T else 1e-6


class Network(nn.Module):
    """The raw network behind `known`, a denoiser, in the terms of a parameterization: `F = (x_0 − skip·x_t)/out`.

    It is told what networks are told, scaled samples and float32 times, and finds the level by the schedule.
    """

    def __init__(self, known: DenoiserLike, parameterization: Parameterization) -> None:
        super().__init__()
        self.known, self.parameterization = known, parameterization
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        assert time.dtype == torch.float32
        level, (skip, out, scale, _) = place(self.known.schedule, self.parameterization, tuple(time.tolist()))
        x_t = x / like(scale, x)
        return (self.known(x_t, level).x0 - like(skip, x) * x_t) / like(out, x)


@cache
def place(
    schedule: Schedule, parameterization: Parameterization, times: tuple[float, ...]
) -> tuple[Level, Coefficients]:
    level = schedule(torch.tensor(times, dtype=torch.float64))
    return level, parameterization(level)


def network(known: DenoiserLike, parameterization: str) -> Denoiser:
    """A denoiser as trained ones are, whose network answers as `known` does."""
    chosen = PARAMETERIZATIONS[parameterization](known.schedule)
    return Denoiser(Network(known, chosen), known.schedule, chosen)


@dataclass(frozen=True)
class Knows:
    """Knows the eps that is in the samples, and believes the level that it is told: wrong of samples elsewhere."""

    schedule: Schedule
    eps: Tensor

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        return Estimate(x_t, level, (x_t - like(level.sigma, x_t) * self.eps) / like(level.alpha, x_t))


class Draws(Noise):
    """Noise from one stream: quick, where the law of the samples is asked and not whose noise it is."""

    def __init__(self, seed: int) -> None:
        self.stream = torch.Generator().manual_seed(seed)

    def like(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=self.stream, dtype=x.dtype)


class Given(Noise):
    """Noise that is what the test says, at every draw."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def like(self, x: Tensor) -> Tensor:
        return self.noise


def run(denoiser: DenoiserLike, sampler: str, x: Tensor, levels: Sequence[Level], seed: int = 0) -> list[Tensor]:
    """Where the samples stand after each move."""
    return list(sample(denoiser, SAMPLERS[sampler], x, levels, noise=Draws(seed)))


def stack(levels: Sequence[Level]) -> Level:
    """Levels of [1] as one of [b]."""
    return Level(*(torch.cat(field) for field in zip(*levels, strict=True)))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute error."""
    return (found - wanted).abs().max().item()
