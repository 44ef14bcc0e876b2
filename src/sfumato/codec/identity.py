"""Diffusion on the data themselves."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.media import Image, Medium
from sfumato.media.protocol import Size


@dataclass(frozen=True)
class Identity:
    """Data of the medium are samples: the pixels of pictures, as in DDPM (arXiv:2006.11239)."""

    medium: Medium = Image()

    @property
    def channels(self) -> int:
        return self.medium.channels

    @property
    def limit(self) -> float | None:
        return self.medium.limit

    def shape(self, size: Size) -> tuple[int, ...]:
        return self.medium.shape(size)

    def encode(self, data: Tensor) -> Tensor:
        return data

    def decode(self, samples: Tensor) -> Tensor:
        """The samples in float32, within the medium's limit; token ids as they are."""
        if not samples.is_floating_point():
            return samples
        samples = samples.to(torch.float32)
        return samples if self.limit is None else samples.clamp(-self.limit, self.limit)
