"""The order of samples, without state: which samples a step sees follows from the seed and the step alone."""

import operator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sfumato.errors import InputError

Indices = npt.NDArray[np.int64]


def indices(seed: int, step: int, batch: int, n: int) -> Indices:
    """The samples that step `step` (from 0) sees: int64 [batch], each 0 to n - 1.

    Position p = step * batch + k of the endless sequence is place p mod n of epoch p // n; each epoch is a permutation
    of all n samples that depends on (seed, epoch) only. So batches run on across epochs, every epoch visits each sample
    exactly once, and the sequence is the same for every batch size.

    `seed` and `step` are 0 to 2**63. Raises InputError for a number out of range.
    """
    seed, step = _whole("seed", seed, 0), _whole("step", step, 0)
    batch, n = _whole("batch", batch, 1), _whole("n", n, 1)
    parts: list[Indices] = []
    position, end = step * batch, (step + 1) * batch
    while position < end:
        epoch, start = divmod(position, n)
        part = _permutation(seed, epoch, n)[start : start + end - position]
        parts.append(part)
        position += len(part)
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> Indices:
    # Sorting raw bits, not Generator.permutation: numpy keeps the streams of its bit generators from version to
    # version, but not what Generator makes of them.
    bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(epoch,))).random_raw(n)
    order = np.argsort(bits, kind="stable").astype(np.int64, copy=False)
    order.flags.writeable = False
    return order


def _whole(name: str, value: int, low: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not low <= number <= 2**63:
        raise InputError(f"{name}: expected a whole number, {low} to 2**63, came {value!r}")
    return number
