"""DPM-Solver++ (arXiv:2211.01095): the linear part of the ODE exactly, the rest by a polynomial in estimates of x_0.

With `λ = log(alpha/sigma)` (half the log signal-to-noise ratio), `h = λ_s − λ_t`, and eta 0 for the ODE, 1 for the SDE:

    x_s = (sigma_s/sigma_t)·exp(−eta·h)·x_t + alpha_s·(1 − exp(−(1 + eta)·h))·D + sigma_s·√(1 − exp(−2·eta·h))·z

where D is x_0 at first order (that is DDIM, or DDPM), and corrected by earlier or further estimates at higher.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sfumato.core.gaussian import posterior_variance
from sfumato.core.level import Level, like, logsnr_change
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.sample.driver import Progress, Stateless, StatelessStep, at_start
from sfumato.sample.steps import History, Past

FEW_STEPS = 15
"""`lower_final` acts in trajectories of fewer steps than these, as in diffusers; 10 in the code released with the
paper."""


class MultistepState(NamedTuple):
    """The steps before, the newest first, as λ and the x_0 found there; and how far the trajectory is."""

    past: History
    progress: Progress


@dataclass(frozen=True)
class DPMSolver:
    """DPM-Solver++, multistep: `order` 1, 2 (2M, algorithm 2) or 3 (3M), one evaluation a step.

    `eta` 0 is the ODE, 1 the SDE (SDE-DPM-Solver++, arXiv:2211.01095, section 5 and appendix B). The steps onto clean
    data and from pure noise, where h has no bound, are of first order.

    It wants strides of λ that are much alike (the spacings `LogSNRSpacing` and `KarrasSpacing`): a long one after short
    ones extrapolates far beyond the earlier estimates, most of all with order 3 and noise.

    3M here takes the second derivative of the estimates whole. The code released with the paper, and those after it,
    take half of it, which leaves them at second order; so does this with `halved`.

    `form` is how 2M weighs the slope of the estimates: "midpoint" by `(1 − exp(−h))/2`, "heun" by the integral of the
    line, `(exp(−h) − 1)/h + 1`. With `euler_final` the last step is of first order wherever it ends. With `lower_final`
    it is so in trajectories of fewer than 15 steps (diffusers; 10 in the code released with the paper), and the step
    before is of second order at most.
    """

    order: int = 2
    eta: float = 0.0
    form: Literal["midpoint", "heun"] = "midpoint"
    halved: bool = False
    euler_final: bool = False
    lower_final: bool = False

    @property
    def min_steps(self) -> int:
        return self.order + (self.order > 1)  # the last step is of first order

    def init(self, x: Tensor, levels: Sequence[Level]) -> MultistepState:
        return MultistepState((), at_start(levels))

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: MultistepState, noise: Noise
    ) -> tuple[Tensor, MultistepState]:
        if self.order not in (1, 2, 3):
            raise InputError(f"the order of dpm++ must be 1, 2 or 3, not {self.order}")
        check_eta(self.eta)
        check_form(self.form)
        x0 = denoiser(x, now).x0
        past = (Past(now.logsnr / 2, x0), *state.past[: self.order - 1])
        used = past[: self._order(state.progress)]
        h = logsnr_change(now, then) / 2
        mean, data, std = weights(now, then, self.eta)
        x_s = like(mean, x) * x + like(data, x) * x0
        if len(used) > 1 and bool(h.isfinite().any()):
            x_s = x_s + self._correction(h, then, used)
        if bool((std > 0).any()):
            x_s = x_s + like(std, x) * noise.like(x)
        return x_s, MultistepState(past, state.progress.next())

    def _order(self, progress: Progress) -> int:
        """The order of this step, which may be lower at the end of a trajectory."""
        if progress.remaining <= 1 and self.euler_final:
            return 1
        lowers = self.lower_final and progress.steps < FEW_STEPS
        return min(self.order, max(progress.remaining, 1)) if lowers else self.order

    def _correction(self, h: Tensor, then: Level, past: History) -> Tensor:
        """The correction of the first-order step by the earlier estimates; 0 where h has no bound."""
        (λ_0, x0_0), (λ_1, x0_1), *rest = past
        decay = (1 + self.eta) * h
        bounded, decay = h.isfinite(), torch.where(h.isfinite(), decay, 1.0)
        h = torch.where(bounded, h, 0.0)
        gap_0 = _above(λ_0, λ_1)
        slope_0 = like(h / gap_0, x0_0) * (x0_0 - x0_1)  # 0 where λ_1 is that of pure noise
        if not rest:
            return like(torch.where(bounded, then.alpha * slope_weight(decay, self.form), 0.0), x0_0) * slope_0
        (λ_2, x0_2) = rest[0]
        gap_1 = _above(λ_1, λ_2)
        r_0, r_1 = gap_0 / h, gap_1 / h
        slope_1 = like(h / gap_1, x0_0) * (x0_1 - x0_2)
        first = slope_0 + like(r_0 / (r_0 + r_1), x0_0).nan_to_num() * (slope_0 - slope_1)
        second = like((1 if self.halved else 2) / (r_0 + r_1), x0_0) * (slope_0 - slope_1)
        φ_2 = torch.expm1(-decay) / decay + 1
        φ_3 = φ_2 / decay - 0.5
        φ_2, φ_3 = (torch.where(bounded, then.alpha * φ, 0.0) for φ in (φ_2, φ_3))
        return like(φ_2, x0_0) * first - like(φ_3, x0_0) * second


@dataclass(frozen=True)
class DPMSolverS(Stateless):
    """The single-step form of second order, 2S (algorithm 1): a second evaluation, where λ is half-way.

    `eta` above 0 is its ancestral form (k-diffusion's `dpmpp_2s_ancestral`): a step of the ODE to less noise than
    wanted, and fresh noise, `eta` of DDPM's, up to it.
    """

    eta: float = 0.0

    @property
    def min_steps(self) -> int:
        return 2  # the last step is of first order

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        check_eta(self.eta)
        var = self.eta**2 * posterior_variance(then, now)
        down = then._replace(sigma=(then.sigma**2 - var).clamp(min=0).sqrt())
        x0 = denoiser(x, now).x0
        λ_0, λ_1 = now.logsnr / 2, down.logsnr / 2
        bounded = λ_0.isfinite() & λ_1.isfinite()
        if bool(bounded.any()):
            schedule = denoiser.schedule
            middle = schedule(schedule.inverse(torch.where(bounded, λ_0 + λ_1, now.logsnr)))
            middle = Level(*(torch.where(bounded, a, b) for a, b in zip(middle, now, strict=True)))
            mean, data, _ = weights(now, middle, 0.0)
            mean, data = torch.where(bounded, mean, 1.0), torch.where(bounded, data, 0.0)
            further = denoiser(like(mean, x) * x + like(data, x) * x0, middle).x0
            share = (λ_1 - λ_0) / (middle.logsnr - now.logsnr)  # 1 where the middle is in the middle
            x0 = x0 + like(torch.where(bounded, share, 0.0), x) * (further - x0)
        mean, data, _ = weights(now, down, 0.0)
        x_s = like(mean, x) * x + like(data, x) * x0
        if bool((var > 0).any()):
            x_s = x_s + like(var.sqrt(), x) * noise.like(x)
        return x_s, None


def weights(now: Level, then: Level, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """The weights of x_t, of the estimate of x_0 and of fresh noise in the step, each [b]."""
    h = logsnr_change(now, then) / 2
    fresh = eta * h if eta else torch.zeros_like(h)  # not 0·∞
    mean = then.sigma / now.sigma * torch.exp(-fresh)
    return mean, then.alpha * -torch.expm1(-h - fresh), then.sigma * (-torch.expm1(-2 * fresh)).sqrt()


def _above(λ: Tensor, before: Tensor) -> Tensor:
    """`λ − before`: +∞ above pure noise, even at pure noise."""
    return torch.where(before == -math.inf, math.inf, λ - before)


def slope_weight(decay: Tensor, form: str) -> Tensor:
    """The weight of the slope of the estimates in a step of second order."""
    return -torch.expm1(-decay) / 2 if form == "midpoint" else torch.expm1(-decay) / decay + 1


def check_form(form: str) -> None:
    if form not in ("midpoint", "heun"):
        raise InputError(f"the form of dpm++ must be midpoint or heun, not {form}")


def check_eta(eta: float) -> None:
    if not (math.isfinite(eta) and 0 <= eta <= 1):
        raise InputError(f"eta must lie between 0 (the ODE) and 1 (the SDE), not {eta}")
