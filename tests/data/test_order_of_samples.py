"""The order of samples is a function of seed and step, and each epoch a permutation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.data import indices
from sfumato.errors import InputError

seeds = st.integers(0, 2**63)
small = st.integers(1, 40)
PINNED = [6, 3, 8, 1, 4, 5, 9, 2, 7, 0]


@given(seed=seeds, batch=small, n=small, epochs=st.integers(1, 4))
@settings(deadline=None)
def test_each_epoch_visits_each_sample_once(seed: int, batch: int, n: int, epochs: int) -> None:
    steps = -(-epochs * n // batch)
    flat = np.concatenate([indices(seed, step, batch, n) for step in range(steps)])[: epochs * n]
    for epoch in flat.reshape(epochs, n):
        assert sorted(epoch) == list(range(n))


@given(seed=seeds, batches=st.tuples(small, small), n=small)
@settings(deadline=None)
def test_the_sequence_is_the_same_for_every_batch_size(seed: int, batches: tuple[int, int], n: int) -> None:
    one, two = (np.concatenate([indices(seed, step, b, n) for step in range(100 // b + 1)])[:100] for b in batches)
    np.testing.assert_array_equal(one, two)


@given(seed=seeds, step=st.integers(0, 2**63), batch=small, n=small)
@settings(deadline=None)
def test_a_step_needs_no_other_step(seed: int, step: int, batch: int, n: int) -> None:
    found = indices(seed, step, batch, n)
    assert found.shape == (batch,) and found.dtype == np.int64
    assert found.min() >= 0 and found.max() < n
    indices(seed, 0, batch, n)
    np.testing.assert_array_equal(found, indices(seed, step, batch, n))


def test_seeds_and_epochs_differ_and_words_do_not_run_together() -> None:
    n = 50
    pairs = [(0, 0), (0, 1), (1, 0), (1, 2), (1 + 2 * 2**32, 0), (2**63, 0), (0, 2**40)]
    found = {tuple(indices(seed, epoch, n, n).tolist()) for seed, epoch in pairs}
    assert len(found) == len(pairs)


def test_the_order_is_pinned() -> None:
    # A run may be resumed by a later version: these numbers must never change.
    assert indices(0, 0, 10, 10).tolist() == PINNED


def test_the_result_is_the_callers_own() -> None:
    first = indices(7, 0, 5, 5)
    first[:] = 0
    assert sorted(indices(7, 0, 5, 5)) == list(range(5))


def test_every_place_is_as_likely() -> None:
    first = np.bincount([indices(seed, 0, 1, 4)[0] for seed in range(4000)], minlength=4)
    assert np.abs(first - 1000).max() < 150


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((-1, 0, 1, 1), r"seed: expected a whole number, 0 to 2\*\*63, came -1"),
        ((0, 1.5, 1, 1), "step: expected a whole number, .*, came 1.5"),
        ((0, 0, 0, 1), r"batch: expected a whole number, 1 to 2\*\*63, came 0"),
        ((0, 0, 1, 0), "n: expected"),
        ((True, 0, 1, 1), "seed: .* came True"),
        ((2**63 + 1, 0, 1, 1), "seed: expected"),
    ],
)
def test_wrong_numbers_are_named(arguments: tuple[int, int, int, int], text: str) -> None:
    with pytest.raises(InputError, match=text):
        indices(*arguments)
    assert indices(np.int64(1), np.int64(0), 1, 1).tolist() == [0]  # type: ignore[arg-type]
