"""The background of a scene: white, a colour, or one colour that turns into another, and how captions name it."""

from collections.abc import Sequence
from random import Random

import numpy as np
from scenes.scene import Colour, Ground
from scenes.things import pick
from scenes.words import article

GROUNDS: dict[str, Colour] = {
    "red": (222, 84, 78),
    "orange": (246, 168, 84),
    "yellow": (250, 222, 104),
    "green": (120, 196, 122),
    "blue": (98, 164, 228),
    "light blue": (176, 218, 246),
    "dark blue": (44, 66, 124),
    "purple": (160, 118, 208),
    "pink": (248, 172, 202),
    "brown": (148, 108, 78),
    "grey": (178, 182, 188),
    "black": (28, 28, 32),
}
CONTRAST = 0.3  # between a background and what is before it, in RGB of 0 to 1
ONE = ("{} on {} background", "{} against {} background", "{} with {} background", "{}, {} background")
TWO = ("{} on a gradient from {} to {}", "{} on {} and {} gradient", "{}, {} and {} gradient background")


def drawn(r: Random, text: str, edges: Sequence[np.ndarray]) -> tuple[str, Ground, list[str]]:
    """A caption with its background, the background and the names of its colours: far from those at edges of things."""
    names = [name for name, shade in GROUNDS.items() if all(_apart(shade, edge) > CONTRAST for edge in edges)]
    first, second = pick(r, names), pick(r, names)
    if r.random() < 0.65 or first == second or " " in first + second:
        wording = pick(r, ONE)
        named = first if wording.startswith("{}, ") else article(first)
        shade = _near(r, first)
        return wording.format(text, named), Ground(shade, shade), [first]
    wording = pick(r, TWO)
    named = article(first) if " on {}" in wording else first
    return wording.format(text, named, second), Ground(_near(r, first), _near(r, second)), [first, second]


def _apart(shade: Colour, edge: np.ndarray) -> float:
    return float(np.linalg.norm(np.array(shade) / 255 - edge))


def _near(r: Random, name: str) -> Colour:
    """The colour, a little lighter or darker."""
    red, green, blue = (min(255, max(0, level + round(16 * (2 * r.random() - 1)))) for level in GROUNDS[name])
    return red, green, blue
