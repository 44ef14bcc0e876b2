"""Data in a folder."""

import os
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sfumato.data.table import TableSource
from sfumato.data.tree import MAX_BYTES, FileEntry, from_tree, visible
from sfumato.disk import open_file
from sfumato.errors import DataError
from sfumato.media import Medium
from sfumato.wording import brief, count, few

_MORE = 2**16


def open_data_folder(root: str | Path, medium: Medium) -> TableSource:
    """The medium's data below `root`, links followed; see `from_tree` for classes and captions.

    A folder that links reach twice is read once, so a loop of links ends. Raises DataError if there
    are none.
    """
    entries: list[FileEntry] = []
    closed: list[str] = []
    twice: list[str] = []
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(root, followlinks=True, onerror=lambda e: closed.append(str(e.filename))):
        status = os.stat(here)
        below = Path(here).relative_to(root).as_posix()
        if (status.st_dev, status.st_ino) in seen:
            twice.append(below)
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(folder for folder in folders if visible(folder))
        prefix = "" if below == "." else below + "/"
        entries.extend(_entry(os.path.join(here, file), prefix + file) for file in files)
    notes: list[str] = []
    if closed:
        notes.append(f"{count(len(closed), 'folder')} that may not be read: {few(closed)}")
    if twice:
        notes.append(f"{count(len(twice), 'folder')} reached again by links, read once: {few(sorted(twice))}")
    return from_tree(entries, str(root), medium, notes)


def _entry(file: str, path: str) -> FileEntry:
    try:
        size = os.stat(file).st_size
    except OSError:
        size = 0  # such as a link to nothing: reading it is the error
    return FileEntry(path, size, partial(read_file, file, path))


def read_file(file: str, path: str, limit: int = MAX_BYTES) -> bytes:
    """All bytes of a file of at most `limit`. Raises DataError, calling it `path`, if it cannot be read."""
    shown = brief(path)
    try:
        with open_file(file) as stream:
            data = _at_most(stream, limit, os.fstat(stream.fileno()).st_size)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{shown}: cannot be read ({reason}); mend it or take it out") from error
    if len(data) > limit:
        raise DataError(f"{shown}: expected at most {limit:,} bytes, came more; take it out")
    return data


def _at_most(stream: BinaryIO, limit: int, size: int) -> bytes:
    """The stream's bytes, up to one more than the limit: as many as its size at once, then later ones."""
    parts = [stream.read(min(size, limit) + 1)]
    while parts[-1] and (left := limit + 1 - sum(map(len, parts))) > 0:
        parts.append(stream.read(min(left, _MORE)))
    return b"".join(parts)
