"""A denoiser: noisy samples in, an estimate of the data out."""

from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level, like
from sfumato.core.parameterization import Parameterization
from sfumato.core.process import TokenProcess
from sfumato.core.schedule import Schedule
from sfumato.core.token_estimate import TokenEstimate
from sfumato.errors import InputError, ShapeError

E_co = TypeVar("E_co", covariant=True)


@runtime_checkable
class DenoiserOf(Protocol[E_co]):
    """A denoiser whose estimates are of one type: a trained one, a closed form (`oracle`), or a guide around either
    (`guide`)."""

    @property
    def schedule(self) -> Schedule: ...

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = ..., /) -> E_co: ...


@runtime_checkable
class DenoiserLike(DenoiserOf[Estimate], Protocol):
    """A denoiser of numbers: samples [b, *d] in, the estimate of x_0 out."""


@runtime_checkable
class TokenDenoiserLike(DenoiserOf[TokenEstimate], Protocol):
    """A denoiser of tokens: ids [b, l] in, log-probabilities of the tokens of x_0 out."""


class Denoiser(nn.Module):
    """A network, with the schedule it was trained on and the parameterization of its prediction.

    `x_0 = skip·x_t + out·network(scale·x_t, time)`, the four coefficients from the parameterization. The network runs
    in the type of its own weights, everything around it in the type of x_t.

    - `network`: samples [b, *d], times [b] and the inputs of a condition → [b, *d]; or twice the channels, where it
      learns the variance as well: the second half, from −1 to 1, is then its place between the two bounds (improved
      DDPM, arXiv:2102.09672, eq. 15; `Estimate.variance_fraction`, from 0 to 1);
    - `schedule`: times → levels; that of the parameterization where this has one, else an `InputError`;
    - `parameterization`: level → the four coefficients.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, parameterization: Parameterization) -> None:
        super().__init__()
        if getattr(parameterization, "schedule", schedule) != schedule:
            raise InputError(
                f"{parameterization} counts steps of another chain than {schedule}: give both one schedule"
            )
        self.network, self.schedule, self.parameterization = network, schedule, parameterization

    def forward(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        """Samples x_t [b, *d] at `level` [b] or [1], under `condition` [b] → the estimate of x_0.

        A network that gives another shape is a `ShapeError`.
        """
        level = Level(*(value.cpu() for value in level))  # where several processes train, torch puts it elsewhere
        skip, out, scale, time = self.parameterization(level)
        weights = next(self.network.parameters())
        time = time.to(x_t.device, torch.float32).expand(len(x_t))
        f = self.network((like(scale, x_t) * x_t).to(weights.dtype), time, **condition.given())
        f, variance_fraction = f.to(x_t.dtype), None
        if f.shape[1] == 2 * x_t.shape[1]:
            f, second = f.chunk(2, dim=1)
            variance_fraction = (second + 1) / 2
        if f.shape != x_t.shape:
            raise ShapeError(
                f"a network of this denoiser gives samples like x_t, {list(x_t.shape)}, or twice their channels, not"
                f" {list(f.shape)}"
            )
        return Estimate(x_t, level, like(skip, x_t) * x_t + like(out, x_t) * f, variance_fraction)

    def with_network(self, network: nn.Module) -> "Denoiser":
        """The same around another network."""
        return Denoiser(network, self.schedule, self.parameterization)


class TokenDenoiser(nn.Module):
    """A network that predicts tokens, with the schedule and the forward process it was trained on.

    `p(x_0 | x_t)` from the logits `network(x_t, time)`, as the process has it (`Masking.log_probabilities`).

    - `network`: token ids [b, l], times [b] and the inputs of a condition → logits [b, l, k];
    - `schedule`: of which `alpha` is the probability that a token is still itself;
    - `process`: `Masking` or `Uniform`.
    """

    def __init__(self, network: nn.Module, schedule: Schedule, process: TokenProcess) -> None:
        super().__init__()
        self.network, self.schedule, self.process = network, schedule, process

    def forward(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> TokenEstimate:
        """Token ids x_t [b, l] at `level` [b] or [1], under `condition` → the estimate of x_0, at least in float32."""
        level = Level(*(value.cpu() for value in level))  # where several processes train, torch puts it elsewhere
        time = level.t.to(x_t.device, torch.float32).expand(len(x_t))
        logits = self.network(x_t, time, **condition.given())
        if logits.shape[:-1] != x_t.shape:
            raise ShapeError(
                f"a network of this denoiser gives logits {[*x_t.shape]} by the number of tokens, not"
                f" {list(logits.shape)}"
            )
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return TokenEstimate(x_t, level, self.process.log_probabilities(logits, x_t), self.process)

    def with_network(self, network: nn.Module) -> "TokenDenoiser":
        """The same around another network."""
        return TokenDenoiser(network, self.schedule, self.process)
