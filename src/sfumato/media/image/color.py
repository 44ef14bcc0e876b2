"""Colours by their names."""

import PIL.ImageColor

from sfumato.errors import InputError, quoted


def parse_color(name: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a colour by its name in CSS or as "#rrggbb"; an `InputError` if it is none."""
    try:
        red, green, blue = PIL.ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise InputError(f"{quoted(name)} is not the name of a colour in CSS") from error
    return red, green, blue
