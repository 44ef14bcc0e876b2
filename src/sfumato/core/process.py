"""Forward processes: how data become noise.

`Gaussian` adds noise to numbers; `Masking` and `Uniform` replace tokens, of which `Level.alpha` is the probability that
one is still itself. Schedules, spacings, seeds and the driver are the same for all.

The distributions of the Gaussian process are those of `sfumato.core.gaussian`. Those of the discrete ones are methods
here, in closed form; each takes and gives distributions over k tokens as log-probabilities [b, l, k], so that known
tokens are `log_one_hot(ids, k)`. Times are written as in the papers: s is before t (s has less noise).
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core import gaussian, noise
from sfumato.core.categorical import Categorical, divergence, log_mixture, log_one_hot
from sfumato.core.level import Level, like
from sfumato.core.noise import Streams
from sfumato.errors import InputError, ShapeError, quoted

_MOST_TOKENS = 2**31
"""The largest vocabulary."""


@runtime_checkable
class Process(Protocol):
    """A forward process q(x_t | x_0), drawn from noise that is given: sample i depends on its own noise alone."""

    def noise(self, streams: Streams, *shape: int) -> Tensor:
        """The noise of samples of this shape, [b, *shape], from a random stream for each."""
        ...

    def corrupt(self, x_0: Tensor, level: Level, noise: Tensor) -> Tensor:
        """x_t [b, *d] at `level` from data x_0 [b, *d] and their noise [b, *d]."""
        ...

    def start(self, noise: Tensor, level: Level, std: float | None = None) -> Tensor:
        """Samples [b, *d] at `level`, the first of a trajectory, from noise alone.

        `std` is the standard deviation of Gaussian noise where a spacing asks for another (`grid.initial_std`).
        """
        ...


@runtime_checkable
class TokenProcess(Process, Protocol):
    """A forward process of tokens: each is replaced on its own, with probability 1 − alpha."""

    def marginal(self, x_0: Tensor, level: Level) -> Categorical:
        """`q(x_t | x_0)`, averaged over the distribution x_0 [b, l, k]."""
        ...

    def transition(self, x_s: Tensor, s: Level, t: Level) -> Categorical:
        """`q(x_t | x_s)` for s < t, averaged over the distribution x_s [b, l, k]."""
        ...

    def posterior(self, x_0: Tensor, x_t: Tensor, s: Level, t: Level) -> Categorical:
        """`q(x_s | x_t, x_0)` for tokens x_t [b, l], averaged over the distribution x_0 [b, l, k].

        With x_0 from a model, `p(x_0 | x_t)`, this is its reverse step `p(x_s | x_t)`.
        """
        ...

    def log_probabilities(self, logits: Tensor, x_t: Tensor) -> Tensor:
        """A network's logits [b, l, k] at tokens x_t [b, l] → log-probabilities of x_0, [b, l, k]."""
        ...

    def step_divergence(self, log_p: Tensor, x_0: Tensor, x_t: Tensor, s: Level, t: Level) -> Tensor:
        """`KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t))` in nats, [b, l], for tokens x_0 and x_t [b, l]."""
        ...

    def divergence_rate(self, log_p: Tensor, x_0: Tensor, x_t: Tensor, t: Level) -> Tensor:
        """The limit of `step_divergence` for short steps, per unit by which alpha changes: [b, l]."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """`x_t = alpha·x_0 + sigma·eps`, eps standard normal (DDPM, arXiv:2006.11239, eq. 4)."""

    def noise(self, streams: Streams, *shape: int) -> Tensor:
        """Standard normal numbers: [b, *shape], float32, on the CPU."""
        return noise.normal(streams, *shape)

    def corrupt(self, x_0: Tensor, level: Level, noise: Tensor) -> Tensor:
        """`alpha·x_0 + sigma·noise`, [b, *d]."""
        return gaussian.marginal(x_0, level).sample(noise)

    def start(self, noise: Tensor, level: Level, std: float | None = None) -> Tensor:
        """`std·noise`; std that of x_t for data of unit variance, `√(alpha² + sigma²)`, unless given."""
        if std is None:
            return like((level.alpha**2 + level.sigma**2).sqrt(), noise) * noise
        return noise * std


@dataclass(frozen=True)
class Masking:
    """Absorbing: a token is itself with probability alpha, else the mask `mask_id`, one of the k tokens
    (D3PM, arXiv:2107.03006, appendix A.2.2; MDLM, arXiv:2406.07524, eq. 4)."""

    mask_id: int

    def __post_init__(self) -> None:
        _check_whole("mask_id", self.mask_id, 0)

    def noise(self, streams: Streams, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1): [b, *shape], float64, on the CPU."""
        return noise.uniform(streams, *shape)

    def corrupt(self, x_0: Tensor, level: Level, noise: Tensor) -> Tensor:
        """The tokens whose noise is below alpha, and the mask elsewhere: [b, l]."""
        return torch.where(noise < like(level.alpha, noise), x_0, self.mask_id)

    def start(self, noise: Tensor, level: Level, std: float | None = None) -> Tensor:
        """Masks throughout, [b, l]: the stationary distribution, at any level."""
        return torch.full(noise.shape, self.mask_id, dtype=torch.int64, device=noise.device)

    def marginal(self, x_0: Tensor, level: Level) -> Categorical:
        """`alpha·x_0 + (1 − alpha)·mask` (MDLM, arXiv:2406.07524, eq. 4, for masks)."""
        return Categorical(log_mixture(x_0, self._mask(x_0), *_marginal(level)))

    def transition(self, x_s: Tensor, s: Level, t: Level) -> Categorical:
        """`alpha_{t|s}·x_s + (1 − alpha_{t|s})·mask`, `alpha_{t|s} = alpha_t/alpha_s` (MDLM, arXiv:2406.07524, section
        3.1)."""
        return Categorical(log_mixture(x_s, self._mask(x_s), *_transition(s, t)))

    def posterior(self, x_0: Tensor, x_t: Tensor, s: Level, t: Level) -> Categorical:
        """x_t where it is no mask; else `((alpha_s − alpha_t)·x_0 + (1 − alpha_s)·mask)/(1 − alpha_t)`
        (MDLM, arXiv:2406.07524, eq. 6; with x_0 from a model, eq. 7)."""
        hidden = log_mixture(x_0, self._mask(x_0), *_unmasking(s, t))
        masked = (x_t == self.mask_id).unsqueeze(-1)
        return Categorical(torch.where(masked, hidden, log_one_hot(x_t, x_0.shape[-1], x_0.dtype)))

    def log_probabilities(self, logits: Tensor, x_t: Tensor) -> Tensor:
        """Zero masking probability and carry-over unmasking: no mask in x_0, and tokens that are none stay
        (MDLM, arXiv:2406.07524, section 3.2.3)."""
        self._mask(logits)
        no_mask = torch.arange(logits.shape[-1], device=logits.device) == self.mask_id
        log_p = logits.masked_fill(no_mask, -math.inf).log_softmax(-1)
        masked = (x_t == self.mask_id).unsqueeze(-1)
        return torch.where(masked, log_p, log_one_hot(x_t, logits.shape[-1], logits.dtype))

    def step_divergence(self, log_p: Tensor, x_0: Tensor, x_t: Tensor, s: Level, t: Level) -> Tensor:
        """`−(alpha_s − alpha_t)/(1 − alpha_t)·log p(x_0)` at masks (MDLM, arXiv:2406.07524, eq. 8)."""
        return like(_unmasking(s, t)[0], log_p.select(-1, 0)) * self._surprise(log_p, x_0, x_t)

    def divergence_rate(self, log_p: Tensor, x_0: Tensor, x_t: Tensor, t: Level) -> Tensor:
        """`−log p(x_0)/(1 − alpha)` at masks (MDLM, arXiv:2406.07524, eq. 10)."""
        rate = torch.where(t.alpha < 1, 1 / (1 - t.alpha), 0.0)
        return like(rate, log_p.select(-1, 0)) * self._surprise(log_p, x_0, x_t)

    def _surprise(self, log_p: Tensor, x_0: Tensor, x_t: Tensor) -> Tensor:
        """`−log p(x_0)` at masks, 0 elsewhere: [b, l]."""
        found = log_p.gather(-1, x_0.unsqueeze(-1)).squeeze(-1)
        return -torch.where(x_t == self.mask_id, found, 0.0)

    def _mask(self, log_p: Tensor) -> Tensor:
        """The mask as log-probabilities [k]."""
        k = log_p.shape[-1]
        if k < 2:
            raise InputError("masks want a vocabulary of two tokens or more, the mask among them, not of 1")
        if not 0 <= self.mask_id < k:
            raise InputError(f"mask_id must be one of the {k:,} tokens, from 0 to {k - 1:,}, not {self.mask_id:,}")
        return log_one_hot(torch.tensor(self.mask_id, device=log_p.device), k, log_p.dtype)


