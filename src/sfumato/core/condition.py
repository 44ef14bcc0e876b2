"""The inputs by which a network is conditioned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from sfumato.errors import InputError


@dataclass(frozen=True)
class Condition:
    """The conditioning inputs of a denoiser, beside noisy samples and their level; None for those not given.

    - `vector` [b, n]: one vector a sample (a class, a pooled text embedding);
    - `context` [b, k, n]: a sequence to attend to (a caption), with `mask` [b, k], true where a token counts;
    - `concat` [b, c, h, w]: channels set beside the sample (a low-resolution picture, a masked picture and its mask).
    """

    vector: Tensor | None = None
    context: Tensor | None = None
    mask: Tensor | None = None
    concat: Tensor | None = None

    def given(self) -> dict[str, Tensor]:
        """The inputs that are given, by name."""
        inputs = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in inputs.items() if value is not None}

    def map(self, f: Callable[[Tensor], Tensor]) -> "Condition":
        """The condition with `f` applied to each input."""
        return Condition(**{name: f(value) for name, value in self.given().items()})

    def to(self, device: torch.device | str) -> "Condition":
        return self.map(lambda value: value.to(device))

    def pin_memory(self) -> "Condition":
        """The same in memory that a GPU copies from while it computes; torch's loader asks for it by this name."""
        return self.map(Tensor.pin_memory)

    @staticmethod
    def cat(conditions: "Sequence[Condition]") -> "Condition":
        """The conditions of several batches as those of one; the same inputs must be given in each. Shorter
        contexts are padded with tokens that the mask leaves out."""
        longest = max(0 if one.context is None else one.context.shape[1] for one in conditions)
        parts = [condition._filled(longest).given() for condition in conditions]
        if any(part.keys() != parts[0].keys() for part in parts):
            raise InputError(f"conditions with different inputs cannot be joined: {[sorted(part) for part in parts]}")
        return Condition(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})

    def _filled(self, longest: int) -> "Condition":
        """The condition with `longest` tokens, if that is more than there are; then there must be a mask."""
        if self.context is None or (lack := longest - self.context.shape[1]) == 0:
            return self
        if self.mask is None:
            raise InputError("conditions with sequences of different lengths can only be joined if they have masks")
        return replace(self, context=pad(self.context, (0, 0, 0, lack)), mask=pad(self.mask, (0, lack)))
