"""The matrix: every sampler on every schedule, parameterization, spacing and number of steps. A new one is one line."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from sfumato import parts
from sfumato.core import grid, schedule
from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.grid import Spacing
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.parameterization import (
    Coefficients,
    EDMPreconditioning,
    EpsPrediction,
    FlowPrediction,
    MeanPrediction,
    Parameterization,
    ScorePrediction,
    VPrediction,
    X0Prediction,
)
from sfumato.core.schedule import Schedule
from sfumato.denoise import Denoiser, DenoiserLike
from sfumato.sample import Sampler, sample
from sfumato.sample.facts import FACTS, Facts

SOLVERS: dict[str, Facts] = {name: facts for name, facts in FACTS.items() if facts.order is not None}
"""What is known of each sampler that is spelled so; a new one is one line in `sfumato.sample.facts`."""
SAMPLERS: dict[str, Sampler[Any]] = {name: parts.SAMPLERS.parse(name) for name in SOLVERS}
DETERMINISTIC = tuple(name for name, facts in SOLVERS.items() if not facts.stochastic)
STOCHASTIC = tuple(name for name, facts in SOLVERS.items() if facts.stochastic)
SCHEDULES: dict[str, Schedule] = {
    "linear": schedule.Linear(),
    "scaled-linear": schedule.ScaledLinear(),
    "quadratic": schedule.Quadratic(),
    "cosine": schedule.Cosine(),
    "sigmoid": schedule.Sigmoid(),
    "vp": schedule.VP(),
    "sub-vp": schedule.SubVP(),
    "ve": schedule.VE(),
    "ve-1000": schedule.VE(T=1000),
    "ve-linear": schedule.VE(growth="linear"),
    "edm": schedule.EDM(),
    "flow": schedule.Flow(),
    "flow-3": schedule.Flow(shift=3.0),
    "zero-terminal": schedule.ZeroTerminal(schedule.Linear()),
}
PARAMETERIZATIONS: dict[str, Callable[[Schedule], Parameterization]] = {
    "eps": lambda schedule: EpsPrediction(),
    "x0": lambda schedule: X0Prediction(),
    "v": lambda schedule: VPrediction(),
    "score": lambda schedule: ScorePrediction(),
    "score-itself": lambda schedule: ScorePrediction(over_sigma=False),
    "flow": lambda schedule: FlowPrediction(),
    "flow-of-sigma": lambda schedule: FlowPrediction(time_input="sigma"),
    "karras": lambda schedule: EDMPreconditioning(),
    "mean": lambda schedule: MeanPrediction(schedule, step=1.0 if schedule.T else 5e-4),
}
SPACINGS: dict[str, Spacing] = {
    "uniform": grid.UniformSpacing(),
    "trailing": grid.TrailingSpacing(),
    "leading": grid.LeadingSpacing(),
    "quadratic": grid.QuadraticSpacing(),
    "quadratic-0.8": grid.QuadraticSpacing(0.8),
    "karras": grid.KarrasSpacing(),
    "logsnr": grid.LogSNRSpacing(),
    "ays": grid.AYSSpacing(),
}
SHORT = (7, 10, 30)
LONG = 1000
STEPS = (*SHORT, LONG)


class Row(NamedTuple):
    """The levels of a sampler on a schedule."""

    parameterization: str
    spacing: str
    steps: int


def each_row(samplers: Sequence[str] = tuple(SAMPLERS)) -> Any:
    """Parametrize a test over samplers and schedules, and the `rows` of the matrix that it goes through with both.

    A day sees one short row of each, in which parameterizations, spacings and numbers of steps take turns. A release
    sees every parameterization with every spacing, and a long row.
    """
    params = []
    for i, j, sampler, on in _pairs(samplers):
        today, *others = (row for row in _rows(i, j) if fits(on, row))
        params.append(pytest.param(sampler, on, [today], id=f"{sampler}-{on}"))
        params.append(pytest.param(sampler, on, others, id=f"{sampler}-{on}-all", marks=pytest.mark.release))
    return pytest.mark.parametrize("sampler, schedule, rows", params)


def each_pair(samplers: Sequence[str] = tuple(SAMPLERS), one_in: int = 1) -> Any:
    """Parametrize a test over samplers and the schedules that they can start on. A day sees `one_in` so many pairs."""
    params = [
        pytest.param(sampler, on, marks=[pytest.mark.release] * ((i + j) % one_in > 0))
        for i, j, sampler, on in _pairs(samplers)
    ]
    return pytest.mark.parametrize("sampler, schedule", params)


@cache
def ends_in_noise(schedule: str) -> bool:
    """Whether no signal is left at the last time."""
    return SCHEDULES[schedule](torch.tensor([SCHEDULES[schedule].last])).alpha.item() == 0


def can_be_laid(schedule: str, spacing: str) -> bool:
    """Whether a schedule can be spaced so: ratios of noise to signal need a bound."""
    return not (isinstance(SPACINGS[spacing], grid.KarrasSpacing | grid.LogSNRSpacing) and ends_in_noise(schedule))


def starts_in_noise(schedule: str, row: Row) -> bool:
    """Whether a row's first level is pure noise."""
    return ends_in_noise(schedule) and bool(levels(schedule, row.spacing, row.steps)[0].alpha == 0)


