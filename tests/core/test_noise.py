"""Noise belongs to a sample: its seed decides it, and nothing else does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sfumato.core.noise import Noise
from sfumato.errors import ShapeError

seeds = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=5, unique=True)


def usual(seed: int, *shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator("cpu").manual_seed(seed))


@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 + 7, 2**63 - 1])
@pytest.mark.parametrize("shape", [(3, 8, 8), (1,), (2, 100)])
def test_the_first_draw_of_a_seed_is_that_of_other_tools(seed: int, shape: tuple[int, ...]) -> None:
    noise = Noise([seed])(*shape)
    assert torch.equal(noise, usual(seed, *shape))
    assert noise.dtype == torch.float32 and noise.device.type == "cpu"


@given(seeds=seeds, data=st.data())
def test_a_seed_gives_the_same_alone_in_a_batch_and_in_any_order(seeds: list[int], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(seeds))
    together, otherwise = Noise(seeds), Noise(shuffled)
    alone = {seed: Noise([seed]) for seed in seeds}
    for shape in [(2, 3), (5,)]:
        here, there = together(*shape), otherwise(*shape)
        for i, seed in enumerate(seeds):
            mine = alone[seed](*shape)
            assert torch.equal(here[[i]], mine)
            assert torch.equal(there[[shuffled.index(seed)]], mine)


def test_later_draws_continue_the_stream() -> None:
    stream = torch.Generator("cpu").manual_seed(5)
    noise = Noise([5])
    for _ in range(3):
        assert torch.equal(noise(4), torch.randn(1, 4, generator=stream))


def test_noise_like_samples_has_their_shape_and_type() -> None:
    x = torch.zeros(2, 3, 4, dtype=torch.bfloat16)
    noise = Noise([1, 2]).like(x)
    assert noise.shape == x.shape and noise.dtype == x.dtype
    assert torch.equal(noise, torch.cat([usual(1, 3, 4), usual(2, 3, 4)]).bfloat16())


def test_the_global_state_is_neither_read_nor_changed() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Noise([3])(4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(Noise([3])(4), first)


def test_the_type_and_device_of_what_names_none_are_a_callers_own() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            noise = Noise([3])(4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(noise, usual(3, 4)) and noise.dtype == torch.float32


def test_samples_without_a_seed_of_their_own_get_no_noise() -> None:
    with pytest.raises(ShapeError, match="noise of 1 seeds was asked for 3 samples: each needs its own"):
        Noise([0]).like(torch.zeros(3, 2))
