"""Dropout whose draws belong to samples, not to batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from sfumato.errors import ShapeError


class _Draws:
    """The multiplier and the offset of each sample [b], and how many layers have drawn."""

    def __init__(self, seeds: Tensor) -> None:
        self.factor = _low(seeds << 1 | 1)  # odd, so that it permutes numbers of 32 bits
        self.offset = _low(seeds >> 31)
        self.layer = 0


_draws: ContextVar[_Draws | None] = ContextVar("draws", default=None)


@contextmanager
def sample_seeds(seeds: Tensor) -> Iterator[None]:
    """Within, `Dropout` draws for sample i of a batch from `seeds[i]` alone: int64 [b], 63 random bits each."""
    token = _draws.set(_Draws(seeds))
    try:
        yield
    finally:
        _draws.reset(token)


class Dropout(nn.Module):
    """`y = x·m/(1 − rate)` in training, m one with the probability 1 − rate and else zero, for each element of its own
    (Srivastava et al., 2014).

    Within `sample_seeds` the mask of a sample depends on its seed, on how many layers have drawn before, and on its
    own shape: neither on the samples beside it, nor on the device. For sample i and element j,

        m = [a_i·r_j + b_i mod 2³² ≥ rate·2³²],

    with a_i (odd) and b_i from the seed and r_j 32 random bits that are the layer's, so that elements are independent.
    Elsewhere torch's own dropout draws. There is nothing to save.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._bits: Tensor | None = None
        self._key: object = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        draws = _draws.get()
        if draws is None:
            return nn.functional.dropout(x, self.rate)
        if len(draws.factor) != len(x):
            raise ShapeError(f"dropout has the seeds of {len(draws.factor)} samples, and {len(x)} came: give one each")
        draws.layer += 1
        each = (len(x), *[1] * (x.ndim - 1))
        drawn = torch.addcmul(draws.offset.view(each), self._layer_bits(x, draws.layer), draws.factor.view(each))
        kept = drawn >= round(self.rate * 2**32) - 2**31  # of signed numbers
        return x * kept * (1 / (1 - self.rate))

    def _layer_bits(self, x: Tensor, layer: int) -> Tensor:
        """The r of one layer, like a sample of x: [1, *d]."""
        key = (layer, x.shape[1:], x.stride()[1:], x.device)
        if self._bits is None or self._key != key:
            stream = torch.Generator().manual_seed(layer)
            bits = torch.randint(-(2**31), 2**31, (1, *x.shape[1:]), generator=stream, dtype=torch.int32)
            self._bits, self._key = torch.empty_like(x[:1], dtype=torch.int32).copy_(bits), key
        return self._bits

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def _low(numbers: Tensor) -> Tensor:
    """The lowest 32 bits of each, as int32."""
    return ((numbers & 0xFFFFFFFF ^ 0x80000000) - 0x80000000).to(torch.int32)
