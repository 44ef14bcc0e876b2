"""Conditioning inputs that a caller gives a network beyond those of the conditioner."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sfumato import files
from sfumato.core.condition import Condition
from sfumato.errors import InputError, ShapeError, quoted
from sfumato.media.protocol import Record, Size

if TYPE_CHECKING:
    from sfumato.system.system import System

Shape = tuple[int | None, ...]
"""A shape in which None stands for any length."""


def wanted_inputs(system: "System", size: Size) -> dict[str, Shape]:
    """The shape [...] of a row of each input that the network was built with and the conditioner does not give."""
    network, own = system.network, system.conditioner.widths
    widths = {name: getattr(network, name, 0) for name in ("vector", "context", "concat") if name not in own}
    shapes = {"vector": (), "context": (None,), "concat": system.sample_shape(size)[1:]}
    wanted: dict[str, Shape] = {}
    for name, width in widths.items():
        if width:
            wanted[name] = (width, *shapes[name]) if name == "concat" else (*shapes[name], width)
    return wanted


def check_inputs(condition: Condition, wanted: Mapping[str, Shape], count: int) -> None:
    """Raise an `InputError` or a `ShapeError` unless the condition holds the `wanted` inputs and no others: finite
    numbers [1 or `count`, *shape], and with a context its mask [1 or `count`, k] if there is one."""
    given = condition.given()
    mask = given.pop("mask", None)
    for name in dict.fromkeys((*wanted, *given)):
        _check_input(name, given.get(name), wanted.get(name), count)
    context = given.get("context")
    if mask is not None and (context is None or mask.dtype != torch.bool or mask.shape != context.shape[:2]):
        raise ShapeError("the condition's mask should be true or false for each place of its context, [b, k]")


def _check_input(name: str, value: Tensor | None, shape: Shape | None, count: int) -> None:
    if value is not None and not (isinstance(value, Tensor) and _is_plain(value)):
        raise InputError(f"the condition's {name} must be a tensor of real numbers, not {quoted(value)}")
    if value is None or shape is None or not _fits(tuple(value.shape), shape, count):
        rows = "1" if count == 1 else f"1 or {count}"
        wants = "none" if shape is None else f"[{rows}, {', '.join('k' if n is None else str(n) for n in shape)}]"
        came = "none" if value is None else list(value.shape)
        hint = "; codec.masked_condition makes it of a picture and a mask" if name == "concat" and shape else ""
        raise ShapeError(f"this system's network wants a condition with {name} {wants}, and was given {came}{hint}")
    if not bool(value.isfinite().all()):
        raise InputError(f"the condition's {name} holds a number that is not finite: look at what it was made of")


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor holds real numbers that can be computed with: it is not sparse, on no device, or of 8 bits."""
    return value.layout == torch.strided and not value.is_meta and value.is_floating_point() and value.itemsize > 1


def _fits(found: tuple[int, ...], shape: Shape, count: int) -> bool:
    """Whether a tensor has one row, or one a sample, of that shape."""
    same = len(found) == 1 + len(shape) and all(n in (None, own) for n, own in zip(shape, found[1:], strict=True))
    return same and found[0] in (1, count) and 0 not in found


def rows_of(condition: Condition, rows: slice, count: int) -> Condition:
    """These rows of a condition, `count` of them; a single row stands for all."""
    return condition.map(lambda value: value.expand(count, *value.shape[1:]) if len(value) == 1 else value[rows])


def sources(condition: Condition, source: Record | None, count: int) -> tuple[Record, ...]:
    """What the records of `count` samples say of their condition: where it came from, or the digest of its tensors; ()
    without one."""
    if not condition.given():
        return ()
    if source is not None:
        return (source,) * count if source else ()
    rows = [rows_of(condition, slice(i, i + 1), 1).given() for i in range(max(map(len, condition.given().values())))]
    digests: list[Record] = [{"sha256": files.tensors_sha256(row)} for row in rows]
    return tuple(digests * count if len(digests) == 1 else digests)
