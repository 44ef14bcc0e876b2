"""Data whose conditionals are known too: what guides are held against."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.schedule import Linear, Schedule
from sfumato.denoise import DenoiserLike
from sfumato.sample import Sampler

SCHEDULE = Linear()


@dataclass(frozen=True)
class Correlated:
    """Data `N(mean, cov)` with any covariance: `mean` [d], `cov` [d, d]; samples [b, *d] are flattened."""

    schedule: Schedule
    mean: Tensor
    cov: Tensor

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        x = x_t.flatten(1)
        spread, axes, mean = (value.to(x) for value in (*self._axes, self.mean))
        alpha, sigma = like(level.alpha, x), like(level.sigma, x)
        gain = alpha * spread / (alpha**2 * spread + sigma**2)
        x0 = mean + (gain * ((x - alpha * mean) @ axes)) @ axes.T
        return Estimate(x_t, level, x0.reshape(x_t.shape))

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """The variances along the principal axes, [d], and those axes, [d, d]; rounding may leave none just below 0."""
        spread, axes = torch.linalg.eigh(self.cov)
        return spread.clamp(min=0), axes

    def uncertainty(self, level: Level) -> Tensor:
        """`Cov[x_0 | x_t]`, [b, d, d]: `(cov⁻¹ + (alpha/sigma)²·I)⁻¹`."""
        precision = self.cov.inverse()
        return (
            precision + (level.alpha / level.sigma)[:, None, None] ** 2 * torch.eye(len(self.mean)).to(precision)
        ).inverse()

    def given(self, operator: Tensor, y: Tensor, noise: float) -> "Correlated":
        """The distribution of x_0 once `y = operator·x_0 + noise·n` is seen; `operator` [m, d], y [m]."""
        seen = operator @ self.cov @ operator.T + noise**2 * torch.eye(len(y)).to(y)
        gain = self.cov @ operator.T @ seen.inverse()
        return Correlated(
            self.schedule, self.mean + gain @ (y - operator @ self.mean), self.cov - gain @ operator @ self.cov
        )


def correlated(d: int, reach: float = 3.0) -> Correlated:
    """A line of d pixels, each like its neighbours: correlation `exp(−distance/reach)`, standard deviation 0.7."""
    place = torch.arange(d, dtype=torch.float64)
    cov = 0.49 * torch.exp(-(place[:, None] - place).abs() / reach)
    return Correlated(SCHEDULE, 0.2 * torch.cos(place), cov)


class Given(Noise):
    """Noise that is what the test says, at every draw."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def like(self, x: Tensor) -> Tensor:
        return self.noise


def distribution_of_the_end(
    denoiser: DenoiserLike, sampler: Sampler[Any], path: Sequence[Level], d: int
) -> tuple[Tensor, Tensor]:
    """Mean [d] and covariance [d, d] of what a sampler ends in, of a denoiser that is affine in x_t, from N(0, I).

    No draws: each step is affine, so that it is known by what it does to 0, to each unit vector, and to noise of 1.
    """
    mean, cov = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    nothing, units = torch.zeros(1, d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    starts = torch.cat([nothing, units, nothing])
    noise = torch.cat([nothing, 0 * units, nothing + 1])
    for now, then in pairwise(path):
        with torch.no_grad():
            moved, _ = sampler.step(denoiser, starts, now, then, None, Given(noise))
        shift, matrix, std = moved[0], (moved[1:-1] - moved[0]).T, moved[-1] - moved[0]
        mean, cov = matrix @ mean + shift, matrix @ cov @ matrix.T + torch.diag(std**2)
    return mean, cov


def error(found: Tensor, wanted: Tensor) -> float:
    """The largest absolute error."""
    return (found - wanted).abs().max().item()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass(frozen=True)
class Constant:
    """Believes the same of everything."""

    schedule: Schedule
    x0: float

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        return Estimate(x_t, level, torch.full_like(x_t, self.x0))


@dataclass(frozen=True)
class Conditional:
    """Data moved by what the condition's vector says, as far as the vector says; keeps the batches it was asked.

    Its learned variance lies where the vector says, so that its sample is recognised.
    """

    oracle: Correlated
    batches: list[int] = field(default_factory=list)

    @property
    def schedule(self) -> Schedule:
        return self.oracle.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.batches.append(len(x_t))
        assert condition.vector is not None and len(condition.vector) == len(x_t)
        assert all(len(value) in (1, len(x_t)) for value in level)
        alpha, shift = like(level.alpha, x_t), condition.vector.to(x_t)
        x0 = self.oracle(x_t - alpha * shift, level).x0 + shift * (1 + (alpha * x_t).sin())
        return Estimate(x_t, level, x0, shift.expand_as(x_t) / 10)


@dataclass(frozen=True)
class Reshaped:
    """The same denoiser of flat samples, [b, d], asked about samples [b, *shape]."""

    flat: DenoiserLike
    shape: tuple[int, ...]

    @property
    def schedule(self) -> Schedule:
        return self.flat.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        x0 = self.flat(x_t.flatten(1), level, condition).x0
        return Estimate(x_t, level, x0.reshape(len(x_t), *self.shape))
