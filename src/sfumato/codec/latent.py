"""Diffusion in the latents of an autoencoder."""

import torch
from torch import Tensor, nn

from sfumato.codec.tiles import tiled
from sfumato.core.condition import Condition
from sfumato.core.defaults import torch_defaults
from sfumato.errors import InputError, NonFiniteError, ShapeError
from sfumato.media import Image
from sfumato.media.image.mask import small_mask
from sfumato.media.protocol import Size
from sfumato.nn.image.autoencoder import Autoencoder


class Latent(nn.Module):
    """Samples are the latents z of pictures, brought to zero mean and unit variance: `(z − shift)·scale`
    (arXiv:2112.10752, appendix G).

    - `network`: the autoencoder, for pictures of `network.in_channels` channels;
    - `shift`, `scale`: one number, or one for each channel of the latents. diffusers' `shift_factor` and
      `scaling_factor`.

    A picture with a side of more than `whole` pixels is encoded and decoded in tiles, so that memory stays bounded; set
    another bound where there is more.
    """

    limit = None
    whole = 1024

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
    def medium(self) -> Image:
        return Image(self.network.in_channels)

    @property
    def channels(self) -> int:
        return self.network.latent

    def check_like(self, other: "Latent") -> None:
        """Raise an `InputError` unless `other`, of the same shape, gives every picture the same latents, so that it may
        decode these. Weights that were rounded to bfloat16 count as the same."""
        ours, theirs = self.network.encoder_parameters(), other.network.encoder_parameters()
        same = ours.keys() == theirs.keys() and (self.shift, self.scale) == (other.shift, other.scale)
        if not same or not all(_equal(ours[name], theirs[name]) for name in ours):
            raise InputError("the two codecs have other latents: only one that was trained on from the first will do")

    def shape(self, size: Size) -> tuple[int, ...]:
        """The shape of the sample behind a picture of `size` (width, height); a `ShapeError` where it does not
        fit the network."""
        width, height = size
        self.network.check_size(height, width)
        return (self.channels, height // self.network.factor, width // self.network.factor)

    @torch_defaults()
    @torch.no_grad()
    def encode(self, data: Tensor) -> Tensor:
        """Pictures `data` [n, c, h, w] in [−1, 1] → samples [n, channels, h/f, w/f]; a `ShapeError` for others."""
        x, factor = self._like_weights(data, self.medium.channels), self.network.factor
        if max(x.shape[-2:]) > self.whole:
            self.network.check_size(*x.shape[-2:])
            z = tiled(lambda part: self.network.encode(part).float(), x, factor, 1)
        else:
            z = self.network.encode(x).float()
        return (_finite(z, "latents") - self._across(self.shift, z)) * self._across(self.scale, z)

    @torch_defaults()
    @torch.no_grad()
    def decode(self, samples: Tensor) -> Tensor:
        """Samples [n, channels, h, w] → pictures in [−1, 1]; a `ShapeError` for other shapes, and a `NonFiniteError`
        where the weights give a number that is not finite."""
        z = samples / self._across(self.scale, samples) + self._across(self.shift, samples)
        z, factor = self._like_weights(z, self.channels), self.network.factor
        if max(z.shape[-2:]) * factor > self.whole:
            pictures = tiled(lambda part: self.network.decode(part).float(), z, 1, factor)
        else:
            pictures = self.network.decode(z).float()
        return _finite(pictures, "pictures").clamp_(-1, 1)

    @torch_defaults()
    def masked_condition(self, picture: Tensor, mask: Tensor) -> Condition:
        """The condition of a network that paints within a picture: `concat` [1, 1 + channels, h/f, w/f].

        `picture` [c, h, w] in [−1, 1]; `mask` [h, w], above a half where new is wanted. The mask, at the latents'
        size, then the latents of the picture with the middle of the range there (Stable Diffusion's inpainting
        checkpoints, after arXiv:2112.10752, section 4.5).
        """
        if picture.ndim != 3 or len(picture) != self.medium.channels or mask.shape != picture.shape[1:]:
            raise ShapeError(
                f"a picture [{self.medium.channels}, h, w] and a mask [h, w] are wanted, not {list(picture.shape)} and"
                f" {list(mask.shape)}"
            )
        if not picture.is_floating_point() or not bool(picture.abs().max() <= 2) or bool(mask.isnan().any()):
            raise InputError(
                "a picture holds real numbers in [−1, 1], where 0 to 255 is x / 127.5 − 1, and a mask no NaN"
            )
        wanted = (mask > 0.5).float()
        latents = self.encode((picture * (1 - wanted))[None])
        small = small_mask(wanted, latents.shape[-2:]).to(latents)
        return Condition(concat=torch.cat([small, latents], dim=1))

    def _like_weights(self, x: Tensor, channels: int) -> Tensor:
        """x on the device and in the type of the weights; a `ShapeError` for other channels."""
        if x.ndim != 4 or x.shape[1] != channels:
            raise ShapeError(f"[n, {channels}, h, w] is wanted, not {list(x.shape)}")
        weight = next(self.network.parameters())
        return x.to(weight.device, weight.dtype)

    def _across(self, values: tuple[float, ...], z: Tensor) -> Tensor:
        return torch.tensor(values, device=z.device, dtype=z.dtype).reshape(-1, 1, 1)


def _finite(x: Tensor, name: str) -> Tensor:
    """x, if every number in it is finite; else a `NonFiniteError`."""
    if not bool(x.isfinite().all()):
        raise NonFiniteError(
            f"the codec gave {name} with a number that is not finite: its weights are damaged, or want float32"
        )
    return x


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same, in the coarser of their types."""
    kind = torch.bfloat16 if torch.bfloat16 in (one.dtype, other.dtype) else torch.float32
    return torch.equal(one.cpu().to(kind), other.cpu().to(kind))
