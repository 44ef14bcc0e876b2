"""Noise that belongs to a sample: its own seed, its own stream."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from sfumato.errors import ShapeError


class Noise:
    """Standard normal noise, each sample's from its own seed, so that a sample never depends on its neighbours.

    The first draw of seed s is `torch.randn(1, *d, generator=torch.Generator("cpu").manual_seed(s))` in float32, as in
    other tools; later draws continue that stream. Drawn on the CPU whatever the device, so devices agree too.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._streams = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]

    def __call__(self, *shape: int) -> Tensor:
        """The next draw of each sample: [b, *shape], float32, on the CPU."""
        # type and device are named, as a caller may have set others for tensors that name none
        draw = partial(torch.randn, 1, *shape, dtype=torch.float32, device="cpu")
        return torch.cat([draw(generator=stream) for stream in self._streams])

    def like(self, x: Tensor) -> Tensor:
        """The next draw for samples x, [b, *d], in their type and on their device; b must be the number of seeds."""
        if len(x) != len(self._streams):
            raise ShapeError(f"noise of {len(self._streams)} seeds was asked for {len(x)} samples: each needs its own")
        return self(*x.shape[1:]).to(x.device, x.dtype)
