"""The sizes of samples that networks take."""

from sfumato.errors import ShapeError


def check_sides(sides: tuple[int, ...], dims: int, multiple: int, least: int, network: str) -> None:
    """Raise a `ShapeError` unless there are `dims` sides, (length) or (height, width), each a multiple of `multiple`
    and `least` or more; it says which size near by would do. `network` names what takes them, as in "a U-Net"."""
    if len(sides) != dims:
        expected = {1: "sequences [b, c, length]", 2: "pictures [b, c, height, width]"}[dims]
        raise ShapeError(f"{network} takes {expected}, not samples of {len(sides)} axes after the channels")
    if all(side >= least and side % multiple == 0 for side in sides):
        return
    near = [max(round(side / multiple) * multiple, least) for side in sides]
    what, each = ("a sequence of length", "its length") if dims == 1 else ("a picture of", "each side")
    smallest = f" and {least} or more" if least > multiple else ""
    raise ShapeError(
        f"{what} {_text(sides)} does not fit {network}: {each} must be a multiple of {multiple}{smallest}; the nearest"
        f" that fits is {_text(near)}"
    )


def _text(sides: tuple[int, ...] | list[int]) -> str:
    """A size as it is written, the width first."""
    return "×".join(str(side) for side in reversed(sides))
