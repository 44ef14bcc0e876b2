"""The variational bound of tokens, in bits per token."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.schedule import Schedule
from sfumato.core.token_estimate import TokenEstimate


@dataclass(frozen=True)
class TokenVLB:
    """The negative evidence lower bound of tokens, whose mean over uniform times bounds `−log₂ p(x_0)` a token.

    On a schedule of T whole times, `T·KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t))` with s one before t, the clean data for the
    first: all of `L_{t−1}` and `L_0` (D3PM, arXiv:2107.03006, eq. 1). In continuous time its limit, times the length of
    the interval of times: for masks `alpha'_t/(1 − alpha_t)·log p(x_0)` (MDLM, arXiv:2406.07524, eq. 10 and 11).

    It leaves out a constant, `KL(q(x_T | x_0) ‖ p(x_T))`, 0 where the schedule ends in pure noise; and, in
    continuous time, the step from `schedule.first` onto clean data.
    """

    def __call__(self, estimate: TokenEstimate, x_0: Tensor, schedule: Schedule) -> Tensor:
        """The estimate at x_t, the tokens x_0 [b, l] behind it, and the schedule → the bound in bits per token, [b]."""
        process, t = estimate.process, estimate.level
        if schedule.T is not None:
            s = schedule(torch.where(t.t > schedule.first, t.t - 1, schedule.clean))
            terms = schedule.T * process.step_divergence(estimate.log_p, x_0, estimate.x_t, s, t)
        else:
            rate = -alpha_slope(schedule, t.t) * (schedule.last - schedule.first)
            each = process.divergence_rate(estimate.log_p, x_0, estimate.x_t, t)
            terms = rate.to(each).reshape(-1, 1) * each
        return terms.flatten(1).mean(1) / math.log(2)


def alpha_slope(schedule: Schedule, t: Tensor) -> Tensor:
    """`alpha'_t`, how fast the signal changes at the times t: [b], float64 on the CPU."""
    with torch.inference_mode(False), torch.enable_grad():
        t = t.detach().clone().to("cpu", torch.float64).requires_grad_()
        (slope,) = torch.autograd.grad(schedule(t).alpha.sum(), t)
    return slope
