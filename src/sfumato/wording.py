"""How names and counts are worded in notes and errors, so that each stays on one line."""

from collections.abc import Sequence

SHOWN = 3


def printable(name: str) -> str:
    """The name as it is if it prints on one line, else escaped: file names may hold line ends and broken bytes."""
    return name if name.isprintable() else ascii(name)


def one_line(text: str) -> str:
    """A text for a terminal: what does not print, such as a line's end or an escape, is spelled."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def few(names: Sequence[str]) -> str:
    """The first few names, and dots if there are more."""
    return ", ".join(printable(name) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def shortened(text: str, most: int = 80) -> str:
    """A text on one line, its middle left out if it is long."""
    text = one_line(" ".join(text.split()))
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-(most // 2) :]}"


def count(number: int, noun: str) -> str:
    """A number with its noun: '1 picture', '2,000 pictures'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def amount(number: float) -> str:
    """A number of bytes: '512 B', '3.2 GiB'."""
    power = 0
    while number >= 1024 and power < 3:
        number, power = number / 1024, power + 1
    return f"{number:.1f} {('B', 'KiB', 'MiB', 'GiB')[power]}".replace(".0 ", " ")
