"""Autoencoders: pictures to latents that are small enough to diffuse in, and back."""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad, pixel_shuffle, pixel_unshuffle

from sfumato.errors import InputError, ShapeError, quoted
from sfumato.nn.attention import Attention
from sfumato.nn.blocks import Residual, Up, norm

_EPS = 1e-6
"""What latent diffusion's published autoencoders add to the variance when they normalise."""
_LOGVAR = (-30.0, 20.0)
_LARGEST = {"in_channels": 16, "latent": 1024, "width": 2048, "blocks": 16, "patch": 16}


class Reconstruction(NamedTuple):
    """What an autoencoder made of pictures, like them, and what its latents cost: [b], to be kept small."""

    pictures: Tensor
    penalty: Tensor


class Autoencoder(nn.Module):
    """What autoencoders have in common: pictures [b, in_channels, h, w] ⇄ latents [b, latent, h/f, w/f]."""

    ENCODER_MODULES: tuple[str, ...]
    """The modules on the way from pictures to latents."""

    def __init__(self, in_channels: int, latent: int) -> None:
        super().__init__()
        self.in_channels, self.latent = in_channels, latent
        self._check_counts("in_channels", "latent")

    @property
    def factor(self) -> int:
        """How much smaller a latent's sides are: f."""
        raise NotImplementedError

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures in [−1, 1] → their latents: those that are diffused."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Latents → pictures, not clamped."""
        raise NotImplementedError

    def forward(self, pictures: Tensor, noise: Tensor, level: Tensor | None = None) -> Reconstruction:
        """Pictures there and back, as training sees them; `noise` is standard normal, like the latents.

        With a `level` [b], what is decoded has noise of so many of the latents' own standard deviations, taken over the
        batch: a decoder so trained forgives what a denoiser leaves (RAE, arXiv:2510.11690, noise-augmented decoding).
        """
        raise NotImplementedError

    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters that decide what the latents of a picture are."""
        return {name: own for name, own in self.named_parameters() if name.partition(".")[0] in self.ENCODER_MODULES}

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ShapeError` unless the levels divide the size; it says which size near by they do."""
        if height < 1 or width < 1 or height % self.factor or width % self.factor:
            near = [max(round(side / self.factor), 1) * self.factor for side in (width, height)]
            raise ShapeError(
                f"a picture of {width}×{height} does not fit this autoencoder: each side must be a multiple of"
                f" {self.factor}; the nearest that fits is {near[0]}×{near[1]}"
            )

    def _check_counts(self, *names: str) -> None:
        for name in names:
            if not 1 <= getattr(self, name) <= _LARGEST[name]:
                raise InputError(f"{name} must be from 1 to {_LARGEST[name]:,}, not {getattr(self, name):,}")


class ConvolutionalAutoencoder(Autoencoder):
    """Residual blocks each way, where f is `patch·2^(levels − 1)`.

    Level k works at 1/(patch·2^k) of the size with `width·multipliers[k]` channels, in `blocks` residual blocks on the
    way in and one more on the way out; in the middle stand two more, with attention between them if `attention`. The
    defaults are the shape of Stable Diffusion's (arXiv:2112.10752, appendix E.1); for small machines, `patch` 4 begins
    where most of its time would have been spent.

    `groups` is how many each norm has; None leaves it to the width. Attention follows each residual block of the levels
    in `attend` (arXiv:2012.09841, section 3.1). `hidden` are the channels that the encoder gives and the decoder takes,
    where a layer of its own leads to the latents; None means as many as these.
    """

    def __init__(
        self,
        in_channels: int = 3,
        latent: int = 4,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 4, 4),
        blocks: int = 2,
        attention: bool = True,
        patch: int = 1,
        groups: int | None = None,
        attend: tuple[int, ...] = (),
        hidden: int | None = None,
    ) -> None:
        super().__init__(in_channels, latent)
        self.width, self.multipliers = width, multipliers
        self.blocks, self.attention, self.patch = blocks, attention, patch
        self.groups, self.attend, self.hidden = groups, attend, hidden
        self._check()
        widths = [width * multiplier for multiplier in multipliers]
        self.encoder = _Encoder(in_channels, self._given, widths, blocks, attention, patch, groups, attend)
        self.decoder = _Decoder(self._taken, in_channels, widths, blocks, attention, patch, groups, attend)

    @property
    def factor(self) -> int:
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @property
    def _given(self) -> int:
        """The channels that the encoder gives."""
        return self.hidden or self.latent

    @property
    def _taken(self) -> int:
        """The channels that the decoder takes."""
        return self.hidden or self.latent

    def _check(self) -> None:
        self._check_counts("width", "blocks", "patch")
        if self.hidden is not None and not 1 <= self.hidden <= _LARGEST["latent"]:
            raise InputError(f"hidden must be from 1 to {_LARGEST['latent']:,}, not {self.hidden:,}")
        if not 1 <= len(self.multipliers) <= 8 or not all(1 <= multiplier <= 64 for multiplier in self.multipliers):
            raise InputError(
                f"multipliers must be 1 to 8 whole numbers from 1 to 64, not {quoted(list(self.multipliers))}"
            )
        for channels in (self.width * multiplier for multiplier in self.multipliers if self.groups is not None):
            if self.groups is not None and (self.groups < 1 or channels % self.groups):
                raise InputError(f"groups must divide the {channels} channels of each level, and {self.groups} do not")
        if unknown := set(self.attend) - set(range(len(self.multipliers))):
            raise InputError(f"attend names level {min(unknown)}, but the levels are 0 to {len(self.multipliers) - 1}")


