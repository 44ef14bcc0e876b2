"""DDIM: the marginals of DDPM's chain, with as little noise in each step as one likes."""

from dataclasses import dataclass

from torch import Tensor

from sfumato.core.gaussian import posterior_variance
from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.sample.driver import Stateless, StatelessStep


@dataclass(frozen=True)
class DDIM(Stateless):
    """`x_s = alpha_s·x_0 + sqrt(sigma_s² − w²)·eps + w·z`, `w = eta·std of q(x_s | x_t, x_0)`
    (arXiv:2010.02502, eq. 12 and 16).

    eta 0 is deterministic and steps between noisy levels in either direction (towards noise it is inversion); eta 1 is
    DDPM.
    """

    eta: float = 0.0

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        if not 0 <= self.eta <= 1:
            raise InputError(f"eta must lie between 0 (no noise on the way) and 1 (DDPM's), not {self.eta}")
        estimate = denoiser(x, now)
        if self.eta == 0:
            return like(then.alpha, x) * estimate.x0 + like(then.sigma, x) * estimate.eps, None
        var = self.eta**2 * posterior_variance(then, now)
        kept = (then.sigma**2 - var).clamp(min=0).sqrt()
        x_s = like(then.alpha, x) * estimate.x0 + like(kept, x) * estimate.eps
        if bool((var > 0).any()):
            x_s = x_s + like(var.sqrt(), x) * noise.like(x)
        return x_s, None
