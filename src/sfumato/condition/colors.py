"""Colours that phrases begin with."""

HSV = {
    "red": (0, 0.82, 0.88),
    "orange": (27, 0.88, 0.98),
    "yellow": (50, 0.80, 0.99),
    "green": (128, 0.65, 0.68),
    "blue": (213, 0.76, 0.90),
    "purple": (275, 0.62, 0.74),
    "violet": (275, 0.62, 0.74),
    "pink": (330, 0.45, 0.99),
    "brown": (22, 0.58, 0.52),
    "turquoise": (174, 0.70, 0.80),
    "teal": (180, 0.75, 0.55),
    "golden": (45, 0.80, 0.92),
    "grey": (213, 0.05, 0.62),
    "gray": (213, 0.05, 0.62),
    "black": (230, 0.10, 0.20),
    "white": (213, 0.02, 0.97),
}
"""Hue in degrees, saturation and value from 0 to 1 of what has one of these colours, in the light of pictures."""
SHADES = {"light": (0.55, 1.08), "pale": (0.4, 1.08), "dark": (1.0, 0.6), "deep": (1.1, 0.75), "bright": (1.15, 1.08)}
"""What a word before a colour multiplies its saturation and its value by."""
NO_COLOR = (-1.0, 0.0, 0.0)


def split_color(phrase: str, names: frozenset[str] = frozenset()) -> tuple[str, tuple[float, float, float]]:
    """A phrase in small letters without its colours, and the first: hue in turns, saturation and value, or `NO_COLOR`.

    "dark blue apple" is an apple in dark blue, "red and blue apple" one in red; one of `names`, and a colour alone,
    stays: "blue heart" is a thing of its own.
    """
    words = phrase.split(" ")
    first = int(words[0] in SHADES)
    if phrase in names or len(words) < first + 2 or words[first] not in HSV:
        return phrase, NO_COLOR
    rest = first + 1
    while len(words) > rest + 2 and words[rest] == "and" and words[rest + 1] in HSV:
        rest += 2
    hue, saturation, value = HSV[words[first]]
    more, lighter = SHADES[words[0]] if first else (1.0, 1.0)
    return " ".join(words[rest:]), (hue / 360, min(1.0, more * saturation), min(1.0, lighter * value))