@dataclass(frozen=True)
class Uniform:
    """A token is itself with probability alpha, else any of the `k`, itself among them, with equal probability
    (D3PM, arXiv:2107.03006, appendix A.2.1; multinomial diffusion, arXiv:2102.05379, eq. 12)."""

    k: int

    def __post_init__(self) -> None:
        _check_whole("k, the number of tokens,", self.k, 1)

    def noise(self, streams: Streams, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1): [b, *shape], float64, on the CPU."""
        return noise.uniform(streams, *shape)

    def corrupt(self, x_0: Tensor, level: Level, noise: Tensor) -> Tensor:
        """The tokens whose noise u is below alpha; elsewhere `⌊k·(u − alpha)/(1 − alpha)⌋`: [b, l]."""
        alpha = like(level.alpha, noise)
        other = (self.k * (noise - alpha) / (1 - alpha)).floor().clamp(0, self.k - 1)
        return torch.where(noise < alpha, x_0, other.nan_to_num(0).long())

    def start(self, noise: Tensor, level: Level, std: float | None = None) -> Tensor:
        """Tokens of equal probability, [b, l]: the stationary distribution, at any level."""
        return (self.k * noise.double()).floor().clamp(max=self.k - 1).long()

    def marginal(self, x_0: Tensor, level: Level) -> Categorical:
        """`alpha·x_0 + (1 − alpha)/k` (D3PM, arXiv:2107.03006, eq. 3; multinomial diffusion, arXiv:2102.05379,
        eq. 12)."""
        return Categorical(self._smoothed(x_0, *_marginal(level)))

    def transition(self, x_s: Tensor, s: Level, t: Level) -> Categorical:
        """`alpha_{t|s}·x_s + (1 − alpha_{t|s})/k`, `alpha_{t|s} = alpha_t/alpha_s` (D3PM, arXiv:2107.03006, eq. 2;
        multinomial diffusion, arXiv:2102.05379, eq. 11)."""
        return Categorical(self._smoothed(x_s, *_transition(s, t)))

    def posterior(self, x_0: Tensor, x_t: Tensor, s: Level, t: Level) -> Categorical:
        """`q(x_t | x_s)·∑ q(x_s | x_0)·x_0/q(x_t | x_0)` (D3PM, arXiv:2107.03006, eq. 3 and 4; multinomial diffusion,
        arXiv:2102.05379, eq. 13, is exact where x_0 is one token), in time of order k."""
        known = log_one_hot(x_t, self._check(x_0), x_0.dtype)
        log_p = self._smoothed(known, *_transition(s, t)) + self._ratios(x_0, known, s, t)
        return Categorical(torch.where(like(t.alpha < 1, x_0) > 0, log_p, known))

    def log_probabilities(self, logits: Tensor, x_t: Tensor) -> Tensor:
        """The logits normalised: `log softmax` over the k tokens."""
        self._check(logits)
        return logits.log_softmax(-1)

    def step_divergence(self, log_p: Tensor, x_0: Tensor, x_t: Tensor, s: Level, t: Level) -> Tensor:
        """`KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t))` (D3PM, arXiv:2107.03006, eq. 1), by a sum over the k tokens."""
        q = self.posterior(log_one_hot(x_0, self.k, log_p.dtype), x_t, s, t).log_p
        p = self.posterior(log_p, x_t, s, t).log_p
        return divergence(q, p).sum(-1)

    def divergence_rate(self, log_p: Tensor, x_0: Tensor, x_t: Tensor, t: Level) -> Tensor:
        """`1/(k·alpha)·∑_{y ≠ x_t} (r' − r + r·log(r/r'))`, where `r(y) = q(y | x_0)/q(x_t | x_0)` and r' is its mean
        under the model (SEDD, arXiv:2310.16834, eq. 10, for a score of this form)."""
        known = log_one_hot(x_t, self._check(log_p), log_p.dtype)
        r, ours = (self._ratios(x, known, t, t) for x in (log_one_hot(x_0, self.k, log_p.dtype), log_p))
        terms = divergence(r, ours)
        # the rate falls as alpha does; below float64's precision of 1, r and r' differ by rounding alone
        scale = torch.where(t.alpha > 2.0**-53, 1 / (self.k * t.alpha), 0.0)
        return like(scale, terms.select(-1, 0)) * torch.where(known == 0, 0.0, terms).sum(-1)

    def _ratios(self, x_0: Tensor, known: Tensor, s: Level, t: Level) -> Tensor:
        """`log ∑ q(x_s | x_0)·x_0/q(x_t | x_0)` for each x_s, [b, l, k], at the known x_t."""
        weights = x_0 - self._smoothed(known, *_marginal(t))
        total = weights.logsumexp(-1, keepdim=True) - math.log(self.k)
        return log_mixture(weights, total, *_marginal(s))

    def _smoothed(self, log_p: Tensor, kept: Tensor, replaced: Tensor) -> Tensor:
        """The distribution, `kept` and `replaced` by a uniform one with these probabilities."""
        self._check(log_p)
        return log_mixture(log_p, -math.log(self.k), kept, replaced)

    def _check(self, log_p: Tensor) -> int:
        if log_p.shape[-1] != self.k:
            raise ShapeError(
                f"a uniform process of {self.k:,} tokens takes log-probabilities [b, l, {self.k:,}], not of"
                f" {log_p.shape[-1]:,} tokens"
            )
        return self.k


Weights = tuple[Tensor, Tensor]
"""Two probabilities, [b] each, whose sum is 1; each is computed by itself, so that a small one keeps its digits."""


def _marginal(t: Level) -> Weights:
    """`alpha_t` and `1 − alpha_t`: a token is kept, and is replaced."""
    return t.alpha, 1 - t.alpha


def _transition(s: Level, t: Level) -> Weights:
    """`alpha_{t|s} = alpha_t/alpha_s` and `1 − alpha_{t|s}`; 0 and 1 where t is pure noise, even from pure noise."""
    noise = t.alpha == 0
    return torch.where(noise, 0.0, t.alpha / s.alpha), torch.where(noise, 1.0, (s.alpha - t.alpha) / s.alpha)


def _unmasking(s: Level, t: Level) -> Weights:
    """`(alpha_s − alpha_t)/(1 − alpha_t)` and `(1 − alpha_s)/(1 − alpha_t)`: a mask at t is none at s, and is one
    still; 1 and 0 where t has none."""
    clean, masked = t.alpha == 1, 1 - t.alpha
    return torch.where(clean, 1.0, (s.alpha - t.alpha) / masked), torch.where(clean, 0.0, (1 - s.alpha) / masked)


def _check_whole(name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= _MOST_TOKENS:
        raise InputError(f"{name} must be a whole number from {low} to {_MOST_TOKENS:,}, not {quoted(value)}")
