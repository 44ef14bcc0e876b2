"""Looking on: the last estimate is kept, and nothing is changed."""

import torch
from distributions import SCHEDULE, correlated, normal

from sfumato.guide import Watch


def test_the_last_estimate_is_kept_and_passed_on_unchanged() -> None:
    oracle, x_t, level = correlated(4), normal(5, 4), SCHEDULE(torch.tensor([300]))
    watch = Watch(oracle)
    assert watch.last is None
    for x in (x_t, -x_t):
        estimate = watch(x, level)
        assert watch.last is estimate
        assert torch.equal(estimate.x0, oracle(x, level).x0)
