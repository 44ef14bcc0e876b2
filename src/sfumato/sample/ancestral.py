"""DDPM's own sampler: the Markov chain, walked backwards."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.process import step_variance
from sfumato.denoise import DenoiserLike


@dataclass(frozen=True)
class Ancestral:
    """`x_s ~ N(posterior mean at the estimated x_0, var)` (DDPM, arXiv:2006.11239, algorithm 2, for any s < t).

    `variance` is "small", that of `q(x_s | x_t, x_0)` (beta-tilde), or "large", that of the step `q(x_t | x_s)` (beta).
    The move onto clean data adds no noise.
    """

    variance: Literal["small", "large"] = "small"

    def init(self, x: Tensor) -> None:
        return None

    def step(
        self,
        denoiser: DenoiserLike,
        x: Tensor,
        now: Level,
        then: Level,
        condition: Condition,
        state: None,
        noise: Noise,
    ) -> tuple[Tensor, None]:
        reverse = denoiser(x, now, condition).before(then)
        if not bool((then.sigma > 0).any()):
            return reverse.mean, None
        if self.variance == "large":
            var = torch.where(then.sigma > 0, step_variance(then, now), 0.0)
            reverse = reverse._replace(var=var)
        return reverse.sample(noise.like(x)), None
