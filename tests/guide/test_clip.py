"""Clipping: where it holds the estimate, and what it lets through."""

import math

import pytest
import torch
from distributions import SCHEDULE, Constant, correlated, error, normal

from sfumato.guide import StaticThreshold

ORACLE = correlated(4)
X_T, LEVEL = 3 * normal(5, 4), SCHEDULE(torch.tensor([0, 100, 500, 900, 999]))


@pytest.mark.parametrize("limit", [0.25, 1.0])
def test_the_estimate_is_held_within_its_limit_and_the_other_views_with_it(limit: float) -> None:
    free, held = ORACLE(X_T, LEVEL), StaticThreshold(ORACLE, limit)(X_T, LEVEL)
    assert torch.equal(held.x0, free.x0.clamp(-limit, limit))
    assert held.x0.abs().max() == limit
    assert error(LEVEL.alpha[:, None] * held.x0 + LEVEL.sigma[:, None] * held.eps, X_T) < 1e-12


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_neither_a_nan_nor_an_infinity_passes_for_a_number(broken: float) -> None:
    assert not StaticThreshold(Constant(SCHEDULE, broken))(X_T, LEVEL).x0.isfinite().any()
