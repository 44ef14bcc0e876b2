"""Multistep sampling of consistency models: to the data and back to less noise, alternately."""

from dataclasses import dataclass

from torch import Tensor

from sfumato.core.level import Level, like
from sfumato.core.noise import Noise
from sfumato.core.parameterization import MAX_SIGMA_DATA
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.sample.driver import Stateless, StatelessStep


@dataclass(frozen=True)
class LCM(Stateless):
    """`x_s = alpha_s·f + sigma_s·z`, `f = skip(t)·x_t + out(t)·x_0` (latent consistency models, arXiv:2310.04378,
    algorithm 3 and eq. 9; consistency models, arXiv:2303.01469, algorithm 1). The last step ends on f itself.

    `skip = sigma_data²/(τ² + sigma_data²)` and `out = τ/√(τ² + sigma_data²)`, with `τ = scaling·t`, make f the identity
    at t = 0 (appendix D of the former, with the constants of its code).
    """

    scaling: float = 10.0
    sigma_data: float = 0.5

    def step(
        self, denoiser: DenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        if not (self.scaling > 0 and self.sigma_data > 0):
            raise InputError(f"lcm needs scaling and sigma_data above 0, not {self.scaling} and {self.sigma_data}")
        if max(self.scaling, self.sigma_data) > MAX_SIGMA_DATA:
            raise InputError(f"lcm's scaling and sigma_data are at most {MAX_SIGMA_DATA:g}, not as in {self}")
        τ, var = self.scaling * now.t, self.sigma_data**2
        f = like(var / (τ**2 + var), x) * x + like(τ / (τ**2 + var).sqrt(), x) * denoiser(x, now).x0
        if not bool((then.sigma > 0).any()):
            return f, None
        return like(then.alpha, x) * f + like(then.sigma, x) * noise.like(x), None
