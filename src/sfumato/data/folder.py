"""Pictures in a folder."""

import os
import stat
from functools import partial
from pathlib import Path

from sfumato.data.table import Table
from sfumato.data.tree import MAX_BYTES, Entry, from_tree
from sfumato.errors import DataError
from sfumato.wording import count, few, printable


def open_folder(root: str | Path) -> Table:
    """The pictures below `root`, links followed; `from_tree` says how classes and captions are found.

    A folder that links reach twice is read once, so a loop of links ends. Raises DataError if there is no picture.
    """
    entries: list[Entry] = []
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
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        prefix = "" if below == "." else below + "/"
        entries.extend(_entry(os.path.join(here, file), prefix + file) for file in files)
    notes: list[str] = []
    if closed:
        notes.append(f"{count(len(closed), 'folder')} that may not be read: {few(closed)}")
    if twice:
        notes.append(f"{count(len(twice), 'folder')} reached again by links, read once: {few(sorted(twice))}")
    return from_tree(entries, str(root), notes)


def _entry(file: str, path: str) -> Entry:
    try:
        size = os.stat(file).st_size
    except OSError:
        size = 0  # such as a link to nothing: reading it will say so
    return Entry(path, size, partial(read_file, file, path))


def read_file(file: str, path: str) -> bytes:
    """All bytes of a file of at most `MAX_BYTES`. Raises DataError, calling it `path`, if it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe would wait for ever
            raise DataError(f"{printable(path)}: expected a file, came a device or pipe; take it out")
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be read ({error.strerror}); mend it or take it out") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{printable(path)}: expected at most {MAX_BYTES:,} bytes, came more; take it out")
    return data
