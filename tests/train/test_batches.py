"""What a step sees: a function of (seed, step) and nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from condition.small_encoder import Waves
from sfumato.condition import EncodedText
from sfumato.core.condition import Condition
from sfumato.data import Dataset, indices
from sfumato.media import Image
from sfumato.train.batches import Batch, Batches, mix
from sfumato.train.feed import ImageFeed


def pictures(n: int) -> Dataset:
    """n pictures, [1, 2, 4], whose left half is dark and whose right half says which they are."""
    pixels = np.zeros((n, 1, 2, 4), dtype=np.uint8)
    pixels[..., 2:] = np.arange(1, n + 1, dtype=np.uint8)[:, None, None, None]
    names = tuple(str(i) for i in range(n))
    return Dataset(Image(pixels.shape[1]), pixels, None, ((),) * n, names, (), (), (), "")


def batches(n: int = 20, **changes: Any) -> Batches:
    options: dict[str, Any] = {"seed": 3, "batch": 6, "flip": True, "dropout": 0.5} | changes
    return Batches(ImageFeed(pictures(n), options.pop("flip")), (1, 2, 4), **options)


def same(one: Any, other: Any) -> bool:
    """Of two batches, or of the inputs of two conditions: whether all tensors are."""
    return all(
        same(a.given().values(), b.given().values()) if isinstance(a, Condition) else torch.equal(a, b)
        for a, b in zip(one, other, strict=True)
    )


# Batches --------------------------------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    one, other = batches(), batches()
    first = {step: one[step] for step in (0, 1, 7, 10**6)}
    torch.manual_seed(99)
    torch.rand(5)
    assert all(same(other[step], first[step]) for step in (10**6, 1, 0, 7, 1)), "in any order, as often as one likes"
    assert not same(first[0], first[1])
    assert not torch.equal(batches(seed=4)[0].noise, first[0].noise)


def test_drawing_leaves_the_stream_of_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    batches()[0]
    assert torch.equal(torch.rand(1), expected)


def test_a_batch_has_the_samples_of_its_step() -> None:
    data = batches(flip=False)
    for step in (0, 3, 11):
        batch = data[step]
        assert batch.sample.tolist() == indices(3, step, 6, 20).tolist()
        assert batch.x_0.shape == batch.noise.shape == (6, 1, 2, 4) and batch.x_0.dtype == torch.float32
        values = (batch.x_0[:, 0, 0, 3] + 1) * 127.5
        assert (values - (batch.sample + 1)).abs().max() < 1e-4
        assert (batch.x_0[..., :2] == -1).all()
        assert batch.u.shape == batch.dropped.shape == (6,) and ((batch.u >= 0) & (batch.u < 1)).all()


def test_a_batch_has_the_condition_of_its_prompts_and_is_cut_with_it() -> None:
    """Captions are of many lengths; each sample keeps its own, whichever part it comes into."""
    captions = ["a" + " cat" * (i % 5) for i in range(20)]
    feed = ImageFeed(replace(pictures(20), captions=tuple((caption,) for caption in captions)), reads="captions")
    batch = Batches(feed, (1,), seed=3, batch=6, dropout=0.5, conditioner=EncodedText(Waves()))[1]
    drawn = zip(batch.sample.tolist(), batch.dropped.tolist(), strict=True)
    prompts = [None if dropped else captions[i] for i, dropped in drawn]
    assert None in prompts and len(set(prompts)) > 2
    wanted, parts = EncodedText(Waves())(prompts), batch.parts(3)
    assert [len(part.sample) for part in parts] == [2, 2, 2]
    joined = [torch.cat(values) for values in zip(*(part[:-1] for part in parts), strict=True)]
    assert same([*joined, Condition.cat([part.condition for part in parts])], batch) and same(
        [batch.condition], [wanted]
    )


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch_in_turn(world: int) -> None:
    whole = batches()
    shares = [batches(rank=rank, world=world) for rank in range(world)]
    for step in (0, 5):
        for name, value in zip(Batch._fields, whole[step][:-1], strict=False):
            together = torch.empty_like(value)
            for rank, share in enumerate(shares):
                together[rank::world] = getattr(share[step], name)
            assert torch.equal(together, value), name


def test_half_are_flipped_and_as_many_dropped_as_asked() -> None:
    data = batches(n=200, batch=200, dropout=0.2)
    drawn = [data[step] for step in range(40)]
    flipped = torch.cat([batch.x_0[:, 0, 0, 0] > -1 for batch in drawn]).double()
    dropped = torch.cat([batch.dropped for batch in drawn]).double()
    n, share = len(flipped), 4 / len(flipped) ** 0.5  # four standard deviations of a fair coin are 2/√n
    assert n == 8000
    assert abs(flipped.mean() - 0.5) < share / 2 and abs(dropped.mean() - 0.2) < share / 2
    assert abs((flipped * dropped).mean() - 0.1) < share / 2, "and one has nothing to do with the other"


def test_what_is_drawn_for_a_sample_has_nothing_to_do_with_what_else_is() -> None:
    """Its time, its view, whether its condition is dropped, and which of its captions is read."""
    drawn = [batches(n=200, batch=200, dropout=0.3)[step] for step in range(40)]
    columns = [
        torch.cat([getattr(batch, name).double() for batch in drawn]) for name in ("u", "view", "dropped", "pick")
    ]
    apart = torch.corrcoef(torch.stack(columns)) - torch.eye(4)
    assert apart.abs().max() < 4 / len(columns[0]) ** 0.5


def test_all_or_none_may_be_dropped() -> None:
    assert all(not batches(dropout=0.0)[step].dropped.any() for step in range(50))
    assert all(batches(dropout=1.0)[step].dropped.all() for step in range(50))


def test_noise_is_standard_and_times_are_uniform() -> None:
    data = batches(n=200, batch=200)
    drawn = [data[step] for step in range(40)]
    noise, u = torch.cat([batch.noise for batch in drawn]), torch.cat([batch.u for batch in drawn])
    assert abs(noise.mean()) < 4 / noise.numel() ** 0.5
    assert abs(noise.var() - 1) < 4 * (2 / noise.numel()) ** 0.5
    found = torch.histc(u, 10, 0, 1) / len(u)
    assert (found - 0.1).abs().max() < 4 * (0.09 / len(u)) ** 0.5
    correlation = torch.corrcoef(torch.stack([u, noise[:, 0, 0, 0]]))[0, 1]
    assert abs(correlation) < 4 / len(u) ** 0.5


def test_a_sample_draws_anew_each_time_it_is_seen() -> None:
    data = batches(n=6)
    seen = torch.stack([data[step].noise[data[step].sample.argsort()] for step in range(30)])
    assert seen.flatten(1).unique(dim=0).shape[0] == 30
    assert seen[:, 0].flatten(1).unique(dim=0).shape[0] == 30


def test_a_sample_that_a_batch_holds_twice_draws_twice() -> None:
    batch = batches(n=3, batch=12)[0]
    assert sorted(batch.sample.tolist()) == sorted([0, 1, 2] * 4)
    assert batch.noise.flatten(1).unique(dim=0).shape[0] == 12
    assert batch.u.unique().shape[0] == 12


# Seeds ----------------------------------------------------------------------------------------------------------------


def test_seeds_do_not_collide() -> None:
    grid = [(seed, step, i) for seed in range(40) for step in range(80) for i in range(80)]
    seeds = {mix(*numbers) for numbers in grid}
    assert len(seeds) == len(grid) and all(0 <= seed < 2**63 for seed in seeds)


def test_a_single_number_is_mixed_as_the_published_splitmix64() -> None:
    """Its first outputs from the seeds 0 and 1234567 (Steele, Lea & Flood, 2014; prng.di.unimi.it/splitmix64.c)."""
    assert mix(0) == 0xE220A8397B1DCDAF >> 1
    assert mix(1234567) == 6457827717110365317 >> 1


def test_the_order_and_the_number_of_numbers_count() -> None:
    few = [mix(), mix(0), mix(0, 0), mix(0, 0, 0), mix(1), mix(1, 0), mix(0, 1), mix(1, 0, 0), mix(0, 1, 0)]
    assert len(set(few)) == len(few)
    assert mix(2**63 - 1, 10**9, 10**9) != mix(2**63 - 2, 10**9, 10**9)


def test_each_bit_of_a_seed_depends_on_each_number() -> None:
    changed = []
    for numbers in ((5, 100, 7), (0, 0, 0), (2**40, 3, 2**20)):
        for place in range(3):
            for bit in range(30):
                other = [number ^ (1 << bit) * (i == place) for i, number in enumerate(numbers)]
                changed.append([int(digit) for digit in f"{mix(*numbers) ^ mix(*other):063b}"])
    share = np.mean(changed, axis=0)
    assert abs(share.mean() - 0.5) < 0.02 and share.min() > 0.3 and share.max() < 0.7
