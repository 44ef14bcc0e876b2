"""Distributions over tokens, as log-probabilities."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.core.level import like
from sfumato.errors import NonFiniteError

BELOW_ONE = 1 - 2.0**-52
"""The largest uniform number used: times any sum, it stays below that sum."""


class Categorical(NamedTuple):
    """A distribution over k tokens at each place: `log_p` [b, l, k], whose exponentials sum to 1."""

    log_p: Tensor

    def sample(self, u: Tensor) -> Tensor:
        """Token ids [b, l] from uniform numbers u [b, l] in [0, 1), float64: the inverse of the cumulative
        distribution.

        A token of probability 0 is never drawn. Sums are taken in float64, whatever the type of `log_p`. Raises a
        `NonFiniteError` where the probabilities of a place are NaN, or all 0: no token could be drawn.
        """
        cumulative = self.log_p.double().exp().cumsum(-1)
        if not bool((cumulative[..., -1] > 0).all()):
            raise NonFiniteError(
                "a distribution over tokens holds NaN, or no token that is possible: the network's weights are damaged,"
                " or want float32"
            )
        place = (u.clamp(max=BELOW_ONE) * cumulative[..., -1]).unsqueeze(-1)
        return torch.searchsorted(cumulative, place, right=True).squeeze(-1)

    def mode(self) -> Tensor:
        """The most probable token at each place, [b, l]; the first of several."""
        return self.log_p.argmax(-1)


def log_one_hot(ids: Tensor, k: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The log-probabilities of tokens that are known: ids [b, l] → [b, l, k], 0 at the token and −∞ elsewhere."""
    log_p = torch.full((*ids.shape, k), -math.inf, dtype=dtype, device=ids.device)
    return log_p.scatter(-1, ids.unsqueeze(-1), 0.0)


def log_mixture(log_a: Tensor, log_b: Tensor | float, weight_a: Tensor, weight_b: Tensor) -> Tensor:
    """`log(weight_a·exp(log_a) + weight_b·exp(log_b))`: [b, l, k], from weights [b] or [1], in float64.

    Both weights are given, though their sum is 1: of two times close by, 1 − weight_a would have few digits.
    """
    return torch.logaddexp(log_a + like(weight_a.log(), log_a), log_b + like(weight_b.log(), log_a))


def divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """`q·log(q/p) − q + p` of each token, [b, l, k]: none is negative, and the sum of distributions is `KL(q ‖ p)`.

    Written so that it keeps its digits where q and p are nearly the same.
    """
    gap = torch.where(log_q > -math.inf, log_q - log_p, -math.inf)
    more, less = gap.clamp(min=0), gap.clamp(-1e3, 0)  # q above p, and below, where q may be 0
    return log_q.exp() * (more + torch.expm1(-more)) + log_p.exp() * (less * less.exp() - torch.expm1(less))
