"""Diffusion in the latents of an autoencoder."""

import torch
from torch import Tensor, nn

from sfumato.errors import InputError
from sfumato.nn.autoencoder import Autoencoder


class Latent(nn.Module):
    """Samples are latents, brought to zero mean and unit variance: `(z − shift)·scale` (arXiv:2112.10752, appendix G).

    `shift` and `scale` hold one number, or one for each channel of the latents.
    """

    limit = None

    def __init__(
        self, network: Autoencoder, shift: tuple[float, ...] = (0.0,), scale: tuple[float, ...] = (1.0,)
    ) -> None:
        super().__init__()
        self.network, self.shift, self.scale = network, shift, scale
        for name, values in (("shift", shift), ("scale", scale)):
            if len(values) not in (1, network.latent):
                raise InputError(f"{name} must hold 1 or {network.latent} numbers, not {len(values)}")
        if not all(value > 0 for value in scale):
            raise InputError(f"scale must be above 0, not {list(scale)}")

    @property
    def colours(self) -> int:
        return self.network.in_channels

    @property
    def channels(self) -> int:
        return self.network.latent

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """The shape of the sample behind a picture of `size` (width, height); a `ShapeError` for one that does not
        fit."""
        width, height = size
        self.network.check_size(height, width)
        return (self.channels, height // self.network.factor, width // self.network.factor)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        z = self.network.encode(self._like_weights(pictures)).float()
        return (z - self._across(self.shift, z)) * self._across(self.scale, z)

    @torch.no_grad()
    def decode(self, samples: Tensor) -> Tensor:
        z = samples / self._across(self.scale, samples) + self._across(self.shift, samples)
        return self.network.decode(self._like_weights(z)).float().clamp(-1, 1)

    def _like_weights(self, x: Tensor) -> Tensor:
        """On the device and in the type of the weights."""
        weight = next(self.network.parameters())
        return x.to(weight.device, weight.dtype)

    def _across(self, values: tuple[float, ...], z: Tensor) -> Tensor:
        return torch.tensor(values, device=z.device, dtype=z.dtype).reshape(-1, 1, 1)
