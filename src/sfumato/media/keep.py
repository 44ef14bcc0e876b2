"""Files that are never written over others."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from sfumato.disk import Taken
from sfumato.files import write_bytes


def keep(stem: Path, ending: str, data: bytes) -> Path:
    """Write `data` to the first of `stem.png`, `stem_2.png`, … (for the ending ".png") that is free or holds it
    already. Another file of that name stays, whoever put it there and when."""
    return keep_all(stem, {ending: data})


def keep_all(stem: Path, files: Mapping[str, bytes]) -> Path:
    """Write several files of one stem, by their endings, under the first number that is free for all of them or holds
    them already; returns the path of the last. The last appears last, so that where it is, the others are."""
    for own in numbered(stem):
        paths = {own.with_name(f"{own.name}{ending}"): data for ending, data in files.items()}
        if all(not os.path.lexists(path) or _holds(path, data) for path, data in paths.items()) and _write(paths):
            return [*paths][-1]
    raise AssertionError


def numbered(stem: Path) -> Iterator[Path]:
    """`stem`, `stem_2`, …: what is tried in turn."""
    yield stem
    for number in itertools.count(2):
        yield stem.with_name(f"{stem.name}_{number}")


def _write(paths: Mapping[Path, bytes]) -> bool:
    """Write the files that are not there; whether all are then as they should be. If not, those written are gone."""
    with contextlib.ExitStack() as undo:
        for path, data in paths.items():
            try:
                if not os.path.lexists(path):
                    write_bytes(path, data, new=True)
                    undo.callback(path.unlink, missing_ok=True)
                elif not _holds(path, data):
                    return False
            except Taken:
                if not _holds(path, data):
                    return False
        undo.pop_all()
    return True


def _holds(path: Path, data: bytes) -> bool:
    """Whether there is a file of these bytes; one that cannot be read is another."""
    try:
        return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
