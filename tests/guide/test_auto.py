"""Autoguidance: the line between two models, and what each is asked."""

import pytest
import torch
from distributions import SCHEDULE, Conditional, Correlated, correlated, error, normal

from sfumato.core.condition import Condition
from sfumato.core.schedule import Cosine
from sfumato.errors import InputError
from sfumato.guide import Autoguidance

D = 4
X_T, LEVEL = normal(5, D), SCHEDULE(torch.tensor([0, 100, 500, 900, 999]))
CONDITION = Condition(torch.tensor([[1.0], [-0.5], [2.0], [0.5], [1.5]]))
GOOD = correlated(D)
WEAK = Correlated(SCHEDULE, GOOD.mean + 0.3, 1.5 * GOOD.cov)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("view", ["x0", "eps", "v", "flow", "score"])
def test_it_leads_away_from_the_weak_model_in_every_view_under_one_condition(view: str, scale: float) -> None:
    good, weak = (getattr(Conditional(oracle)(X_T, LEVEL, CONDITION), view) for oracle in (GOOD, WEAK))
    wanted = weak + scale * (good - weak)
    found = getattr(Autoguidance(Conditional(GOOD), Conditional(WEAK), scale)(X_T, LEVEL, CONDITION), view)
    assert error(found / wanted.abs().clamp(min=1), wanted / wanted.abs().clamp(min=1)) < 1e-9


@pytest.mark.parametrize(("scale", "asked"), [(1.0, []), (2.0, [5])])
def test_scale_one_does_not_ask_the_weak_model(scale: float, asked: list[int]) -> None:
    good, weak = Conditional(GOOD), Conditional(WEAK)
    Autoguidance(good, weak, scale)(X_T, LEVEL, CONDITION)
    assert good.batches == [5] and weak.batches == asked


def test_a_weak_model_of_another_schedule_is_refused() -> None:
    with pytest.raises(InputError, match=r"the schedule of the other, Linear\(.*and not on Cosine\("):
        Autoguidance(GOOD, Correlated(Cosine(), WEAK.mean, WEAK.cov), 2.0)(X_T, LEVEL)
