"""The perceptual distance of two pictures: that of their features in a network trained to classify."""

from collections.abc import Collection

from torch import Tensor

from sfumato.errors import ShapeError
from sfumato.nn.image.mobilenet import MobileNet

DEPTHS = (2, 6, 10, 22)
"""MobileNet's last layers at a half, a quarter, an eighth and a sixteenth of the size."""
_EPS = 1e-6
"""Below the squared length of any feature that means something; it keeps the gradient at 0 finite."""


def perceptual(a: Tensor, b: Tensor, network: MobileNet, after: Collection[int] = DEPTHS) -> Tensor:
    """`∑_l mean_hw |â_l − b̂_l|²`: pictures [n, 3, h, w] in [−1, 1], twice → [n], from 0 to 2 for each depth l.

    `â_l` are the features of a after layer l, at unit length over the channels: at each place, `2 − 2·cos` of the angle
    between the two features. This is LPIPS (arXiv:1801.03924, eq. 1) on MobileNet and without learned
    weights, so figures compare only with each other. Pictures keep their own size, and are not brought to
    224×224: small pictures are compared, and not their enlargements.
    """
    if a.shape != b.shape:
        raise ShapeError(f"pictures that are compared must have one shape, not {list(a.shape)} and {list(b.shape)}")
    depths = zip(network.maps(a, after), network.maps(b, after), strict=True)
    return sum((((_unit(of_a) - _unit(of_b)) ** 2).sum(1).mean((1, 2)) for of_a, of_b in depths), a.new_zeros(len(a)))


def _unit(features: Tensor) -> Tensor:
    features = features.float()
    return features * (features.square().sum(1, keepdim=True) + _EPS).rsqrt()
