"""Weights over noise levels.

All weigh the squared error of x_0, so that a weight means the same whatever the network predicts. In another view the
error is that of x_0 times a number of the level: `alpha/sigma` for eps, `(alpha² + sigma²)/sigma` for v,
`(alpha + sigma)/sigma` for flow, `alpha/sigma²` for the score. Where SNR is written, it is `alpha²/sigma²`.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.errors import InputError

View = Literal["eps", "x0", "v", "flow", "score"]


@runtime_checkable
class Weight(Protocol):
    """Levels → the weight of the squared error of x_0, [b] or [1]."""

    def __call__(self, level: Level) -> Tensor: ...


@dataclass(frozen=True)
class UnitWeight:
    """The plain squared error in a `view` of the estimate: 1 on eps is L_simple (DDPM, arXiv:2006.11239, eq. 14)."""

    view: View = "eps"

    def __call__(self, level: Level) -> Tensor:
        _, alpha, sigma = level
        match self.view:
            case "x0":
                ratio = torch.ones_like(alpha)
            case "eps":
                ratio = alpha / sigma
            case "v":
                ratio = (alpha**2 + sigma**2) / sigma
            case "flow":
                ratio = (alpha + sigma) / sigma
            case "score":
                ratio = alpha / sigma**2
        return ratio**2


@dataclass(frozen=True)
class SNRWeight:
    """SNR: L_simple in terms of x_0, for `SNR·|x_0 error|² = |eps error|²`."""

    def __call__(self, level: Level) -> Tensor:
        return level.logsnr.exp()


@dataclass(frozen=True)
class MinSNRWeight:
    """`min(SNR, gamma)` (min-SNR, arXiv:2303.09556, eq. 9): on eps that is `min(SNR, gamma)/SNR`, on v
    `min(SNR, gamma)/(SNR + 1)`."""

    gamma: float = 5.0

    def __call__(self, level: Level) -> Tensor:
        if not self.gamma > 0:
            raise InputError(f"the gamma of min-snr must be above 0, not {self.gamma}")
        return level.logsnr.exp().clamp(max=self.gamma)


@dataclass(frozen=True)
class P2Weight:
    """`SNR/(k + SNR)^gamma`: L_simple with less weight on the last details (P2, arXiv:2204.00227, eq. 8)."""

    gamma: float = 1.0
    k: float = 1.0

    def __call__(self, level: Level) -> Tensor:
        if not (self.k > 0 and self.gamma >= 0):
            raise InputError(f"p2 needs k above 0 and gamma from 0, not {self}")
        snr = level.logsnr.exp()
        return snr / (self.k + snr) ** self.gamma


@dataclass(frozen=True)
class Sigma2Weight:
    """`sigma²` on the squared error of the score (NCSN, arXiv:1907.05600, eq. 6, λ(σ) = σ²): the same number as SNR."""

    def __call__(self, level: Level) -> Tensor:
        return level.sigma**2 * UnitWeight("score")(level)


@dataclass(frozen=True)
class EDMWeight:
    """`(σ² + sigma_data²)/(σ·sigma_data)²`, `σ = sigma/alpha`: a network of `EDMPreconditioning` is asked for equal
    errors at all levels (EDM, arXiv:2206.00364, table 1)."""

    sigma_data: float = 0.5

    def __call__(self, level: Level) -> Tensor:
        if not self.sigma_data > 0:
            raise InputError(f"sigma_data must be above 0, not {self.sigma_data}")
        return level.logsnr.exp() + self.sigma_data**-2
