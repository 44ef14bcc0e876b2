"""Samplers of tokens. `Level.alpha` is the probability that a token is itself; the levels are those of any schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sfumato.core.categorical import Categorical
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.process import Masking
from sfumato.denoise import TokenDenoiserLike
from sfumato.errors import InputError
from sfumato.sample.driver import Stateless, StatelessStep


@dataclass(frozen=True)
class TokenAncestral(Stateless):
    """`x_s ~ p(x_s | x_t)`, each token by itself: the exact reverse step of a masking or uniform process
    (D3PM, arXiv:2107.03006, eq. 4; MDLM, arXiv:2406.07524, eq. 7)."""

    draws: ClassVar[str] = "tokens"

    def step(
        self, denoiser: TokenDenoiserLike, x: Tensor, now: Level, then: Level, state: None, noise: Noise
    ) -> StatelessStep:
        return denoiser(x, now).reverse(then).sample(noise.uniform_like(x)), None


@dataclass(frozen=True)
class ConfidenceUnmasking:
    """Tokens are drawn for all masks, and the most confident of them are kept (MaskGIT, arXiv:2202.04200, section 3.2).

    Of n tokens that were masks at the start, `⌊n·(1 − alpha_s)⌋` are masks after a step to s: at least one less than
    before, and one at least unless s is clean. So the schedule of levels is MaskGIT's γ: `1 − alpha`. The confidence of
    a token is `log p(token) + noise_scale·(1 − alpha_s)·g`, g Gumbel noise (released code, there by the share of steps
    to come). The tokens are not distributed as the model's: confidence costs variety.

    - `temperature`: of the distribution that tokens are drawn from, 1 that of the model, 0 the most probable;
    - `noise_scale`: of the Gumbel noise, 0 or more.
    """

    draws: ClassVar[str] = "tokens"
    temperature: float = 1.0
    noise_scale: float = 1.0

    @property
    def min_steps(self) -> int:
        return 1

    def init(self, x: Tensor, levels: Sequence[Level]) -> Tensor | None:
        return None

    def step(
        self, denoiser: TokenDenoiserLike, x: Tensor, now: Level, then: Level, state: Tensor | None, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """The state is the number of masks at the start, [b]."""
        _check(self.temperature, self.noise_scale)
        estimate = denoiser(x, now)
        if not isinstance(estimate.process, Masking):
            raise InputError(f"confidence-unmasking is for masked tokens, not {estimate.process}: take token-ancestral")
        masked = x == estimate.process.mask_id
        state = masked.sum(1) if state is None else state
        tokens = self._drawn(estimate.log_p, x, noise)
        confidence = estimate.log_p.double().gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        if self.noise_scale > 0:
            gumbel = -torch.log(-torch.log(noise.uniform_like(x).clamp(1e-300, 1 - 2.0**-53)))
            confidence = confidence + self.noise_scale * (1 - then.alpha).to(x.device).reshape(-1, 1) * gumbel
        hidden = _lowest(confidence.masked_fill(~masked, math.inf), _masks(state, masked.sum(1), then))
        return torch.where(masked & ~hidden, tokens, x), state

    def _drawn(self, log_p: Tensor, x: Tensor, noise: Noise) -> Tensor:
        """Tokens of the tempered distribution, [b, l]."""
        if self.temperature == 0:
            return Categorical(log_p).mode()
        return Categorical((log_p.double() / self.temperature).log_softmax(-1)).sample(noise.uniform_like(x))


def _masks(start: Tensor, now: Tensor, then: Level) -> Tensor:
    """How many masks there are after a step to `then`, [b]."""
    alpha = then.alpha.to(start.device)
    share = (start * (1 - alpha)).floor().long()
    return torch.where(alpha < 1, torch.minimum(share.clamp(min=1), now - 1), 0).clamp(min=0)


def _lowest(value: Tensor, number: Tensor) -> Tensor:
    """Which are among the `number` [b] lowest of each row, bool [b, l]; of equal ones the first."""
    rank = value.argsort(dim=1, stable=True).argsort(dim=1)
    return rank < number.unsqueeze(1)


def _check(temperature: float, noise_scale: float) -> None:
    if not (0 <= temperature < math.inf and 0 <= noise_scale < math.inf):
        raise InputError(
            "confidence-unmasking needs a temperature and a noise_scale of 0 or more, not"
            f" {temperature:g} and {noise_scale:g}"
        )
