"""DDPM's sampler: the reverse of its Markov chain."""

from dataclasses import dataclass

from torch import Tensor

from sfumato.core.estimate import Variance
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.sample.driver import Stateless, StatelessStep


@dataclass(frozen=True)
class Ancestral(Stateless):
    """Ancestral sampling: `x_s ~ N(posterior mean at the estimated x_0, var)` (DDPM, arXiv:2006.11239, algorithm 2, for
    any s < t).

    `variance` is "small", that of `q(x_s | x_t, x_0)` (beta-tilde), "large", that of the step `q(x_t | x_s)` (beta), or
    "learned" (`Estimate.reverse`). The step onto clean data adds no noise.
    """

    variance: Variance = "small"

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        distribution = denoiser(x, now).reverse(then, self.variance)
        noisy = (then.sigma > 0).to(distribution.var)
        if not bool(noisy.any()):
            return distribution.mean, None
        var = distribution.var * (noisy if distribution.var.ndim == 1 else like(noisy, x))
        return distribution._replace(var=var).sample(noise.like(x)), None
