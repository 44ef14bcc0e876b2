"""How names, texts and counts are worded in notes and errors, so that each stays on one line; what counts as text."""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 3
QUOTED = 100
"""The most characters of any value that a message quotes."""


def well_formed(text: str) -> str:
    """The text as Unicode that can be written: halves of a surrogate pair joined, one that stands alone as U+FFFD.

    Such halves come from JSON that was cut amid an emoji, and from bytes of file names and command lines that are no
    UTF-8. Every text that a user or a file gives goes through here once, where it enters.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def folded(text: str) -> str:
    """What two spellings of one name share: no difference of case, nor between composed and decomposed letters."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def printable(name: str) -> str:
    """The name as it is if it prints on one line, else escaped: file names may hold line ends and broken bytes."""
    return name if name.isprintable() else ascii(name)


def one_line(text: str) -> str:
    """A text for a terminal: what does not print, such as a line's end or an escape, is spelled."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def brief(text: str, most: int = QUOTED) -> str:
    """A name or another text as a message quotes it: printable, its middle left out where it is long."""
    return _cut(printable(_cut(text, most)), most)


def few(names: Sequence[str]) -> str:
    """The first few names, and dots if there are more."""
    return ", ".join(brief(name) for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def shortened(text: str, most: int = 80) -> str:
    """A text on one line, its middle left out if it is long."""
    return _cut(one_line(" ".join(_cut(text, 10 * most).split())), most, " … ")


def _cut(text: str, most: int, dots: str = "…") -> str:
    return text if len(text) <= most else f"{text[: most // 2]}{dots}{text[-(most // 2) :]}"


def count(number: int, noun: str) -> str:
    """A number with its noun: '1 picture', '2,000 pictures'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def amount(number: float) -> str:
    """A number of bytes: '512 B', '3.2 GiB'."""
    power = 0
    while number >= 1024 and power < 3:
        number, power = number / 1024, power + 1
    return f"{number:.1f} {('B', 'KiB', 'MiB', 'GiB')[power]}".replace(".0 ", " ")


def duration(seconds: float) -> str:
    """Seconds in words: "48 s", "3 min 20 s", "7 h 05 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def is_live(console: "Console") -> bool:
    """Whether a line of a console can be drawn over: only in a terminal, whatever colours are asked for."""
    try:
        return console.file.isatty() and not console.is_dumb_terminal
    except (AttributeError, ValueError):  # a file of somebody's own, or one that is closed
        return False
