"""Stochastic gradient Langevin dynamics: an optimizer that ends in samples of the posterior, not in its mode."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, ParamsT

from sfumato.errors import InputError, NonFiniteError


class SGLD(Optimizer):
    """`θ ← θ − lr/2·∇U(θ) + √(lr·temperature)·z` (Welling & Teh, Bayesian Learning via Stochastic Gradient Langevin
    Dynamics, 2011, eq. 4, their ε_t as `lr`).

    U is the negative log posterior of the weights, summed over all N data, as a minibatch of n estimates it:
    `U = −log p(θ) − N/n·∑ log p(data_i | θ)`. A loss that is a mean over data is N times too small.

    As lr falls, θ becomes a sample of the law `∝ exp(−U/temperature)`: that is the posterior at temperature 1, and its
    mode at 0. Any of torch's schedulers may lower lr. The paper's `ε_t = a·(b + t)^(−γ)`, γ in (0.5, 1], is
    `LambdaLR(optimizer, lambda t: (1 + t/b) ** -γ)` with `lr = a·b^(−γ)`; in means over the chain, each θ then counts
    for its lr. A constant lr leaves a bias: where U is quadratic, of curvature h, and its gradient exact, the variance
    is `temperature/(h·(1 − lr·h/4))`; the noise of minibatches adds to that.

    Parameter groups may have an `lr` and a `temperature` of their own. z is float32, drawn on the CPU whatever the
    device, from one stream that starts at `seed`; the stream is part of the state, so a chain that goes on from a
    `state_dict` is the same to the last bit.

    An lr or temperature that is negative or not finite is an `InputError`; a gradient that is not finite is a
    `NonFiniteError`, and changes no weight.
    """

    def __init__(self, params: ParamsT, lr: float, temperature: float = 1.0, seed: int = 0) -> None:
        super().__init__(params, {"lr": lr, "temperature": temperature})
        # torch keeps entries under keys that are no parameters, and saves them as they are
        self.state["noise"] = torch.Generator("cpu").manual_seed(seed).get_state()  # pyright: ignore[reportArgumentType]

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        _check_settings({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """One step; `closure`, if given, is called first, to compute the gradients, and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._check()
        stream = torch.Generator("cpu")
        stream.set_state(self.state["noise"])  # pyright: ignore[reportArgumentType]
        for group in self.param_groups:
            lr, std = float(group["lr"]), math.sqrt(group["lr"] * group["temperature"])
            for θ in group["params"]:
                if θ.grad is not None:
                    z = torch.randn(θ.shape, generator=stream).to(θ)
                    θ.add_(θ.grad, alpha=-lr / 2).add_(z, alpha=std)
        self.state["noise"] = stream.get_state()  # pyright: ignore[reportArgumentType]
        return loss

    def _check(self) -> None:
        """Raise before any weight has changed."""
        for i, group in enumerate(self.param_groups):
            _check_settings(group)
            for j, θ in enumerate(group["params"]):
                if θ.grad is not None and not bool(θ.grad.isfinite().all()):
                    raise NonFiniteError(
                        f"the gradient of parameter {j} of group {i}, {list(θ.shape)}, is not finite; no weight was"
                        " changed: try a lower lr, or float32"
                    )


def _check_settings(group: dict[str, Any]) -> None:
    for name in ("lr", "temperature"):
        if not 0 <= group[name] < math.inf:
            raise InputError(f"the {name} of SGLD must be 0 or more and finite, not {group[name]}")
