"""Langevin dynamics: steps along the score and noise, in the ratio that leaves the distribution of a level as it is.

    x ← x + size/2·score + √size·z

In the end samples have the distribution of the level, but for a bias of the order of `size`: where it is Gaussian, of
variance v, the variance becomes `v/(1 − size/(4v))`. The samplers here differ in where their sizes come from.

Samples go to the next level with their signal kept: x is scaled by `alpha_s/alpha_t`, which on VE, NCSN's
schedule, is 1, and on every schedule is the same trajectory in the coordinates `x/alpha` and `sigma/alpha`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.sample.ancestral import Ancestral
from sfumato.sample.driver import Sampler, Stateless, StatelessStep
from sfumato.sample.steps import unless_clean


@dataclass(frozen=True)
class Langevin(Stateless):
    """Plain Langevin dynamics: `steps` iterations of one `size` at every level (NCSN, arXiv:1907.05600, eq. 4, and the
    update of SGLD, Welling & Teh, 2011, eq. 4, for samples in place of weights).

    Levels that are all the same make a chain, whose states the driver yields; onto clean data, samples go by
    `E[x_0 | x_t]`. A `size` of 4·sigma² or more may run away.
    """

    size: float
    steps: int = 1

    @property
    def repeats(self) -> int:
        """How often a step evaluates the network."""
        return self.steps + 1

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        if not 0 < self.size < math.inf:
            raise InputError(f"the size of a Langevin step must be above 0 and finite, not {self.size}")
        return _iterated(denoiser, x, now, then, torch.full_like(now.sigma, self.size), self.steps, noise), None


@dataclass(frozen=True)
class AnnealedLangevin(Stateless):
    """NCSN's sampler: `steps` iterations at each level, of the size `rate·sigma²` (arXiv:1907.05600, algorithm 1).

    NCSN's paper writes the size `ε·σ_i²/σ_L²`, so `rate = ε/σ_L²`: for CIFAR-10 ε = 2e-5 and σ_L = 0.01, which is 0.2,
    100 iterations at each of 10 levels. The code released with it takes that for half of the size, as NCSNv2 does
    (arXiv:2006.09011, algorithm 1 and technique 4): `x + α_i·score + √(2α_i)·z` with `α_i = ε·σ_i²/σ_L²`, so
    `rate = 2ε/σ_L²`. That is 0.4 for NCSN's code, and 0.124 for NCSNv2's ε = 6.2e-6, with 5 iterations at each of 232
    levels. No data runs away at a rate below 4: no law of noise sigma curves more than 1/sigma².

    After the iterations of the last level, samples go onto clean data by `E[x_0 | x_t]`, without noise
    (arXiv:2009.05475; NCSNv2).
    """

    steps: int = 100
    rate: float = 0.2

    @property
    def repeats(self) -> int:
        """How often a step evaluates the network."""
        return self.steps + 1

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        if not 0 < self.rate < 4:
            raise InputError(f"the rate of annealed Langevin dynamics must lie between 0 and 4, not {self.rate}")
        return _iterated(denoiser, x, now, then, self.rate * now.sigma**2, self.steps, noise), None


@dataclass(frozen=True)
class PredictorCorrector:
    """A step by the `predictor`, then `corrections` Langevin steps at the level it came to (score SDE,
    arXiv:2011.13456, algorithms 1, 4 and 5).

    A correction has the size `4·(snr·√d/‖score‖)²`, for samples of d elements, in the paper's terms
    `x ← x + ε·score + √(2ε)·z` with `ε = 2·(snr·‖z‖/‖score‖)²`. It differs from the paper:

    - ‖z‖ is its typical √d, as in its authors' tutorial, and ‖score‖ is each sample's own, not the mean over the batch,
      so that no sample depends on its neighbours. Pictures have so many elements that neither is felt; where d is
      small, the size follows x, and the variance comes out too large by a share of up to 2/d.
    - ‖score‖ counts for no less than that of N(0, I) data typically is, so that the size stays bounded.
    - Algorithm 5's factor α_i, for VP, is left out: the released code takes `1 − β_i` for it, which is 1 but for 2%.

    Samples that came onto clean data are not corrected. The predictor's state is passed on to it untouched.

    The paper's own predictors: ancestral sampling is `Ancestral`, with the "small" variance for VE (appendix F) and the
    "large" for VP (eq. 4). Reverse diffusion (appendix E) is `Ancestral("large")` for VE, and for VP up to order beta².
    """

    predictor: Sampler[Any] = Ancestral()
    corrections: int = 1
    snr: float = 0.16

    @property
    def min_steps(self) -> int:
        return self.predictor.min_steps

    @property
    def repeats(self) -> int:
        """How often a step evaluates the network."""
        return getattr(self.predictor, "repeats", 1) + self.corrections

    def init(self, x: Tensor, levels: Sequence[Level]) -> Any:
        return self.predictor.init(x, levels)

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: Any, noise: Noise
    ) -> tuple[Tensor, Any]:
        if not 0 < self.snr < 1:
            raise InputError(f"the snr of a corrector must lie between 0 and 1, not {self.snr}")
        if self.corrections < 0:
            raise InputError(f"there must be 0 corrections or more, not {self.corrections}")
        x, state = self.predictor.step(denoiser, x, now, then, state, noise)
        noisy = then.sigma > 0
        if bool(noisy.any()):
            level = unless_clean(then, now)
            for _ in range(self.corrections):
                estimate = denoiser(x, level)
                x = _langevin(estimate, torch.where(noisy, self._size(estimate), 0.0), noise)
        return x, state

    def _size(self, estimate: Estimate) -> Tensor:
        """`4·(snr·√d/‖score‖)²`, [b], from `‖score‖/√d = rms(eps)/sigma`: eps has no large numbers."""
        _, alpha, sigma = estimate.level
        mean_square = estimate.eps.flatten(1).square().mean(1).to("cpu", torch.float64)
        floor = sigma**2 / (alpha**2 + sigma**2)
        return (2 * self.snr * sigma) ** 2 / torch.maximum(mean_square, floor)


def _iterated(
    denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, size: Tensor, steps: int, noise: Noise
) -> Tensor:
    """`steps` iterations at `now`, then the step to `then`."""
    if steps < 1:
        raise InputError(f"Langevin dynamics need at least 1 step a level, not {steps}")
    for _ in range(steps):
        x = _langevin(denoiser(x, now), size, noise)
    # pure noise has no signal to keep, so its noise is scaled
    scale = torch.where(now.alpha > 0, then.alpha / now.alpha, then.sigma / now.sigma)
    scaled, clean = like(scale, x) * x, then.sigma == 0
    if not bool(clean.any()):
        return scaled
    return torch.where(like(clean, x) > 0, denoiser(x, now).x0, scaled)


def _langevin(estimate: Estimate, size: Tensor, noise: Noise) -> Tensor:
    """`x + size/2·score + √size·z`, size [b] or [1]."""
    x = estimate.x_t
    return x + like(size / 2, x) * estimate.score + like(size.sqrt(), x) * noise.like(x)
