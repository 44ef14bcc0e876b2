"""Samples of one batch may stand at levels of their own, and never depend on one another."""

from itertools import pairwise

import pytest
import torch
from matrix import SAMPLERS, SCHEDULES, each_pair, error, levels, network, normal, run, stack

from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.oracle import GaussianDenoiser, finite
from sfumato.sample import sample

POINTS = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)


@each_pair()
def test_a_batch_at_many_levels_steps_as_each_sample_alone(sampler: str, schedule: str) -> None:
    """Two steps each, at the beginning, in the middle and at the end of grids of different lengths, all at once."""
    places = ((7, 0), (30, 11), (10, 8), (10, 4))
    pairs = [list(pairwise(levels(schedule, "trailing", steps)))[k : k + 2] for steps, k in places]
    rule, denoiser = SAMPLERS[sampler], network(finite(SCHEDULES[schedule], POINTS), "v")
    x = normal(len(pairs), 2)

    def stepped(which: list[int]) -> torch.Tensor:
        moved, state, noise = x[which], rule.init(x[which], [*pairs[0][0], pairs[0][1][1]]), Noise(which)
        for k in range(2):
            now, then = (stack([pairs[i][k][end] for i in which]) for end in (0, 1))
            with torch.no_grad():
                moved, state = rule.step(denoiser, moved, now, then, state, noise)
        return moved

    together = stepped([0, 1, 2, 3])
    assert together.isfinite().all()
    for i in range(len(pairs)):
        assert error(together[[i]], stepped([i])) < 1e-12


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_depends_on_its_seed_and_not_on_its_neighbours_or_their_order(sampler: str) -> None:
    denoiser = network(finite(SCHEDULES["cosine"], POINTS), "eps")
    path = levels("cosine", "trailing", 10)

    def draw(seeds: list[int]) -> dict[int, torch.Tensor]:
        noise = Noise(seeds)
        start = noise(2).double()
        *_, last = sample(denoiser, SAMPLERS[sampler], start, path, noise=noise)
        return dict(zip(seeds, last, strict=True))

    together, shuffled = draw([3, 1, 4, 15]), draw([15, 4, 3, 1])
    assert len({tuple(x.tolist()) for x in together.values()}) > 1
    for seed, x in together.items():
        assert error(x, draw([seed])[seed]) < 1e-12
        assert error(x, shuffled[seed]) < 1e-12


def test_one_level_stands_for_a_whole_batch() -> None:
    path = levels("linear", "uniform", 10)
    each = [Level(*(field.expand(5) for field in level)) for level in path]
    denoiser, x = network(finite(SCHEDULES["linear"], POINTS), "v"), normal(5, 2)
    for sampler in SAMPLERS.values():
        seeds = range(5)
        *_, shared = sample(denoiser, sampler, x, path, noise=Noise(seeds))
        *_, own = sample(denoiser, sampler, x, each, noise=Noise(seeds))
        assert error(shared, own) < 1e-12


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sequences_and_pictures_take_the_steps_of_their_elements(sampler: str) -> None:
    """Samples [b, c, n] and [b, c, h, w] end where the same numbers in one axis do."""
    mean, std = normal(8, seed=1), normal(8, seed=2).abs() + 0.1

    def ends(*shape: int) -> torch.Tensor:
        denoiser = GaussianDenoiser(SCHEDULES["linear"], mean.reshape(shape), std.reshape(shape))
        return run(denoiser, sampler, normal(3, *shape), levels("linear", "trailing", 5))[-1]

    flat = ends(8)
    for shape in ((2, 4), (1, 8), (2, 2, 2)):
        assert error(ends(*shape).flatten(1), flat) < 1e-12
