"""Pictures in a terminal, by the three protocols that there are."""

import base64
import io
from collections.abc import Mapping
from itertools import groupby
from typing import Literal

import numpy as np
from PIL import Image

Graphics = Literal["kitty", "iterm", "sixel"]
ESCAPE = "\x1b"
KITTY_CHUNK = 4096
"""The most base64 that kitty takes in one escape code."""
COLORS = 128
_KITTY = {"xterm-kitty", "xterm-ghostty"}
_ITERM = {"iTerm.app", "WezTerm", "mintty"}
_SIXEL = {"foot", "foot-extra", "mlterm", "yaft-256color"}


def protocol_of(environment: Mapping[str, str]) -> Graphics | None:
    """The protocol of the terminal that the environment names; None for one that shows no pictures, or is not known to.

    Nothing is asked of the terminal itself: one that does not answer would have to be waited for. Within tmux and
    screen escape codes do not reach it.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux")):
        return None
    if "KITTY_WINDOW_ID" in environment or "KONSOLE_VERSION" in environment or term in _KITTY or program == "ghostty":
        return "kitty"
    if program in _ITERM or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return "sixel" if term in _SIXEL or "sixel" in term else None


def kitty(image: Image.Image, rows: int, number: int) -> str:
    """The picture by kitty's graphics protocol, `rows` lines high, in the place of the last one of that number. The
    cursor stays, and no answer is asked for (https://sw.kovidgoyal.net/kitty/graphics-protocol)."""
    data = base64.b64encode(_png(image)).decode()
    parts = [data[start : start + KITTY_CHUNK] for start in range(0, len(data), KITTY_CHUNK)]
    first = f"a=T,f=100,i={number},p=1,r={rows},C=1,q=2,"
    return kitty_removed(number) + "".join(
        f"{ESCAPE}_G{first if i == 0 else 'q=2,'}m={int(i < len(parts) - 1)};{part}{ESCAPE}\\"
        for i, part in enumerate(parts)
    )


def kitty_removed(number: int) -> str:
    """The code that takes a picture of kitty's off the screen."""
    return f"{ESCAPE}_Ga=d,d=I,i={number},q=2{ESCAPE}\\"


def iterm(image: Image.Image, rows: int) -> str:
    """The picture as an inline image of iTerm2's, `rows` lines high (https://iterm2.com/documentation-images.html)."""
    data = _png(image)
    options = f"inline=1;size={len(data)};height={rows};preserveAspectRatio=1"
    return f"{ESCAPE}]1337;File={options}:{base64.b64encode(data).decode()}\x07"


def sixel(image: Image.Image) -> str:
    """The picture as sixels: bands of six rows, in each the pixels of one colour after another (DEC, VT330/VT340
    Programmer Reference Manual, chapter 14)."""
    indexed = image.convert("RGB").quantize(COLORS)
    pixels = np.asarray(indexed)
    palette = np.asarray(indexed.getpalette() or []).reshape(-1, 3)
    colors = "".join(
        f"#{i};2;{r};{g};{b}" for i, (r, g, b) in enumerate(np.rint(palette * 100 / 255).astype(int).tolist())
    )
    bands = [_band(pixels[top : top + 6]) for top in range(0, image.height, 6)]
    return f'{ESCAPE}P0;1q"1;1;{image.width};{image.height}{colors}{"-".join(bands)}{ESCAPE}\\'


def _band(pixels: np.ndarray) -> str:
    """Six rows: for each colour, the columns as bits, the topmost the lowest."""
    bits = 1 << np.arange(len(pixels))[:, None]
    return "$".join(f"#{color}{_runs(((pixels == color) * bits).sum(0))}" for color in np.unique(pixels).tolist())


def _runs(columns: np.ndarray) -> str:
    """Columns as characters, more than three alike as their number."""
    runs = ((chr(63 + value), len(list(run))) for value, run in groupby(columns.tolist()))
    return "".join(f"!{length}{character}" if length > 3 else character * length for character, length in runs)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