class KLAutoencoder(ConvolutionalAutoencoder):
    """Latents with a little noise: the encoder gives a Gaussian, held near the standard one.

    `q(z | x) = N(mean, exp(logvar))`, and the penalty is `KL(q(z | x) ‖ N(0, I))` in nats an element of z
    (VAE, arXiv:1312.6114, appendix B; arXiv:2112.10752, section 3.1). What is diffused is the mean.

    Between encoder and latents, and between these and the decoder, stands a linear layer of each place: the first if
    `quant`, the second if `post_quant`. Stable Diffusion 3 has neither.
    """

    ENCODER_MODULES = ("encoder", "to_moments")

    def __init__(
        self,
        in_channels: int = 3,
        latent: int = 4,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 4, 4),
        blocks: int = 2,
        attention: bool = True,
        patch: int = 1,
        groups: int | None = None,
        attend: tuple[int, ...] = (),
        quant: bool = True,
        post_quant: bool = True,
    ) -> None:
        super().__init__(in_channels, latent, width, multipliers, blocks, attention, patch, groups, attend)
        self.quant, self.post_quant = quant, post_quant
        self.to_moments = nn.Conv2d(2 * latent, 2 * latent, 1) if quant else nn.Identity()
        self.from_latent = nn.Conv2d(latent, latent, 1) if post_quant else nn.Identity()

    @property
    def _given(self) -> int:
        return 2 * self.latent

    def moments(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures → the mean of their latents and the logarithm of its variance."""
        self.check_size(*pictures.shape[-2:])
        mean, logvar = self.to_moments(self.encoder(pictures)).chunk(2, dim=1)
        return mean, logvar.clamp(*_LOGVAR)

    def encode(self, pictures: Tensor) -> Tensor:
        return self.moments(pictures)[0]

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.from_latent(latents))

    def forward(self, pictures: Tensor, noise: Tensor, level: Tensor | None = None) -> Reconstruction:
        mean, logvar = (part.float() for part in self.moments(pictures))
        std = (logvar / 2).exp()
        if level is not None:
            std = (std**2 + noised(level, mean) ** 2).sqrt()
        z = mean + std * noise
        divergence = (mean**2 + logvar.exp() - 1 - logvar) / 2
        return Reconstruction(self.decode(z), divergence.flatten(1).mean(1))


class VQAutoencoder(ConvolutionalAutoencoder):
    """Latents from a codebook: each place holds one of `codes` vectors.

    `z_q = e_k, k = argmin_j |z − e_j|²`; gradients pass straight from z_q to z, and the penalty is
    `|sg(z) − e_k|² + commitment·|z − sg(e_k)|²` an element (VQ-VAE, arXiv:1711.00937, eq. 3). What is diffused is z,
    before it is rounded: the decoder rounds (arXiv:2112.10752, section 3.1).
    """

    ENCODER_MODULES = ("encoder", "to_codes")

    def __init__(
        self,
        in_channels: int = 3,
        latent: int = 4,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 4, 4),
        blocks: int = 2,
        attention: bool = True,
        patch: int = 1,
        codes: int = 8192,
        commitment: float = 0.25,
        groups: int | None = None,
        attend: tuple[int, ...] = (),
        hidden: int | None = None,
    ) -> None:
        super().__init__(in_channels, latent, width, multipliers, blocks, attention, patch, groups, attend, hidden)
        self.codes, self.commitment = codes, commitment
        if not 2 <= codes <= 2**20 or not commitment >= 0:
            raise InputError(f"codes must be from 2 to {2**20:,} and commitment from 0, not {codes:,}, {commitment}")
        self.to_codes = nn.Conv2d(self._given, latent, 1)
        self.from_latent = nn.Conv2d(latent, self._taken, 1)
        self.book = nn.Parameter(torch.empty(codes, latent).uniform_(-1 / codes, 1 / codes))

    def encode(self, pictures: Tensor) -> Tensor:
        self.check_size(*pictures.shape[-2:])
        return self.to_codes(self.encoder(pictures))

    def nearest(self, latents: Tensor) -> Tensor:
        """Latents [b, latent, h, w] → the number of the nearest code at each place, [b, h, w]."""
        places, book = latents.movedim(1, -1).float(), self.book.float()
        # codes lie too close together for half precision, which autocast would take
        kind = places.device.type
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            # |z − e|² = |z|² − 2 z·e + |e|², of which the first is the same for all
            return (book.square().sum(1) - 2 * places @ book.T).argmin(-1)

    def look_up(self, numbers: Tensor) -> Tensor:
        """Numbers of codes [b, h, w] → the codes, as latents [b, latent, h, w]."""
        return embedding(numbers, self.book).movedim(-1, 1)

    def round(self, latents: Tensor) -> Tensor:
        """Latents, each place by its nearest code."""
        return self.look_up(self.nearest(latents))

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.from_latent(self.round(latents)))

    def forward(self, pictures: Tensor, noise: Tensor, level: Tensor | None = None) -> Reconstruction:
        z = self.encode(pictures).float()
        rounded = self.round(z).float()
        penalty = (z.detach() - rounded) ** 2 + self.commitment * (z - rounded.detach()) ** 2
        shown = rounded if level is None else self.round(z + noised(level, z) * noise).float()
        through = z + (shown - z).detach()
        return Reconstruction(self.decoder(self.from_latent(through)), penalty.flatten(1).mean(1))


def noised(level: Tensor, z: Tensor) -> Tensor:
    """`level` [b] in units of each channel's standard deviation in a batch of latents z [b, c, h, w]: [b, c, 1, 1]."""
    return level[:, None, None, None] * z.detach().std((0, 2, 3), correction=0, keepdim=True)


class _Encoder(nn.Module):
    """Pictures → [b, out, h/f, w/f]."""

    def __init__(
        self,
        channels: int,
        out: int,
        widths: list[int],
        blocks: int,
        attention: bool,
        patch: int,
        groups: int | None,
        attend: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.patch = patch
        self.enter = nn.Conv2d(channels * patch**2, widths[0], 3, padding=1)
        stages: list[nn.Module] = []
        c = widths[0]
        for level, width in enumerate(widths):
            if level > 0:
                stages.append(_Halve(c))
            for _ in range(blocks):
                stages += _block(c, width, level in attend, groups)
                c = width
        self.stages = nn.Sequential(*stages, *_middle(c, attention, groups))
        self.leave = nn.Sequential(norm(c, _EPS, groups), nn.SiLU(), nn.Conv2d(c, out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        return self.leave(self.stages(h))


class _Decoder(nn.Module):
    """[b, latent, h/f, w/f] → pictures."""

    REFINE = 8

    def __init__(
        self,
        latent: int,
        channels: int,
        widths: list[int],
        blocks: int,
        attention: bool,
        patch: int,
        groups: int | None,
        attend: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.patch = patch
        c = widths[-1]
        self.enter = nn.Conv2d(latent, c, 3, padding=1)
        stages: list[nn.Module] = _middle(c, attention, groups)
        for level, width in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                stages += _block(c, width, level in attend, groups)
                c = width
            if level > 0:
                stages.append(Up(c))
        self.stages = nn.Sequential(*stages)
        # a few channels at full size, so that the squares of a patch meet without a seam
        fine = channels if patch == 1 else self.REFINE
        self.leave = nn.Sequential(norm(c, _EPS, groups), nn.SiLU(), nn.Conv2d(c, fine * patch**2, 3, padding=1))
        self.refine = None if patch == 1 else nn.Sequential(nn.SiLU(), nn.Conv2d(fine, channels, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        h = self.leave(self.stages(self.enter(z.contiguous(memory_format=torch.channels_last))))
        return h if self.refine is None else self.refine(pixel_shuffle(h, self.patch))


class _Halve(nn.Module):
    """Half the size by a convolution of stride 2 that looks to the right and down, as latent diffusion's does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, (0, 1, 0, 1)))


def _block(channels: int, out: int, attend: bool, groups: int | None) -> list[nn.Module]:
    """A residual block, and attention after it if there is to be any."""
    attention = [Attention(out, 1, eps=_EPS, groups=groups)] if attend else []
    return [Residual(channels, out, embedding=0, eps=_EPS, groups=groups), *attention]


def _middle(channels: int, attention: bool, groups: int | None) -> list[nn.Module]:
    return [*_block(channels, channels, attention, groups), *_block(channels, channels, False, groups)]
