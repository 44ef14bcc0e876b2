"""Diffusion on the pixels themselves."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Codec(Protocol):
    """Between pictures, float [n, colours, h, w] in [−1, 1], and the samples that a denoiser sees.

    `channels` counts a sample's channels; `limit` bounds its elements, or is None where nothing does.
    """

    @property
    def colours(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def limit(self) -> float | None: ...

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """The shape of the sample behind a picture of `size` (width, height)."""
        ...

    def encode(self, pictures: Tensor) -> Tensor: ...
    def decode(self, samples: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Pixels:
    """Pictures are samples: `channels` 1 (grey) or 3 (RGB), values in [−1, 1]."""

    channels: int = 3
    limit = 1.0

    @property
    def colours(self) -> int:
        return self.channels

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        width, height = size
        return (self.channels, height, width)

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures

    def decode(self, samples: Tensor) -> Tensor:
        return samples.to(torch.float32).clamp(-1, 1)
