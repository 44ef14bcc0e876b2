"""Inpainting by replacement: known elements are held."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.denoise import DenoiserLike
from sfumato.errors import InputError, ShapeError
from sfumato.guide.base import Guide


@dataclass(frozen=True)
class Inpaint(Guide):
    """`x_0 = picture` where `mask` is true (known), and the estimate elsewhere; the trajectory ends in the picture
    there.

    - `picture`: the known data, in a shape that broadcasts to the samples [b, *d];
    - `mask`: bool, in such a shape; another type is an `InputError`, another shape a `ShapeError`.

    Where known, a sampler steps as for data that is the
    picture: x_t is the picture under noise, `alpha·picture + sigma·eps`, with each sample's own eps (DDIM keeps the one
    it began with; the ancestral chain reverses the forward process). This is the replacement method of score SDE
    (arXiv:2011.13456, appendix I.2), which draws eps anew at every step.

    It is quick, needs no gradient, and is not exact: the rest hears of the picture only through x_t, and under much
    noise, where the large features are settled, that carries little information. `MomentMatching` draws the rest from
    the known part itself.
    """

    denoiser: DenoiserLike
    picture: Tensor
    mask: Tensor

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        if self.mask.dtype != torch.bool:
            raise InputError(
                f"mask must be bool, true where the picture is known, not {self.mask.dtype}: compare it with something,"
                " as in mask > 0.5"
            )
        for name, value in (("picture", self.picture), ("mask", self.mask)):
            if not _fits(value.shape, x_t.shape):
                raise ShapeError(
                    f"{name} of shape {list(value.shape)} does not broadcast to samples of shape {list(x_t.shape)}:"
                    " give one for all, or one for each"
                )
        estimate = self.estimate(x_t, level, condition)
        return replace(estimate, x0=torch.where(self.mask.to(x_t.device), self.picture.to(x_t), estimate.x0))


def _fits(shape: torch.Size, whole: torch.Size) -> bool:
    ends = zip(reversed(shape), reversed(whole), strict=False)
    return len(shape) <= len(whole) and all(have in (1, want) for have, want in ends)
