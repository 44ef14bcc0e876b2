"""What a training step sees, as a pure function of (seed, step): no state, so a resumed run sees the same.

Every sample has a random stream of its own, seeded by (seed, its place in the endless order of samples), from which
its time, its flip, whether its condition is dropped, and its noise are drawn, in that order. Neither the number of
processes nor of workers changes a draw.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sfumato.data.order import indices
from sfumato.data.prepare import Pictures

MASK = 2**64 - 1


class Batch(NamedTuple):
    """One step's samples: pictures in [−1, 1] [b, c, h, w], uniform draws `u` for their times [b], noise like the
    samples, the number of each in the data, and whether its condition is dropped [b]."""

    pictures: Tensor
    u: Tensor
    noise: Tensor
    sample: Tensor
    dropped: Tensor


class Batches(Dataset[Batch]):
    """Item k is the batch of step k, or the share of it that process `rank` of `world` works on."""

    def __init__(
        self,
        pictures: Pictures,
        shape: tuple[int, ...],
        *,
        seed: int,
        batch: int,
        flip: bool,
        dropout: float,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.pictures, self.shape, self.seed, self.batch = pictures, shape, seed, batch
        self.flip, self.dropout, self.rank, self.world = flip, dropout, rank, world

    def __getitem__(self, step: int) -> Batch:
        index = torch.from_numpy(indices(self.seed, step, self.batch, len(self.pictures)))[self.rank :: self.world]
        places = range(step * self.batch + self.rank, (step + 1) * self.batch, self.world)
        streams = [torch.Generator().manual_seed(mix(self.seed, place)) for place in places]
        u, flip, drop = torch.stack([torch.rand(3, generator=stream) for stream in streams]).unbind(1)
        noise = torch.cat([torch.randn(1, *self.shape, generator=stream) for stream in streams])
        x = torch.from_numpy(self.pictures.pixels[index.numpy()]).to(torch.float32) / 127.5 - 1
        if self.flip:
            x = torch.where((flip < 0.5)[:, None, None, None], x.flip(-1), x)
        return Batch(x, u, noise, index, drop < self.dropout)


def mix(*numbers: int) -> int:
    """A seed from several numbers, each bit of which depends on all of them (SplitMix64's finaliser, chained)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state >> 1
