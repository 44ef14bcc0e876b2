"""Dynamic thresholding, and the noise that stays when x_0 is held."""

import pytest
import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Linear, Schedule
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError
from sfumato.guide import DynamicThreshold, StaticThreshold
from sfumato.sample import DDIM

NOW, THEN = Linear()(torch.tensor([500.0])), Linear()(torch.tensor([400.0]))


class Says:
    schedule: Schedule = Linear()

    def __init__(self, x0: Tensor) -> None:
        self.x0 = x0

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        return Estimate(x_t, level, self.x0)


X = torch.tensor([[0.5, -0.2, 1.0], [2.0, 0.0, -1.0]], dtype=torch.float64)
X0 = torch.tensor([[0.5, -0.2, 0.9], [3.0, -2.0, 1.0]], dtype=torch.float64)


def test_each_sample_has_its_own_bound() -> None:
    """The first lies within 1 and stays; the median of |x_0| of the second is 2."""
    found = DynamicThreshold(Says(X0), ratio=0.5, most=9.0)(X, NOW).x0
    assert torch.equal(found, torch.tensor([[0.5, -0.2, 0.9], [1.0, -1.0, 0.5]], dtype=torch.float64))


def test_as_it_comes_it_is_imagens() -> None:
    """Which has no upper bound: `s = max(quantile, 1)`."""
    s = X0.abs().flatten(1).quantile(0.995, dim=1).clamp(min=1)[:, None]
    found = DynamicThreshold(Says(X0))(X, NOW).x0
    assert torch.equal(found, X0.clamp(-s, s) / s)
    assert (found - StaticThreshold(Says(X0))(X, NOW).x0).abs().max() > 0.5


def test_the_bound_is_bounded() -> None:
    found = DynamicThreshold(Says(X0), ratio=1.0, most=1.5)(X, NOW).x0
    assert torch.allclose(found[1], torch.tensor([1.0, -1.0, 1 / 1.5], dtype=torch.float64))
    assert torch.equal(DynamicThreshold(Says(X0), most=1.0)(X, NOW).x0, StaticThreshold(Says(X0))(X, NOW).x0)


@pytest.mark.parametrize(
    "guide",
    [StaticThreshold(Says(X0), keep_eps=True), DynamicThreshold(Says(X0), keep_eps=True)],
    ids=["clip", "threshold"],
)
def test_the_noise_may_stay_what_it_was(guide: DenoiserLike) -> None:
    estimate, before = guide(X, NOW), Says(X0)(X, NOW)
    assert torch.equal(estimate.eps, before.eps) and torch.equal(estimate.rows(torch.tensor([1])).eps, before.eps[1:])
    assert torch.equal(StaticThreshold(guide)(X, NOW).eps, before.eps)
    moved, _ = DDIM().step(guide, X, NOW, THEN, None, Noise([0, 1]))
    assert torch.allclose(moved, THEN.alpha * estimate.x0 + THEN.sigma * before.eps, atol=1e-15)


@pytest.mark.parametrize("guide", [StaticThreshold(Says(X0)), DynamicThreshold(Says(X0))], ids=["clip", "threshold"])
def test_else_it_is_what_is_left(guide: DenoiserLike) -> None:
    estimate = guide(X, NOW)
    assert torch.allclose(NOW.alpha * estimate.x0 + NOW.sigma * estimate.eps, X, atol=1e-15)


@pytest.mark.parametrize(("ratio", "most"), [(0.0, 1.0), (1.1, 1.0), (0.9, 0.5)])
def test_what_is_no_threshold_is_refused(ratio: float, most: float) -> None:
    with pytest.raises(InputError, match="thresholding needs"):
        DynamicThreshold(Says(X0), ratio, most)(X, NOW)
