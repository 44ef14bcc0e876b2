"""Gradients by x_t, for guides that need them inside `no_grad`."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sfumato.core.level import Level, like
from sfumato.errors import InputError


@contextmanager
def tracking_gradients(x_t: Tensor) -> Iterator[tuple[Tensor, bool]]:
    """x_t as something to differentiate by, with autograd on, inside `no_grad` (the driver's) and `inference_mode` too.

    The second value is whether an outer guide differentiates by x_t already: then x_t is given as it is, and gradients
    must themselves be differentiable (`create_graph`), or that guide would take them for constants. Tokens, which have
    no gradient, are an `InputError`.
    """
    if not x_t.is_floating_point():
        raise InputError("a guide by gradients guides numbers, and these samples are tokens: leave it out")
    followed = x_t.requires_grad and torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        yield (x_t if followed else x_t.detach().clone().requires_grad_()), followed


def without_inference(value: Tensor) -> Tensor:
    """The value as autograd may keep it, which refuses tensors of `inference_mode`."""
    return value.clone() if value.is_inference() else value


def gradient(of: Tensor, by: Tensor, along: Tensor | None, followed: bool, name: str) -> Tensor:
    """`along`ᵀ·∂of/∂by, in the shape of `by`; `name` is for the error where there is no derivative."""
    if not of.requires_grad:
        raise InputError(
            f"{name} cannot be differentiated: compute it from its argument in torch alone, without no_grad or detach"
        )
    (found,) = torch.autograd.grad(of, by, along, retain_graph=True, create_graph=followed, allow_unused=True)
    if found is None:
        raise InputError(f"{name} does not depend on its argument: there is nothing to guide by")
    return found


def x0_shift(level: Level, score: Tensor) -> Tensor:
    """`(sigma²/alpha)·score`: the change of x_0 when the score changes by `score`, [b, *d] (Tweedie's formula).

    At alpha 0 it is 0: x_t is independent of the data there, so every gradient by it is 0, and the formula 0/0.
    """
    gain = like((level.sigma**2 / level.alpha).masked_fill(level.alpha == 0, 0.0), score)
    return torch.where(gain > 0, gain * score, 0.0)
