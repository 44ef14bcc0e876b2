"""The base of all guides."""

from typing import Any, Protocol, Self, TypeVar

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.core.schedule import Schedule
from sfumato.core.token_estimate import TokenEstimate
from sfumato.errors import InputError


class Guidable(Protocol):
    """An estimate, of numbers or of tokens, that guidance can lead away from another."""

    @property
    def prediction(self) -> Tensor: ...

    def predicting(self, x_t: Tensor, level: Level, prediction: Tensor) -> Self: ...

    @staticmethod
    def extrapolate(null: Tensor, conditional: Tensor, scale: float) -> Tensor: ...

    @staticmethod
    def rescale(guided: Tensor, conditional: Tensor, share: float) -> Tensor: ...


AnyEstimate = TypeVar("AnyEstimate", bound=Guidable)


class Guide:
    """A denoiser around `denoiser`, on the schedule of that one; so guides stack, and the outer has the last word."""

    denoiser: Any  # of numbers, of tokens, or either: as the guide has it

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Any:
        raise NotImplementedError

    def estimate(self, x_t: Tensor, level: Level, condition: Condition) -> Estimate:
        """The estimate of the denoiser within, for guides that act on numbers; one of tokens is an `InputError`."""
        found = self.denoiser(x_t, level, condition)
        if isinstance(found, TokenEstimate):
            raise InputError(
                f"{type(self).__name__} guides numbers, and this denoiser predicts tokens: leave it out, or take"
                " ClassifierFree or Autoguidance"
            )
        return found
