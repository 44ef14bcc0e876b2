"""Random numbers that belong to a sample: its own seed, its own stream."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from sfumato.errors import ShapeError

Streams = Sequence[torch.Generator]
"""A random stream for each sample, on the CPU."""


def normal(streams: Streams, *shape: int) -> Tensor:
    """The next standard normal numbers of each stream: [b, *shape], float32, on the CPU."""
    # type and device are named, as a caller may have set others for tensors that name none
    draw = partial(torch.randn, 1, *shape, dtype=torch.float32, device="cpu")
    return torch.cat([draw(generator=stream) for stream in streams])


def uniform(streams: Streams, *shape: int) -> Tensor:
    """The next uniform numbers in [0, 1) of each stream: [b, *shape], float64, on the CPU.

    In float64, as tokens are drawn by them: rounding to float32 makes rare tokens rarer (arXiv:2409.02908).
    """
    draw = partial(torch.rand, 1, *shape, dtype=torch.float64, device="cpu")
    return torch.cat([draw(generator=stream) for stream in streams])


class Noise:
    """Noise of each sample from its own seed, so that no sample depends on its neighbours.

    The first draw of seed s is `torch.randn(1, *d, generator=torch.Generator("cpu").manual_seed(s))` in float32, as in
    other tools; later draws continue that stream. Drawn on the CPU whatever the device, so devices agree too.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.streams: Streams = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def __call__(self, *shape: int) -> Tensor:
        """The next standard normal draw of each sample: [b, *shape], float32, on the CPU."""
        return normal(self.streams, *shape)

    def like(self, x: Tensor) -> Tensor:
        """The next standard normal draw for samples x, [b, *d], in their type and on their device.

        A `ShapeError` unless b is the number of seeds.
        """
        self._check(x)
        return self(*x.shape[1:]).to(x.device, x.dtype)

    def uniform_like(self, x: Tensor) -> Tensor:
        """The next uniform draw in [0, 1) for samples x, [b, *d]: float64, on their device.

        A `ShapeError` unless b is the number of seeds.
        """
        self._check(x)
        return uniform(self.streams, *x.shape[1:]).to(x.device)

    def _check(self, x: Tensor) -> None:
        if len(x) != len(self.streams):
            raise ShapeError(f"noise of {len(self.streams)} seeds was asked for {len(x)} samples: each needs its own")
