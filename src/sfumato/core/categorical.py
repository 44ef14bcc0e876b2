"""Distributions over tokens, as log-probabilities."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sfumato.core.level import like

BELOW_ONE = 1 - 2.0**-52
"""The largest uniform number used: times any sum, it stays below that sum."""


class Categorical(NamedTuple):
    """A distribution over k tokens at each place: `log_p` [b, l, k], whose exponentials sum to 1."""

    log_p: Tensor

    def sample(self, u: Tensor) -> Tensor:
        """Token ids [b, l] from uniform numbers u [b, l] in [0, 1), float64: the inverse of the cumulative
        distribution.

        A token of probability 0 is never drawn. Sums are taken in float64, whatever the type of `log_p`.
        """
        cumulative = self.log_p.double().exp().cumsum(-1)
        place = (u.clamp(max=BELOW_ONE) * cumulative[..., -1]).unsqueeze(-1)
        return torch.searchsorted(cumulative, place, right=True).squeeze(-1)

    def mode(self) -> Tensor:
        """The most probable token at each place, [b, l]; the first of several."""
        return self.log_p.argmax(-1)


def log_one_hot(ids: Tensor, k: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """The log-probabilities of tokens that are known: ids [b, l] → [b, l, k], 0 at the token and −∞ elsewhere."""
    log_p = torch.full((*ids.shape, k), -math.inf, dtype=dtype, device=ids.device)
    return log_p.scatter(-1, ids.unsqueeze(-1), 0.0)


def log_mixture(log_a: Tensor, log_b: Tensor | float, kept: Tensor) -> Tensor:
    """`log(kept·exp(log_a) + (1 − kept)·exp(log_b))`: [b, l, k], from probabilities kept [b] or [1], in float64."""
    weight, rest = like(kept.log(), log_a), like(torch.log1p(-kept), log_a)
    return torch.logaddexp(log_a + weight, log_b + rest)
