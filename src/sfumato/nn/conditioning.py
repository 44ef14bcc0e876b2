"""The doors of a network, checked before anything is computed."""

from torch import Tensor

from sfumato.errors import InputError


def check_conditioning(
    built: tuple[int, int, int], vector: Tensor | None, context: Tensor | None, concat: Tensor | None
) -> None:
    """Raise an `InputError` unless what is told is as wide as the network was `built` for: vector [b, built[0]],
    context [b, k, built[1]], concat [b, built[2], h, w]; a door of width 0 is shut, and must be given nothing."""
    for door, expected, axis, given in zip(
        ("vector", "context", "concat"), built, (-1, -1, 1), (vector, context, concat), strict=True
    ):
        got = 0 if given is None else given.shape[axis]
        if expected != got:
            told = [
                f"{width} numbers through `{door}`" if width else f"nothing through `{door}`"
                for width in (expected, got)
            ]
            raise InputError(f"this network was built to be told {told[0]}, and was told {told[1]}")
