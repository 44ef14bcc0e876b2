"""Data of several kinds: samples fall on each kind as often as the data does, and on nothing else."""

import math

import pytest
import torch
from matrix import SAMPLERS, SCHEDULES, dense, each_pair, ends_in_noise, error, levels, network, normal, run
from torch import Tensor

from sfumato.core.gaussian import marginal
from sfumato.core.level import Level
from sfumato.oracle import MixtureDenoiser, finite
from sfumato.sample import IPNDM, LMS

N = 2_000
WEIGHTS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.0], [0.0, -1.5]], dtype=torch.float64)
STDS = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64)


def start(level: Level, weights: Tensor, stds: Tensor) -> Tensor:
    """Samples from the exact law at the level where a grid starts, so that what is measured is the sampler."""
    which = torch.multinomial(weights, N, replacement=True, generator=torch.Generator().manual_seed(5))
    x_0 = MEANS[which] + stds[which, None] * normal(N, 2, seed=6)
    return marginal(x_0, level).sample(normal(N, 2, seed=7))


def nearest(x: Tensor) -> Tensor:
    return torch.cdist(x, MEANS).argmin(1)


def assert_shares(which: Tensor, weights: Tensor) -> None:
    """Each kind's share is within four standard errors of its weight; the start was drawn at random too."""
    shares = torch.bincount(which, minlength=len(weights)) / len(which)
    for share, weight in zip(shares.tolist(), weights.tolist(), strict=True):
        assert share == pytest.approx(weight, abs=4 * math.sqrt(weight * (1 - weight) / N))


@each_pair(one_in=13)
def test_each_component_has_its_weight_its_mean_and_its_spread(sampler: str, schedule: str) -> None:
    oracle = MixtureDenoiser(SCHEDULES[schedule], WEIGHTS, MEANS, STDS)
    path = dense(schedule, 100)
    found = run(network(oracle, "v"), sampler, start(path[0], WEIGHTS, STDS), path)[-1]
    which = nearest(found)
    assert_shares(which, WEIGHTS)
    for k in range(3):
        assert error(found[which == k].mean(0), MEANS[k]) < 0.03
        assert error(found[which == k].std(0), STDS[k]) < 0.05


@each_pair(one_in=13)
def test_samples_of_a_finite_data_set_are_its_points_each_as_often(sampler: str, schedule: str) -> None:
    oracle = finite(SCHEDULES[schedule], MEANS)
    even = torch.full((3,), 1 / 3, dtype=torch.float64)
    path = dense(schedule, 50)
    x = start(path[0], even, torch.zeros(3, dtype=torch.float64))
    found = run(network(oracle, "x0" if ends_in_noise(schedule) else "eps"), sampler, x, path)[-1]
    which = nearest(found)
    extrapolates = isinstance(SAMPLERS[sampler], LMS | IPNDM)  # from the eps of steps before, onto clean data too
    assert ((found - MEANS[which]).norm(dim=1) < (0.02 if extrapolates else 1e-6)).float().mean() > 0.99
    assert extrapolates or error(found, MEANS[which]) < 1e-6
    assert_shares(which, even)


def test_pure_noise_is_start_enough_where_the_schedule_ends_in_it() -> None:
    found = run(finite(SCHEDULES["cosine"], MEANS), "ddim", normal(N, 2), levels("cosine", "trailing", 100))[-1]
    assert_shares(nearest(found), torch.full((3,), 1 / 3, dtype=torch.float64))
