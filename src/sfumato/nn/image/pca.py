"""An autoencoder in closed form: the principal components of patches."""

from collections.abc import Iterable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from sfumato.errors import InputError
from sfumato.nn.image.autoencoder import Autoencoder, Reconstruction, noised

_TOGETHER = 8
"""How many pictures are taken apart at once: in float64, and every number twice."""


class PCA(Autoencoder):
    """Each patch by its first `latent` principal components: `z = U(x − m)`, `x̂ = Uᵀz + m`, one row of U a component
    and m one number a channel.

    Of all linear maps to so few numbers and back, `fit` gives the one of least squared error (K. Pearson, 1901). It
    takes seconds where other autoencoders take hours, costs next to nothing to draw through, and wants some more
    numbers for the same error. Like them it can be trained, by the task autoencode.
    """

    ENCODER_MODULES = ("enter",)

    def __init__(self, in_channels: int = 3, latent: int = 48, patch: int = 8) -> None:
        super().__init__(in_channels, latent)
        if not 1 <= patch <= 64 or latent > in_channels * patch**2:
            raise InputError(
                f"patch must be from 1 to 64, and latent at most in_channels·patch², not {patch:,} and {latent:,}"
            )
        self.patch = patch
        self.enter = nn.Conv2d(in_channels, latent, patch, stride=patch)
        self.leave = nn.ConvTranspose2d(latent, in_channels, patch, stride=patch)

    @property
    def factor(self) -> int:
        return self.patch

    def encode(self, pictures: Tensor) -> Tensor:
        self.check_size(*pictures.shape[-2:])
        return self.enter(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        return self.leave(latents)

    def forward(self, pictures: Tensor, noise: Tensor, level: Tensor | None = None) -> Reconstruction:
        z = self.encode(pictures).float()
        z = z if level is None else z + noised(level, z) * noise
        return Reconstruction(self.decode(z), torch.zeros(len(pictures), device=z.device))

    @torch.no_grad()
    def fit(self, pictures: Tensor | Iterable[Tensor]) -> Self:
        """Take the components of `pictures` [n, in_channels, h, w], or of batches of them, of which one at a time is in
        memory."""
        moments = _Moments(self)
        for batch in pictures.split(_TOGETHER) if isinstance(pictures, Tensor) else pictures:
            self.check_size(*batch.shape[-2:])
            moments.add(batch.double())
        mean, covariance = moments.centred()
        vectors = torch.linalg.eigh(covariance).eigenvectors  # by rising eigenvalues
        self._take(vectors.flip(1)[:, : self.latent].T, mean)
        return self

    def _take(self, basis: Tensor, mean: Tensor) -> None:
        """Make the rows of `basis` [latent, in_channels·patch²] the components, about the `mean` of each channel."""
        for layer, bias in ((self.enter, -basis @ mean.repeat_interleave(self.patch**2)), (self.leave, mean)):
            layer.weight.copy_(basis.view_as(layer.weight))
            assert layer.bias is not None
            layer.bias.copy_(bias)


class _Moments:
    """The sums of patches and of their products, in float64."""

    def __init__(self, network: PCA) -> None:
        size = network.in_channels * network.patch**2
        self.patch, self.count = network.patch, 0
        self.sum = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64)

    def add(self, pictures: Tensor) -> None:
        rows = unfold(pictures.cpu(), self.patch, stride=self.patch).transpose(1, 2).flatten(0, 1)
        self.count += len(rows)
        self.sum += rows.sum(0)
        self.products += rows.T @ rows

    def centred(self) -> tuple[Tensor, Tensor]:
        """The mean of each channel, and the covariance of patches about it."""
        count = max(self.count, 1)
        mean = self.sum.unflatten(0, (-1, self.patch**2)).mean(1) / count
        across, about = self.sum / count, mean.repeat_interleave(self.patch**2)
        crossed = torch.outer(across, about)
        return mean, self.products / count - crossed - crossed.T + torch.outer(about, about)
