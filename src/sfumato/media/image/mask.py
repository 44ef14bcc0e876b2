"""Masks of pictures."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate


def small_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask [h, w] at another (height, width), [1, 1, height, width]: every value that of the nearest pixel above and
    to the left, as in diffusers' inpainting pipelines."""
    return interpolate(mask[None, None], size=tuple(size))
