"""The diffusion transformer over sound and other sequences."""

import torch
from torch import Tensor

from sfumato.nn.dit_nd import DiTND
from sfumato.nn.embedding import scaled_sinusoids, sinusoidal


class DiT1D(DiTND):
    """A transformer over sequences [b, in_channels, n] → [b, out_channels, n], conditioned on the time and up to four
    inputs.

    The network of `DiT`, argument for argument, over n/patch vectors, each of `patch` samples in a row (DiT,
    arXiv:2212.09748, section 3.2, in one dimension; arXiv:2404.10301 has one over latents of sound, Stable Audio's).
    Positions are sinusoids of the index (arXiv:1706.03762, section 3.5), so any length that the patch divides will do;
    with a `base_size`, of the index scaled to run from 0 to base_size.
    """

    dims = 1

    def positions(self, size: tuple[int, ...], device: torch.device) -> Tensor:
        if self.base_size is None:
            return sinusoidal(torch.arange(size[0], device=device), self.width)
        return scaled_sinusoids(size[0], self.width // 2, self.base_size).to(device)
