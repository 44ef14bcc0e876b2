"""Classifier-free guidance."""

from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.level import Level
from sfumato.denoise import DenoiserOf
from sfumato.errors import InputError, ShapeError
from sfumato.guide.base import AnyEstimate, Guide


@dataclass(frozen=True)
class ClassifierFree(Guide, Generic[AnyEstimate]):
    """`x_0 = x_0(null) + scale·(x_0(condition) − x_0(null))` (CFG, arXiv:2207.12598, eq. 6, scale = 1 + w).

    The same line holds in every view (eps, v, score), since x_t is shared, and of tokens for log-probabilities.

    - `denoiser`: of numbers or of tokens; a learned variance is that of the conditional half;
    - `null`: the empty condition, or that of a negative prompt, from which guidance then leads away: [b], or [1] for
      all. Both are evaluated in one call;
    - `scale`: 1 is off, and evaluates one;
    - `interval` (low, high): guide only where low < sigma/alpha ≤ high, as samples under very much noise lose variety
      by guidance, and under little gain nothing (arXiv:2404.07724, section 3). Samples outside are evaluated once;
    - `rescale`, from 0 (off) to 1: how far x_0 is brought back to the standard deviation that the conditional one has
      over all axes of the sample (arXiv:2305.08891, eq. 15 and 16): `x_0·(rescale·std(condition)/std + 1 − rescale)`.
      It acts on x_0 and not on eps, since contrast is a matter of the data: a smaller eps would leave noise behind.
      At alpha 0, where contrast is settled, this is the paper's own case, v = −x_0.

    Conditions of other inputs or shapes than those of null are an `InputError` or a `ShapeError`.
    """

    denoiser: DenoiserOf[AnyEstimate]
    null: Condition
    scale: float
    interval: tuple[float, float] | None = None
    rescale: float = 0.0

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> AnyEstimate:
        if self.scale == 1:
            return self.denoiser(x_t, level, condition)
        if not 0 <= self.rescale <= 1:
            raise InputError(
                f"rescale must lie between 0 (off) and 1 (as the conditional estimate), not {self.rescale}"
            )
        b = len(x_t)
        rows = self._within(level).expand(b).nonzero().flatten()
        asked, null = _for_each(b, "the condition", condition), _for_each(b, "null", self.null)
        _check_alike(asked, null)
        if not len(rows):
            return self.denoiser(x_t, level, condition)
        here = rows.to(x_t.device)
        levels = Level(*(torch.cat([value.expand(b), value.expand(b)[rows]]) for value in level))
        conditions = Condition.cat([asked, null.map(lambda value: value[rows.to(value.device)])])
        both = self.denoiser(torch.cat([x_t, x_t[here]]), levels, conditions)
        conditional, empty = both.prediction[:b], both.prediction[b:]
        guided = self._guided(both, conditional[here], empty)
        return both.predicting(x_t, level, conditional.index_copy(0, here, guided))

    def _guided(self, kind: AnyEstimate, conditional: Tensor, empty: Tensor) -> Tensor:
        guided = kind.extrapolate(empty, conditional, self.scale)
        return guided if self.rescale == 0 else kind.rescale(guided, conditional, self.rescale)

    def _within(self, level: Level) -> Tensor:
        """Which samples stand where guidance is wanted, bool [b] or [1]."""
        low, high = self.interval or (-1.0, torch.inf)
        if self.interval is not None and not 0 <= low < high:
            raise InputError(f"interval must be two sigma/alpha with 0 ≤ low < high, not {self.interval}")
        ratio = level.sigma / level.alpha
        return (ratio > low) & (ratio <= high)


def _for_each(b: int, name: str, condition: Condition) -> Condition:
    """The condition of each of b samples, where one may stand for all."""
    for field, value in condition.given().items():
        if len(value) not in (1, b):
            raise ShapeError(f"{name} gives {len(value)} {field} to {b} samples: give each one, or one to all")
    return condition.map(lambda value: value.expand(b, *value.shape[1:]))


def _check_alike(asked: Condition, null: Condition) -> None:
    """Raise where the two cannot be evaluated in one call."""
    given, empty = asked.given(), null.given()
    if given.keys() != empty.keys():
        came, wanted = (", ".join(sorted(names)) or "none" for names in (given, empty))
        raise InputError(
            f"guidance needs a condition with the inputs of null ({wanted}), and got one with {came}:"
            " give the condition to the guide when it is called, make null by the same conditioner, or take scale 1"
        )
    for field, value in given.items():
        # sequences with a mask may be of different lengths: joining fills the shorter up
        first = 2 if "mask" in given and field in ("context", "mask") else 1
        if value.shape[first:] != empty[field].shape[first:]:
            raise ShapeError(
                f"the input {field} of the condition has {list(value.shape[1:])} a sample and that of null"
                f" {list(empty[field].shape[1:])}: make both of one size (pad the context, and mask what is padded)"
            )
