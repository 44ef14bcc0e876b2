"""What a training step sees, as a pure function of (seed, step): no state, so a resumed run sees the same.

Every sample has a random stream of its own, seeded by (seed, its place in the endless order of samples), from which
its time, its view, whether its condition is dropped, which of its captions is read, and its noise are drawn, in that
order; and a seed for what dropout takes from it. Neither the number of processes nor of workers, nor the parts that a
batch is worked through in, change a draw.
"""

from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sfumato.condition import Conditioner, Nothing, Prompt
from sfumato.core.condition import Condition
from sfumato.core.process import Gaussian, Process
from sfumato.data.order import indices
from sfumato.train.feed import Feed

MASK = 2**64 - 1
DROPOUT = 1
"""Sets a sample's seed for dropout apart from that of its stream."""


class Batch(NamedTuple):
    """One step's samples `x_0` [b, *d], uniform draws `u` for their times [b], noise, and what was drawn: the number
    of each in the data, its view, whether its condition is dropped, a uniform draw that picks its caption, and the
    seed of what the network drops [b]; and the `condition` of each."""

    x_0: Tensor
    u: Tensor
    noise: Tensor
    sample: Tensor
    view: Tensor
    dropped: Tensor
    pick: Tensor
    seed: Tensor
    condition: Condition

    def parts(self, n: int) -> list["Batch"]:
        """The batch in n parts, each of as many samples but for the last."""
        size = -(-len(self.sample) // n)
        return [self._part(slice(start, start + size)) for start in range(0, len(self.sample), size)]

    def _part(self, own: slice) -> "Batch":
        *tensors, condition = self
        return Batch(*(value[own] for value in tensors), condition=condition.map(itemgetter(own)))


class Batches(Dataset[Batch]):
    """Item k is the batch of step k, or the share of it that process `rank` of `world` works on.

    `shape` is the noise's, which `process` draws; `conditioner` gives the condition of a prompt. All that can be made
    before the step is made here, where workers may read ahead.
    """

    def __init__(
        self,
        feed: Feed,
        shape: tuple[int, ...],
        *,
        seed: int,
        batch: int,
        dropout: float,
        conditioner: Conditioner = Nothing(),
        process: Process = Gaussian(),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.feed, self.shape, self.seed, self.batch = feed, shape, seed, batch
        self.dropout, self.conditioner, self.process = dropout, conditioner, process
        self.rank, self.world = rank, world

    def __getitem__(self, step: int) -> Batch:
        index = torch.from_numpy(indices(self.seed, step, self.batch, len(self.feed.dataset)))[self.rank :: self.world]
        places = range(step * self.batch + self.rank, (step + 1) * self.batch, self.world)
        streams = [torch.Generator().manual_seed(mix(self.seed, place)) for place in places]
        u, view, drop, pick = torch.stack([torch.rand(4, generator=stream) for stream in streams]).unbind(1)
        noise = self.process.noise(streams, *self.shape)
        view, dropped = (view * self.feed.views).long(), drop < self.dropout
        condition = data_condition(self.feed, self.conditioner, self._prompts(index, view, dropped, pick), index, view)
        seeds = torch.tensor([mix(self.seed, place, DROPOUT) for place in places])
        return Batch(self.feed.samples(index, view), u, noise, index, view, dropped, pick, seeds, condition)

    def _prompts(self, *drawn: Tensor) -> list[Prompt]:
        """The prompt of each sample; None where its condition is dropped."""
        seen = zip(*(values.tolist() for values in drawn), strict=True)
        return [None if dropped else self.feed.prompt(i, view, pick) for i, view, dropped, pick in seen]


def data_condition(
    feed: Feed, conditioner: Conditioner, prompts: Sequence[Prompt], index: Tensor, view: Tensor
) -> Condition:
    """The condition of data `index` [b] in the views `view` [b]: the conditioner's of their prompts, and what the feed
    has beside the samples, which stays where a prompt is dropped."""
    condition, concat = conditioner(prompts), feed.concat(index, view)
    return condition if concat is None else replace(condition, concat=concat)


def mix(*numbers: int) -> int:
    """A seed from several numbers, each bit of which depends on all of them (SplitMix64's finaliser, chained)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
        state ^= state >> 31
    return state >> 1
