"""The layout that is fitted before the network: what it finds, where it starts the gates, and when it is left alone."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sfumato.core.schedule import VP, Flow
from sfumato.data import Dataset
from sfumato.errors import NonFiniteError
from sfumato.media import Image
from sfumato.nn.image.layout import WithLayout
from sfumato.train import layout
from sfumato.train.build import build
from sfumato.train.feed import ImageFeed
from sfumato.train.recipe import load_recipe
from sfumato.train.tasks.denoise import DenoiseTrainee

LABELS = np.repeat(np.arange(2), 32)
CPU = torch.device("cpu")


def pictures() -> Dataset:
    """Two classes of 32 pictures, 8×8: each a pattern of its own, and noise."""
    dice = np.random.default_rng(0)
    patterns = dice.integers(60, 196, (2, 1, 8, 8))
    pixels = np.clip(patterns[LABELS] + dice.normal(0, 20, (64, 1, 8, 8)), 0, 255).astype(np.uint8)
    names = tuple(map(str, range(64)))
    return Dataset(Image(1), pixels, LABELS.astype(np.int64), ((),) * 64, names, ("a", "b"), (), (), "")


def work(*settings: str, side: int = 8) -> tuple[DenoiseTrainee, WithLayout]:
    small = ["network.width=8", "network.multipliers=[1]", "network.attention=[]", f"condition.layout={side}"]
    recipe: Any = load_recipe("digits", [*small, "network.patch=1", *settings])
    feed = ImageFeed(pictures(), reads="labels")
    task = DenoiseTrainee(recipe, build(recipe, feed.dataset), feed)
    network: Any = task.system.denoiser.network
    assert isinstance(network, WithLayout)
    return task, network


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PASSES", 30)


def pooled(x: Tensor, side: int) -> Tensor:
    return x.unflatten(-1, (side, 8 // side)).unflatten(-3, (side, 8 // side)).mean((-3, -1))


@pytest.mark.parametrize("side", [8, 4])
def test_a_map_is_the_mean_of_what_its_condition_allows(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PASSES", 100)
    task, network = work("condition.dropout=0.2", side=side)
    layout.fit_layout(task, CPU)
    x = torch.from_numpy(pictures().stored).float() / 127.5 - 1
    condition = task.conditioner([0, 1, None]).vector
    assert condition is not None
    with torch.no_grad():
        drawn = network.layout.draw(condition)
    for found, wanted in zip(drawn, (x[LABELS == 0], x[LABELS == 1], x), strict=True):
        wanted = pooled(wanted.mean(0), side)
        # a mean of 32 pictures, seen in random order by steps of a fading rate: as near as that lets it come
        assert (found - wanted).abs().max() < 0.1 and (found - wanted).abs().mean() < 0.02


def test_at_pure_noise_an_untrained_network_estimates_the_map() -> None:
    for settings, schedule in (
        (["parameterization.kind=v"], Flow()),
        (["parameterization.kind=flow"], Flow()),
        (["parameterization.kind=x0"], VP()),
    ):
        task, network = work("schedule.kind=" + ("flow" if schedule == Flow() else "vp"), *settings)
        layout.fit_layout(task, CPU)
        condition = task.conditioner([0, 1])
        x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        level = schedule(torch.tensor([schedule.last]))
        with torch.no_grad():
            assert condition.vector is not None
            seen = task.system.denoiser.parameterization(level).skip * x
            estimate = task.system.denoiser(x, level, condition).x0
            assert (estimate - seen - network.layout.draw(condition.vector)).abs().max() < 1e-5


def test_it_follows_from_the_seed_alone_and_leaves_the_network_as_it_was() -> None:
    def fitted(*settings: str) -> WithLayout:
        task, network = work(*settings)
        layout.fit_layout(task, CPU)
        return network

    torch.rand(3)
    one, again, other = fitted(), fitted(), fitted("train.seed=1")
    assert torch.equal(one.layout.leave.weight, again.layout.leave.weight)
    assert not torch.equal(one.layout.leave.weight, other.layout.leave.weight)
    untrained = work()[1].network.parameters()
    assert all(torch.equal(*both) for both in zip(one.network.parameters(), untrained, strict=True))


def test_a_learned_variance_is_not_laid_out() -> None:
    task, network = work("variance=learned", "loss.kind=hybrid")
    layout.fit_layout(task, CPU)
    condition = task.conditioner([0, 1]).vector
    assert condition is not None and network.layout.channels == 2
    with torch.no_grad():
        drawn = network.layout.draw(condition)
    assert drawn[:, 0].abs().max() > 0.1 and not drawn[:, 1].any()


def test_a_network_without_one_is_left_alone() -> None:
    recipe = load_recipe("digits", ["network.width=8", "network.multipliers=[1]", "network.attention=[]"])
    feed = ImageFeed(pictures(), reads="labels")
    task = DenoiseTrainee(recipe, build(recipe, feed.dataset), feed)
    before = [parameter.clone() for parameter in task.system.denoiser.parameters()]
    layout.fit_layout(task, CPU, lambda done, of: pytest.fail("there is nothing to fit"))
    assert all(torch.equal(*both) for both in zip(before, task.system.denoiser.parameters(), strict=True))


def test_it_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate has then fallen to zero as well."""
    now, rates = [0.0], []
    monkeypatch.setattr(layout.time, "monotonic", lambda: now[0])
    step = torch.optim.Adam.step

    def look(self: torch.optim.Adam, *arguments: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        now[0] += 1.0
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", look)
    task, _ = work()
    layout.fit_layout(task, CPU, seconds=5.0)
    assert rates == pytest.approx([layout._RATE * (1 - i / 5) for i in range(5)])


def test_progress_is_reported_and_numbers_that_are_not_finite_are_refused() -> None:
    task, _ = work()
    progress: list[tuple[int, int]] = []
    layout.fit_layout(task, CPU, lambda done, of: progress.append((done, of)))
    assert progress[0] == (64, 30 * 64) and progress[-1] == (30 * 64, 30 * 64)
    task.feed = replace_samples(task.feed)
    with pytest.raises(NonFiniteError, match="the error of the layout at step 0 is not finite"):
        layout.fit_layout(task, CPU)


def replace_samples(feed: Any) -> Any:
    class Broken(type(feed)):
        def samples(self, index: Tensor, view: Tensor) -> Tensor:
            return super().samples(index, view) * torch.nan

    return Broken(feed.dataset, reads="labels")