@cache
def fits(schedule: str, row: Row) -> bool:
    """Whether a schedule can be sampled so: of pure noise, only some predictions say what x_0 is."""
    if not can_be_laid(schedule, row.spacing):
        return False
    chosen = PARAMETERIZATIONS[row.parameterization](SCHEDULES[schedule])
    return isinstance(chosen, X0Prediction | VPrediction | FlowPrediction) or not starts_in_noise(schedule, row)


def _pairs(samplers: Sequence[str]) -> Iterator[tuple[int, int, str, str]]:
    """The samplers and the schedules that they can start on, with the place of each among its kind."""
    for (i, sampler), (j, on) in itertools.product(enumerate(samplers), enumerate(SCHEDULES)):
        if SOLVERS[sampler].from_noise or not ends_in_noise(on):
            yield i, j, sampler, on


def _rows(i: int, j: int) -> Iterator[Row]:
    """The rows of a sampler and a schedule, in turns that begin elsewhere for each pair; a long one is the last."""
    predicted, spaced = tuple(PARAMETERIZATIONS), tuple(SPACINGS)
    for turn, (k, n) in enumerate(itertools.product(range(len(predicted)), range(len(spaced)))):
        steps = SHORT[(i + j + turn) % len(SHORT)]
        yield Row(predicted[(i + j + k) % len(predicted)], spaced[(i + 2 * j + n) % len(spaced)], steps)
    yield Row(predicted[(i + j) % len(predicted)], spaced[(i + 2 * j) % len(spaced)], LONG)


LAID = [(on, spacing) for on, spacing in itertools.product(SCHEDULES, SPACINGS) if can_be_laid(on, spacing)]
"""Every schedule with every spacing that it can have."""


@cache
def levels(schedule: str, spacing: str, steps: int) -> tuple[Level, ...]:
    return tuple(grid.levels(SCHEDULES[schedule], SPACINGS[spacing], steps))


def dense(schedule: str, steps: int) -> tuple[Level, ...]:
    """Strides that are shorter the nearer the data, which suits every solver: even in λ where that has a bound."""
    return levels(schedule, "quadratic" if ends_in_noise(schedule) else "logsnr", steps)


def precision(schedule: str) -> float:
    """The error to expect of exact mathematics in float64, for samples as large as the noise of the schedule."""
    return 1e-9 * max(1.0, SCHEDULES[schedule](torch.tensor([SCHEDULES[schedule].last])).sigma.item())


def begin(level: Level, noise: Tensor) -> Tensor:
    """Where samples start: noise of the variance that x_t has for data of unit variance."""
    return like((level.alpha**2 + level.sigma**2).sqrt(), noise) * noise


class Overheard:
    """A parameterization that keeps the level it was asked about last, which a float32 time does not say exactly."""

    def __init__(self, chosen: Parameterization) -> None:
        self.chosen = chosen
        self.last: tuple[Level, Coefficients] | None = None

    def __call__(self, level: Level) -> Coefficients:
        coefficients = self.chosen(level)
        self.last = level, coefficients
        return coefficients


class Network(nn.Module):
    """The raw network behind `known`, a denoiser, in the terms of a parameterization: `F = (x_0 − skip·x_t)/out`.

    It sees what networks see, scaled samples and float32 times, and checks its time input.
    """

    def __init__(self, known: DenoiserLike, overheard: Overheard) -> None:
        super().__init__()
        self.known, self.overheard = known, overheard
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        assert self.overheard.last is not None
        level, (skip, out, scale, _) = self.overheard.last
        assert torch.equal(time, time_input(self.overheard.chosen, level).float().expand(len(x)))
        x_t = x / like(scale, x)
        return (self.known(x_t, level).x0 - like(skip, x) * x_t) / like(out, x)


def time_input(parameterization: Parameterization, level: Level) -> Tensor:
    """The time input of a network."""
    match parameterization:
        case FlowPrediction(time_input="sigma"):
            return level.sigma
        case EDMPreconditioning():
            return -level.logsnr / 8  # log(sigma/alpha)/4
        case _:
            return level.t


def network(known: DenoiserLike, parameterization: str) -> Denoiser:
    """A denoiser as trained ones are, whose network answers as `known` does."""
    chosen = Overheard(PARAMETERIZATIONS[parameterization](known.schedule))
    return Denoiser(Network(known, chosen), known.schedule, chosen)


@dataclass(frozen=True)
class Knows:
    """Knows the eps that is in the samples, and believes the level that it is given: wrong of samples elsewhere."""

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


class Impulses(Noise):
    """Noise of 1 for one sample at each draw, and of 0 for the others: the third at the first draw, and so on."""

    def __init__(self) -> None:
        self.drawn = 0

    def like(self, x: Tensor) -> Tensor:
        noise = torch.zeros_like(x)
        noise[2 + self.drawn] = 1
        self.drawn += 1
        return noise


class Given(Noise):
    """Noise that is what the test says, at every draw."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def like(self, x: Tensor) -> Tensor:
        return self.noise


def run(denoiser: DenoiserLike, sampler: str, x: Tensor, levels: Sequence[Level], seed: int = 0) -> list[Tensor]:
    """Where the samples stand after each step."""
    return list(sample(denoiser, SAMPLERS[sampler], x, levels, noise=Draws(seed)))


def stack(levels: Sequence[Level]) -> Level:
    """Levels of [1] as one of [b]."""
    return Level(*(torch.cat(field) for field in zip(*levels, strict=True)))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute error."""
    return (found - wanted).abs().max().item()
