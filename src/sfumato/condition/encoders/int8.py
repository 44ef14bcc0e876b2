"""Weights in 8 bits: each matrix as whole numbers of −127 … 127, and a scale for every `GROUP` of a row."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sfumato.errors import FormatError, quoted

GROUP = 64
_MOST = 127
SCALE = ".scale"
"""Which the name of a matrix's scales ends in."""


def quantized(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each matrix [m, n] of whole groups as int8 [m, n] and float32 scales [m, n / GROUP]: a weight is
    `round(w / s)`, where `s = max |w| / 127` over its group. Others, as norms and biases, are left as they are."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or tensor.shape[1] % GROUP:
            found[name] = tensor
            continue
        groups = tensor.float().unflatten(1, (-1, GROUP))
        scale = groups.abs().amax(-1) / _MOST
        whole = (groups / scale.clamp(min=torch.finfo().tiny)[..., None]).round()
        found[name], found[name + SCALE] = whole.flatten(1).to(torch.int8), scale
    return found


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `quantized` gave, in float32. Raises `FormatError` for a matrix in int8 without its scales."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dtype != torch.int8:
            if not name.endswith(SCALE):
                found[name] = tensor
            continue
        scale = tensors.get(name + SCALE)
        if scale is None or tensor.ndim != 2 or tuple(scale.shape) != (len(tensor), tensor.shape[1] // GROUP):
            raise FormatError(f"{quoted(name)} is in int8, and its scales are missing or of another shape")
        groups = tensor.unflatten(1, (-1, GROUP)).float()
        found[name] = groups.mul_(scale[..., None]).flatten(1)
    return found
