"""Pictures of another size, as tensors."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    """Pictures [n, c, h, w] at another (height, width), bilinearly; where smaller, over all that a pixel covers."""
    return interpolate(pictures, size=tuple(size), mode="bilinear", antialias=True)
