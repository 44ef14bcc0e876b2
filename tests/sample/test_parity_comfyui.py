"""Whole trajectories beside the methods that ComfyUI has and k-diffusion has not, from their definitions: along `σ`,
in `x/alpha`, with `D` the estimate of x_0 there."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sfumato.core.grid import KarrasSpacing, levels
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.schedule import EDM, VP, Schedule
from sfumato.foreign.samplers import own_sampler
from sfumato.oracle import MixtureDenoiser
from sfumato.parts import SAMPLERS
from sfumato.sample import sample

SCHEDULES: dict[str, Schedule] = {"edm": EDM(), "vp": VP()}
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5]], dtype=torch.float64)
STDS = torch.tensor([0.6, 0.7, 0.5], dtype=torch.float64)
X, NOISE = torch.randn((2, 4, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

Model = Callable[[Tensor, float], Tensor]


class Constant(Noise):
    """The same noise at every draw."""

    def __init__(self) -> None:
        pass

    def like(self, x: Tensor) -> Tensor:
        return NOISE


def res_multistep(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """The refined exponential solver of second order, multistep (arXiv:2308.02157): `x_s = e^−h·x + h·φ_1·D +
    h·φ_2·(D_old − D)/c` with `c = −h_old/h`; the first step and the last are Euler's."""
    old: tuple[Tensor, float] | None = None
    for σ, σ_s in pairwise(sigmas):
        d = model(x, σ)
        if old is None or σ_s == 0:
            x = x + (x - d) / σ * (σ_s - σ)
        else:
            h, h_old = torch.tensor([σ / σ_s, old[1] / σ], dtype=torch.float64).log()
            φ_1 = -torch.expm1(-h) / h
            φ_2 = (φ_1 - 1) / -h
            x = torch.exp(-h) * x + h * φ_1 * d + h * φ_2 * (old[0] - d) / (-h_old / h)
        old = d, σ
    return x


def ddpm(model: Model, x: Tensor, sigmas: Sequence[float]) -> Tensor:
    """The chain of DDPM (arXiv:2006.11239, eq. 7 and 11) for `ᾱ = 1/(1 + σ²)`, with the variance of the posterior."""
    for σ, σ_s in pairwise(sigmas):
        eps, before, after = (x - model(x, σ)) / σ, 1 / (1 + σ**2), 1 / (1 + σ_s**2)
        step = before / after
        mean = (x * before**0.5 - (1 - step) / (1 - before) ** 0.5 * eps) / step**0.5
        x = (mean + ((1 - step) * (1 - after) / (1 - before)) ** 0.5 * NOISE * (σ_s > 0)) / after**0.5
    return x


METHODS = {"res_multistep": res_multistep, "ddpm": ddpm}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("name", METHODS)
def test_trajectories_are_theirs(name: str, schedule: Schedule) -> None:
    path = levels(schedule, KarrasSpacing(), 12)
    oracle = MixtureDenoiser(schedule, WEIGHTS, MEANS, STDS)

    def model(y: Tensor, σ: float) -> Tensor:
        level: Level = schedule(schedule.inverse(-2 * torch.tensor([σ], dtype=torch.float64).log()))
        return oracle(like(level.alpha, y) * y, level).x0

    if name == "ddpm" and isinstance(schedule, EDM):
        pytest.skip("a chain preserves variance")
    *_, ours = sample(oracle, SAMPLERS.parse(own_sampler(name)[0]), X, path, noise=Constant())
    theirs = METHODS[name](model, X / path[0].alpha, [float(level.sigma / level.alpha) for level in path])
    assert (ours - theirs).abs().max() < 1e-9
