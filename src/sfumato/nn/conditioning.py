"""The conditioning inputs of a network, checked before anything is computed."""

from torch import Tensor

from sfumato.errors import InputError


def check_conditioning(
    built: tuple[int, int, int], vector: Tensor | None, context: Tensor | None, concat: Tensor | None
) -> None:
    """Raise an `InputError` unless the inputs are as wide as the network was `built` for: vector [b, built[0]],
    context [b, k, built[1]], concat [b, built[2], h, w]; of width 0 there must be none."""
    for name, expected, axis, given in zip(
        ("vector", "context", "concat"), built, (-1, -1, 1), (vector, context, concat), strict=True
    ):
        got = 0 if given is None else given.shape[axis]
        if expected != got:
            wanted = [f"{width} numbers in `{name}`" if width else f"nothing in `{name}`" for width in (expected, got)]
            raise InputError(f"this network was built for {wanted[0]}, and was given {wanted[1]}")
