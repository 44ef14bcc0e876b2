"""New files beside whatever is there."""

import contextlib
import itertools
import os
from pathlib import Path

from sfumato.disk import Taken
from sfumato.files import write_bytes


def keep(stem: Path, ending: str, data: bytes) -> Path:
    """Write `data` to the first of `stem.png`, `stem_2.png`, … (for the ending ".png") that is free or holds it
    already. Another file of that name stays, whoever put it there and when."""
    for number in itertools.count(1):
        path = stem.parent / (f"{stem.name}{ending}" if number == 1 else f"{stem.name}_{number}{ending}")
        with contextlib.suppress(Taken):
            if not os.path.lexists(path):
                write_bytes(path, data, new=True)
                return path
        if _holds(path, data):
            return path
    raise AssertionError


def _holds(path: Path, data: bytes) -> bool:
    """Whether there is a file of these bytes; one that cannot be read is another."""
    try:
        return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
