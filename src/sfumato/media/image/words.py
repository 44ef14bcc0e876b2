"""Words within pictures: in lines that fit, whatever the words are."""

import unicodedata

from PIL import ImageFont

from sfumato.wording import one_line

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font(letters: int) -> Font:
    """The font that comes with Pillow, of so many pixels: the letters of English. What it has not is drawn as a box."""
    return ImageFont.load_default(letters)


def plain(text: str) -> str:
    """A text on one line, with its accents taken off, which the font has not."""
    parts = unicodedata.normalize("NFKD", one_line(" ".join(text.split())))
    return "".join(c for c in parts if not unicodedata.combining(c))


def fitted(text: str, own: Font, room: float, most: int) -> list[str]:
    """A text in `most` lines of `room` pixels or fewer; three dots where it would go on."""
    lines = broken(text, own, room)
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and own.getlength(f"{last}…") > room:
        last = last[:-1]
    return [*lines[: most - 1], f"{last.rstrip()}…"]


def broken(text: str, own: Font, room: float) -> list[str]:
    """A line in lines of `room` pixels, broken between words, and within those that are wider."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if own.getlength(longer) <= room:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if lines[-1] and own.getlength(lines[-1] + letter) > room:
                lines.append("")
            lines[-1] += letter
    return lines
