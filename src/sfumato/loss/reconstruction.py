"""Errors of a reconstruction y of pictures x, [b, c, h, w] → [b], and the loss of an autoencoder's adversary."""

from torch import Tensor
from torch.nn.functional import avg_pool2d


def absolute_error(one: Tensor, other: Tensor) -> Tensor:
    """`|x − y|`, the mean over values. Unlike the square, it gives no reward for a blurred edge."""
    return (one - other).abs().flatten(1).mean(1)


def edge_error(one: Tensor, other: Tensor) -> Tensor:
    """`|∇x − ∇y|`, for the differences of neighbours across and down, the mean over values each, added."""
    error = one - other
    return error.diff(dim=-1).abs().flatten(1).mean(1) + error.diff(dim=-2).abs().flatten(1).mean(1)


def tone_error(one: Tensor, other: Tensor) -> Tensor:
    """`|x − y|` of the means over 8×8 pixels, the mean over values. Small errors of a whole area are seen best."""
    return avg_pool2d(one - other, 8, ceil_mode=True).abs().flatten(1).mean(1)


def discriminator_loss(real: Tensor, made: Tensor) -> Tensor:
    """`max(0, 1 − D(x)) + max(0, 1 + D(y))`, the mean over patches: the hinge loss (arXiv:1705.02894, eq. 3) of a
    discriminator whose scores are `real` = D(x) and `made` = D(y), [b, 1, h', w'] each → [b]."""
    return ((1 - real).relu() + (1 + made).relu()).flatten(1).mean(1)
