"""Linear multistep solvers of the probability-flow ODE, which reuse earlier estimates of the noise.

All integrate `d(x/alpha)/dσ = eps`, `σ = sigma/alpha`, from a polynomial through the eps of the last steps: one
evaluation a step. Each step is an Euler step with another eps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.sample.steps import History, Past, ddim_step, solve_moments, unless_clean

BASHFORTH = {1: (1,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}
"""The coefficients of Adams and Bashforth for even strides, the newest first."""


@dataclass(frozen=True)
class LMS:
    """Adams-Bashforth with the coefficients that the uneven strides ask for: `∫ of the polynomial through the last
    `order` eps`, exactly (k-diffusion's `lms`; Katherine Crowson, 2022). `order` is from 1 to 4."""

    order: int = 4

    @property
    def min_steps(self) -> int:
        return self.order

    def init(self, x: Tensor, levels: Sequence[Level]) -> History:
        return ()

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: History, noise: Noise
    ) -> tuple[Tensor, History]:
        _check_order(self.order)
        estimate = denoiser(x, now)
        past = (Past(torch.exp(-now.logsnr / 2), estimate.eps), *state[: self.order - 1])
        if len(past) == 1:
            return ddim_step(estimate, then), past
        return _combined(estimate, now, then, past, self._weights(torch.exp(-then.logsnr / 2), past)), past

    def _weights(self, end: Tensor, past: History) -> list[Tensor]:
        """The share of each eps in the mean over the step: with strides in units of this step, the step is [0, 1]."""
        start = past[0].place
        places = torch.stack(torch.broadcast_tensors(*((one.place - start) / (end - start) for one in past)), 1)
        moments = 1 / torch.arange(1, len(past) + 1, dtype=places.dtype)  # of the uniform law on [0, 1]
        return list(solve_moments(places, moments.expand_as(places)).unbind(1))


@dataclass(frozen=True)
class IPNDM:
    """Adams-Bashforth with the coefficients of even strides, whatever the strides are (iPNDM, arXiv:2204.13902,
    section 4 and its code, after PNDM, arXiv:2202.09778, eq. 12). The first steps are of lower order.

    Of its `order`, from 1 to 4, where σ falls evenly; elsewhere of second order at the most, as long as strides
    change little from one to the next.
    """

    order: int = 4

    @property
    def min_steps(self) -> int:
        return self.order

    def init(self, x: Tensor, levels: Sequence[Level]) -> History:
        return ()

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: History, noise: Noise
    ) -> tuple[Tensor, History]:
        _check_order(self.order)
        estimate = denoiser(x, now)
        past = (Past(torch.exp(-now.logsnr / 2), estimate.eps), *state[: self.order - 1])
        if len(past) == 1:
            return self.first(denoiser, estimate, now, then), past
        weights = [torch.tensor([weight], dtype=torch.float64) for weight in BASHFORTH[len(past)]]
        return _combined(estimate, now, then, past, weights), past

    def first(self, denoiser: DenoiserLike, estimate: Estimate, now: Level, then: Level) -> Tensor:
        """The step that has none before it."""
        return ddim_step(estimate, then)


@dataclass(frozen=True)
class PLMS(IPNDM):
    """iPNDM with a first step of second order, which evaluates twice (PNDM, arXiv:2202.09778, eq. 22, as the code
    released with latent diffusion takes it)."""

    def first(self, denoiser: DenoiserLike, estimate: Estimate, now: Level, then: Level) -> Tensor:
        euler = ddim_step(estimate, then)
        bounded = (then.sigma > 0) & (now.alpha > 0)
        if not bool(bounded.any()):
            return euler
        there = Past(now.t, denoiser(euler, unless_clean(then, now)).eps)
        half = torch.where(bounded, 0.5, 0.0).double()
        return _combined(estimate, now, then, (Past(now.t, estimate.eps), there), [half, half])


def _combined(estimate: Estimate, now: Level, then: Level, past: History, weights: list[Tensor]) -> Tensor:
    """An Euler step with the weighted mean of the eps of `past`: the DDIM step, and the differences of the earlier
    eps."""
    x = ddim_step(estimate, then)
    stride = torch.where(now.alpha > 0, then.sigma - then.alpha * now.sigma / now.alpha, 0.0)
    for weight, one in zip(weights[1:], past[1:], strict=True):
        x = x + like(stride * weight, x) * (one.slope - past[0].slope)
    return x


def _check_order(order: int) -> None:
    if order not in BASHFORTH:
        raise InputError(f"the order of a linear multistep solver must be from 1 to 4, not {order}")
