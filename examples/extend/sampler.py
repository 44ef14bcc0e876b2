"""A sampler: one rule that moves samples from a level to the next."""

from dataclasses import dataclass

from torch import Tensor

from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.sample.driver import Stateless, StatelessStep
from sfumato.sample.steps import ddim_step


@dataclass(frozen=True)
class Midpoint(Stateless):
    """`x_s/alpha_s = x_t/alpha_t + (σ_s − σ_t)·eps(x_m, m)`, m where log σ is half-way, x_m by an Euler step.

    Of second order, with two evaluations a step. Steps from pure noise or onto clean data are Euler's: log σ has no
    bound there.
    """

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        here = denoiser(x, now)
        if bool((now.alpha == 0).any() or (then.sigma == 0).any()):
            return ddim_step(here, then), None
        schedule = denoiser.schedule
        middle = schedule(schedule.inverse((now.logsnr + then.logsnr) / 2))
        slope = denoiser(ddim_step(here, middle), middle).eps
        stride = then.sigma - then.alpha * now.sigma / now.alpha
        return like(then.alpha / now.alpha, x) * x + like(stride, x) * slope, None
