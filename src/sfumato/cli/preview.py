"""What a drawing looks like so far: in terminals that show pictures, below the bar; else in a file that is replaced."""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch
from PIL import Image

from sfumato.cli.pictures import ESCAPE, Graphics, iterm, kitty, kitty_removed, protocol_of, sixel
from sfumato.core.defaults import torch_defaults
from sfumato.disk import Taken
from sfumato.files import write_bytes
from sfumato.media.image import png
from sfumato.system import Cascade, System
from sfumato.system.draw import Frame

FEW, ROWS, LARGEST = 4, 12, (640, 192)
"""How many samples of a batch are shown, on how many lines of the terminal, and in how many pixels at most."""
PAUSE = 9
"""A preview waits so many times as long as the last one took: all together they take a tenth of the time."""
VARIABLE = "SFUMATO_PREVIEW"
"""The environment's word for a terminal that is not recognized: kitty, iterm, sixel or file."""
_log = logging.getLogger(__name__)


class LivePreview:
    """Shows the estimate of x_0 of each step, decoded, for at most a tenth of the time: call it with every frame.

    In a terminal that shows pictures by a known protocol they stand below the bar and are gone in the end. Anywhere
    else they are the file `preview.png` in `folder`, under a number if there is one already, removed in the end.
    """

    def __init__(self, system: System | Cascade, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._stages = system.stages if isinstance(system, Cascade) else (system,)
        self._stream = sys.stderr
        self._show = _shower(self._stream, folder, environment)
        self._next = 0.0

    def __enter__(self) -> "LivePreview":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(None)

    def __call__(self, frame: Frame) -> None:
        begun = time.monotonic()
        if begun < self._next or frame.samples is not None:  # a batch that is done is in its files
            return
        self._show(_picture(self._stages[frame.stage], frame))
        now = time.monotonic()
        self._next = now + PAUSE * (now - begun)


@torch_defaults()
@torch.no_grad()
def _picture(system: System, frame: Frame) -> Image.Image:
    """The first samples of a batch, as they are estimated, side by side."""
    data = system.codec.decode(frame.x0[:FEW]).cpu()
    image = system.medium.preview(data, len(data)).convert("RGB")
    image.thumbnail(LARGEST)
    return image


def _shower(stream: TextIO, folder: Path, environment: Mapping[str, str]) -> Callable[[Image.Image | None], None]:
    """What shows a picture, and with None takes it away."""
    asked: Any = environment.get(VARIABLE)
    protocol = asked if asked in ("kitty", "iterm", "sixel", "file") else protocol_of(environment)
    if protocol in ("kitty", "iterm", "sixel") and stream.isatty():
        return InTerminal(stream, protocol)
    return InFile(folder)


class InTerminal:
    """Below the line of the cursor, which stays where it is."""

    def __init__(self, stream: TextIO, protocol: Graphics) -> None:
        self._stream, self._protocol = stream, protocol
        self._number = os.getpid() % 2**24 + 1

    def __call__(self, image: Image.Image | None) -> None:
        below = self._removed() if image is None else self._codes(image)
        room = "\n" * ROWS + f"{ESCAPE}[{ROWS}A"  # where the screen ends, it scrolls now and not amid the picture
        # in one piece: the bar is drawn by another thread
        self._stream.write(f"{room}{ESCAPE}7{ESCAPE}[1E{below}{ESCAPE}8")
        self._stream.flush()

    def _codes(self, image: Image.Image) -> str:
        if self._protocol == "kitty":
            return kitty(image, ROWS, self._number)
        return iterm(image, ROWS) if self._protocol == "iterm" else sixel(image)

    def _removed(self) -> str:
        return (kitty_removed(self._number) if self._protocol == "kitty" else "") + f"{ESCAPE}[J"


class InFile:
    """A file that is replaced whole, under a name that was free when it was first written."""

    def __init__(self, folder: Path) -> None:
        self._names = (folder / ("preview.png" if i == 1 else f"preview-{i}.png") for i in count(1))
        self._path: Path | None = None

    def __call__(self, image: Image.Image | None) -> None:
        if image is not None and self._path is None:
            self._path = self._first(png(image))
            _log.info("preview: %s", self._path)
        elif image is not None and self._path is not None:
            write_bytes(self._path, png(image))
        elif self._path is not None:
            self._path.unlink(missing_ok=True)

    def _first(self, data: bytes) -> Path:
        """Write where nothing is: by now a sample, or another process's preview, may have the first name."""
        for path in self._names:
            with suppress(Taken):
                write_bytes(path, data, new=True)
                return path
        raise AssertionError
