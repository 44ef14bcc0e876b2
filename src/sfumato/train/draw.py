"""What a training step sees, as a pure function of (seed, step): no state, so a resumed run sees the same.

Every sample has a random stream of its own, seeded by (seed, its place in the endless order of samples), from which
its time, its view, whether its condition is dropped, which of its captions is read, and its noise are drawn, in that
order. Neither the number of
processes nor of workers changes a draw.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sfumato.condition import Prompt
from sfumato.data.order import indices
from sfumato.train.feed import Feed

MASK = 2**64 - 1


class Batch(NamedTuple):
    """One step's samples `x_0` [b, *d], uniform draws `u` for their times [b], noise, and what was drawn: the number
    of each in the data, its view, whether its condition is dropped, and a uniform draw that picks its caption [b]."""

    x_0: Tensor
    u: Tensor
    noise: Tensor
    sample: Tensor
    view: Tensor
    dropped: Tensor
    pick: Tensor


class Batches(Dataset[Batch]):
    """Item k is the batch of step k, or the share of it that process `rank` of `world` works on; `shape` is the
    noise's."""

    def __init__(
        self,
        feed: Feed,
        shape: tuple[int, ...],
        *,
        seed: int,
        batch: int,
        dropout: float,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.feed, self.shape, self.seed, self.batch = feed, shape, seed, batch
        self.dropout, self.rank, self.world = dropout, rank, world

    def __getitem__(self, step: int) -> Batch:
        index = torch.from_numpy(indices(self.seed, step, self.batch, len(self.feed.pictures)))[self.rank :: self.world]
        places = range(step * self.batch + self.rank, (step + 1) * self.batch, self.world)
        streams = [torch.Generator().manual_seed(mix(self.seed, place)) for place in places]
        u, view, drop, pick = torch.stack([torch.rand(4, generator=stream) for stream in streams]).unbind(1)
        noise = torch.cat([torch.randn(1, *self.shape, generator=stream) for stream in streams])
        view = (view * self.feed.views).long()
        return Batch(self.feed.samples(index, view), u, noise, index, view, drop < self.dropout, pick)


def prompts(feed: Feed, batch: Batch) -> list[Prompt]:
    """What each sample of a batch is told; None where its condition is dropped."""
    seen = zip(*(part.tolist() for part in (batch.sample, batch.view, batch.dropped, batch.pick)), strict=True)
    return [None if dropped else feed.prompt(i, view, pick) for i, view, dropped, pick in seen]


def mix(*numbers: int) -> int:
    """A seed from several numbers, each bit of which depends on all of them (SplitMix64's finaliser, chained)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state >> 1
