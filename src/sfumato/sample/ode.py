"""One-step solvers of the probability-flow ODE, with EDM's churn and the ancestral form.

In the coordinates `x/alpha` and `σ = sigma/alpha` the ODE is `d(x/alpha)/dσ = eps` for every schedule (EDM,
arXiv:2206.00364, eq. 4 with `s = alpha`), so an Euler step is the DDIM step, and every solver here is one of EDM's.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.gaussian import step_variance
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.schedule import Schedule
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.sample.ddim import DDIM
from sfumato.sample.driver import Stateless, StatelessStep
from sfumato.sample.steps import ddim_step, unless_clean

MAX_CHURN = math.sqrt(2) - 1


@dataclass(frozen=True)
class Churn(Stateless):
    """The churn of `Euler` and `Heun`: noise is added before each step (EDM, arXiv:2206.00364, algorithm 2).

    σ becomes `(1 + churn)·σ` by fresh noise of deviation `noise_scale`, where `low ≤ σ ≤ high`. EDM writes `churn =
    min(S_churn/N, √2 − 1)`, `low` S_tmin, `high` S_tmax and `noise_scale` S_noise. Noise is never raised beyond the
    schedule's last.
    """

    churn: float = 0.0
    low: float = 0.0
    high: float = 1e6
    noise_scale: float = 1.0

    def churned(self, schedule: Schedule, x: Tensor, now: Level, noise: Noise) -> tuple[Tensor, Level]:
        """The samples with noise added, and their new level."""
        if not 0 <= self.churn <= MAX_CHURN + 1e-9:
            raise InputError(f"churn must lie between 0 (none) and √2 − 1 = {MAX_CHURN:.4f}, not {self.churn}")
        if self.churn == 0:
            return x, now
        target = now.logsnr - 2 * math.log1p(self.churn)
        above = schedule(schedule.inverse(target))
        σ = now.sigma / now.alpha  # to the last bit on EDM, whose bounds are levels of the grid
        # noise is drawn for all, wanted or not: a sample's stream must not depend on where its neighbours stand
        wanted = (σ >= self.low) & (σ <= self.high) & (above.logsnr < now.logsnr)
        level = Level(*(torch.where(wanted, high, low) for high, low in zip(above, now, strict=True)))
        gain = torch.where(wanted, level.alpha / now.alpha, 1.0)
        std = self.noise_scale * torch.where(wanted, step_variance(now, level), 0.0).sqrt()
        return like(gain, x) * x + like(std, x) * noise.like(x), level


@dataclass(frozen=True)
class Euler(Churn):
    """`x_s/alpha_s = x_t/alpha_t + (σ_s − σ_t)·eps`: the DDIM step, with churn if wanted (EDM, arXiv:2206.00364,
    algorithm 2)."""

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        x, now = self.churned(denoiser.schedule, x, now, noise)
        return ddim_step(denoiser(x, now), then), None


@dataclass(frozen=True)
class EulerAncestral(DDIM):
    """An Euler step down to less noise than wanted, and fresh noise up to it: DDIM with all of DDPM's noise.

    (k-diffusion's `euler_ancestral`: its `σ_up² = eta²·σ_s²(σ_t² − σ_s²)/σ_t²` is DDIM's variance, eq. 16.)
    """

    eta: float = 1.0


@dataclass(frozen=True)
class Heun(Churn):
    """An Euler step, then a second with the mean of the slopes at both ends (EDM, arXiv:2206.00364, algorithm 1 and 2).

    Second order, two evaluations a step; the step onto clean data is Euler's. `along` "sigma" averages the slope eps
    over σ = sigma/alpha, as EDM does; "flow" averages `eps − x_0` over `sigma/(alpha + sigma)`, the time of rectified
    flow, which can start from pure noise.
    """

    along: Literal["sigma", "flow"] = "sigma"

    @property
    def min_steps(self) -> int:
        return 2  # the last step is Euler's

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        if self.along not in ("sigma", "flow"):
            raise InputError(f"heun goes along sigma or flow, not {self.along}")
        if self.along == "sigma" and bool((now.alpha == 0).any()):
            raise InputError(
                "this solver integrates along sigma/alpha, which has no bound at pure noise (alpha 0): take"
                " heun,along=flow, or ddim, dpm++ or unipc"
            )
        x, now = self.churned(denoiser.schedule, x, now, noise)
        here = denoiser(x, now)
        euler = ddim_step(here, then)
        if not bool((then.sigma > 0).any()):
            return euler, None
        there = denoiser(euler, unless_clean(then, now))
        if self.along == "sigma":
            slopes, stride = there.eps - here.eps, then.sigma - then.alpha * now.sigma / now.alpha
        else:
            total_now, total_then = now.alpha + now.sigma, then.alpha + then.sigma
            slopes, stride = there.flow - here.flow, then.sigma - total_then * now.sigma / total_now
        return euler + like(torch.where(then.sigma > 0, stride / 2, 0.0), x) * slopes, None
