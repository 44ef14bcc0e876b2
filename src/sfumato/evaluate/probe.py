"""A linear probe: the labels that a linear map reads off features."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sfumato.errors import InputError, ShapeError

PENALTY = 0.01
"""As much as a hundredth of a feature's own variance, all being standardised."""
LEAST = 1e-6
"""Added to the spread of a feature, so that one that never changes says nothing."""


@dataclass(frozen=True)
class Probe:
    """Features [n, d] → one of `names` each, by the largest of `(f − mean)/std·W + b`: W is [d, c], b [c]."""

    names: tuple[str, ...]
    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> list[str]:
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ShapeError(f"features must be [n, {len(self.mean)}], not {list(features.shape)}")
        scores = (features.double() - self.mean) / self.std @ self.weight + self.bias
        return [self.names[place] for place in scores.argmax(1).tolist()]


def fit(features: Tensor, labels: Sequence[str], penalty: float = PENALTY) -> Probe:
    """Ridge regression of what is so (1) or is not (0) on standardised features [n, d], in closed form:
    `W = (ZᵀZ/n + penalty·I)⁻¹ Zᵀ(Y − b)/n`, b the share of each label (Hastie et al., The Elements of Statistical
    Learning, eq. 3.44)."""
    if features.ndim != 2 or len(features) != len(labels):
        raise ShapeError(f"{len(labels)} labels want features [{len(labels)}, d], not {list(features.shape)}")
    names = tuple(sorted(set(labels)))
    if len(names) < 2 or not penalty > 0:
        raise InputError(f"a probe needs two labels or more, by a penalty above 0: not {len(names)}, by {penalty}")
    x, n = features.double(), len(labels)
    mean, std = x.mean(0), x.std(0, correction=0) + LEAST
    z = (x - mean) / std
    y = one_hot(torch.tensor([names.index(label) for label in labels], device=x.device), len(names)).double()
    bias = y.mean(0)
    within = z.T @ z / n + penalty * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return Probe(names, mean, std, torch.linalg.solve(within, z.T @ (y - bias) / n), bias)
