"""Classifier guidance."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.denoise import DenoiserLike
from sfumato.errors import ShapeError
from sfumato.guide.base import Guide
from sfumato.guide.gradient import gradient, tracking_gradients, without_inference, x0_shift


@dataclass(frozen=True)
class Classifier(Guide):
    """`score = score + scale·∇ log p(y | x_t)`, so `x_0 = x_0 + scale·(sigma²/alpha)·∇ log p(y | x_t)`.

    (ADM, arXiv:2105.05233, eq. 14, with the scale of its algorithm 1.) ADM's algorithm 1 is for ancestral sampling, and
    adds `scale·Σ·∇ log p` to the mean of the step, Σ its variance. With `Ancestral` the shift of x_0 adds
    `scale·β/√(1 − β)·∇ log p` whatever the variance, as Bayes' rule asks. Where Σ is small or learned, a scale that was
    tuned for ADM is stronger here near the data: 2.2 times at t = 1 of 1,000, 1.16 at 10, 1.02 at 100.

    `log_prob(x_t, level)` is `log p(y | x_t)` of each sample by itself, [b, *d] → [b], of a classifier of noisy
    samples; y is fixed in it. With the true likelihood, scale 1 gives `E[x_0 | x_t, y]`. Scale 0 is off, and does not
    evaluate it.

    At alpha 0 nothing changes: x_t is independent of the data, so the gradient is 0 there. Guidance (in the limit,
    `E[x_0 | y]`) begins at the next level.
    """

    denoiser: DenoiserLike
    log_prob: Callable[[Tensor, Level], Tensor]
    scale: float = 1.0

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        estimate = self.estimate(x_t, level, condition)
        if self.scale == 0:
            return estimate
        with tracking_gradients(x_t) as (x, followed):
            log_p = self.log_prob(x, Level(*map(without_inference, level)))
            if log_p.shape != (len(x),):
                raise ShapeError(
                    f"log_prob must give one number a sample, [{len(x)}], not {list(log_p.shape)}:"
                    " pick or sum the numbers of each sample"
                )
            push = gradient(log_p.sum(), x, None, followed, "log_prob")
        return replace(estimate, x0=estimate.x0 + self.scale * x0_shift(level, push))
