"""A codec: between data and the samples in which diffusion runs."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from sfumato.errors import ShapeError
from sfumato.media import Image, Medium
from sfumato.media.protocol import Size

HAAR = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
"""Mean and differences of the four pixels of a square: an orthogonal matrix, and its own inverse."""


@dataclass(frozen=True)
class Haar:
    """Samples are Haar wavelets of pictures: half the sides, four times the channels, and nothing is lost."""

    medium: Medium = Image()

    @property
    def channels(self) -> int:
        return 4 * self.medium.channels

    @property
    def limit(self) -> float:
        return 2.0  # the sum of four pixels in [−1, 1], halved

    def shape(self, size: Size) -> tuple[int, ...]:
        _, height, width = self.medium.shape(size)
        if height % 2 or width % 2:
            raise ShapeError(f"wavelets take even sides, not {width}×{height}: crop or pad the pictures")
        return (self.channels, height // 2, width // 2)

    def encode(self, data: Tensor) -> Tensor:
        return self._mixed(pixel_unshuffle(data, 2))

    def decode(self, samples: Tensor) -> Tensor:
        return pixel_shuffle(self._mixed(samples.float()), 2).clamp(-1, 1)

    def _mixed(self, x: Tensor) -> Tensor:
        """Each four channels in a row, mixed by `HAAR`."""
        return torch.einsum("ij, ncjhw -> ncihw", HAAR.to(x), x.unflatten(1, (-1, 4))).flatten(1, 2)
