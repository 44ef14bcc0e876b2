"""Files and folders that appear whole or not at all.

Writing goes beside the target, is flushed to the disk, and is renamed over it: a crash or a full disk leaves what was
there before. What is written beside has a name that no other writer has, and that says which process is at it, so that
the remains of a killed one differ from another writer's and from other people's files.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from sfumato.errors import StorageError

FORGOTTEN = 24 * 3600.0
"""Seconds after which what nobody has written to is nobody's, whatever its process."""
_MARK = re.compile(r"\..*\.sfumato-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{8}\.(?:part|new)", re.DOTALL)

# What systems, file managers and archivers put beside other people's files.
_NOT_CONTENT = {
    *("@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information", "__macosx"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}


class Taken(StorageError):
    """A file that is there, where a new one was to be."""


@contextlib.contextmanager
def replacing(path: Path, size: int | None = None, new: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; it replaces `path` when the block ends well, and is removed when not.

    `size` is how many bytes are to be written, for the message. With `new` it replaces nothing: if `path` is there by
    then, whoever made it, it stays, and the error is `Taken`. Raises `StorageError` for a full disk, a missing
    permission or a missing folder.
    """
    beside = path.with_name(_name(path, "part"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the mode of any new file
        yield beside
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        if new:
            _link(beside, path)
        else:
            os.replace(beside, path)
        _flush_folder(path.parent)
    except StorageError:
        raise
    except OSError as error:
        _remove(beside)  # before the free space is counted
        raise unwritable(path, error, size) from error
    finally:
        _remove(beside)


def _link(beside: Path, path: Path) -> None:
    """Put a file in its place if nothing is there."""
    try:
        try:
            os.link(beside, path)
        except FileExistsError:
            raise
        except OSError:  # a disk without links: the place is taken first
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            os.replace(beside, path)
    except FileExistsError as error:
        raise Taken(f"{path} is there already") from error


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder to write into; it becomes `path`, which is not there yet or is free, when the block ends well, and
    is removed with all that is in it when not.

    A `path` that is there stays the folder that it is, which may be a mount point or lie where nothing else may be
    written: what was written within it is renamed into its place, the files at its top last. Raises `StorageError` as
    `replacing` does.
    """
    path = path.absolute()
    place = path if path.is_dir() else path.parent
    beside = place / _name(path, "new")
    try:
        _clear(place.glob(".*.new"), f".{path.name[:40]}.")
        beside.mkdir(parents=True)
        yield beside
        if place == path:
            for one in sorted(beside.iterdir(), key=Path.is_file):
                os.rename(one, path / one.name)
        else:
            os.replace(beside, path)
        _flush_folder(place)
    except StorageError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or the system's own, as Thumbs.db, @eaDir and lost+found are."""
    return name.startswith(".") or name.casefold() in _NOT_CONTENT


def in_use(folder: Path) -> bool:
    """Whether something is at `folder` that new files should not be put among: a file, or a folder with anything but
    what is `hidden` in it. Raises `StorageError` where that cannot be seen."""
    try:
        return any(not hidden(path.name) for path in folder.iterdir())
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(path: Path, error: OSError, size: int | None = None) -> StorageError:
    """What to say to someone whose file, of `size` bytes if that is known, could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(existing(path.parent)).free
        needed = "" if size is None else f"{size / 1e6:,.1f} MB needed, "
        return StorageError(
            f"no space to write {path}: {needed}{free / 1e6:,.1f} MB free; what was there before is untouched"
        )
    reason = error.strerror or str(error)
    return StorageError(f"cannot write {path}: {reason}; choose a folder that you may write to")


def clear_parts(folder: Path, alone: bool = False) -> None:
    """Remove what killed writers of ours left in `folder`, and nothing else.

    With `alone`, nobody but this process writes there, as a lock says: what other machines and processes
    of this one's number left is then removed as well.
    """
    _clear(folder.glob(".*.part"), alone=alone)


def check_writable(folder: Path) -> None:
    """Raise a `StorageError` if files could not be written to `folder`, which need not exist yet; changes nothing."""
    place = existing(folder)
    if not place.is_dir():
        raise unwritable(folder, NotADirectoryError(errno.ENOTDIR, f"{place} is a file, not a folder"))
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(folder, PermissionError(errno.EACCES, "permission denied"))


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def open_file(path: Path | str) -> BufferedReader:
    """A file, to be read. A pipe or a device, which could be waited for or read for ever, is an `OSError`."""
    file = open(path, "rb", opener=_without_waiting)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "a device or pipe, and not a file", str(path))


def _without_waiting(path: str, flags: int) -> int:
    """Opens also a pipe that nobody writes to at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def host() -> str:
    """A number for this machine, by its name: eight digits."""
    return f"{zlib.crc32(socket.gethostname().encode(errors='surrogateescape')):08x}"


def runs(pid: int) -> bool:
    """Whether a process of that number runs on this machine, as far as can be seen."""
    if sys.platform == "win32":  # where signal 0 is a signal
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


# What is written beside -----------------------------------------------------------------------------------------------


def _name(path: Path, ending: str) -> str:
    """A hidden name of one writer's own, for what is to become `path`."""
    return f".{path.name[:40]}.sfumato-{host()}-{os.getpid()}-{secrets.token_hex(4)}.{ending}"


def _clear(paths: Iterator[Path], start: str = "", alone: bool = False) -> None:
    """Remove those that are left of writers that have died; what cannot be seen or removed stays."""
    with contextlib.suppress(OSError):
        for path in list(paths):
            if path.name.startswith(start) and _left(path, alone):
                _remove(path)


def _left(path: Path, alone: bool) -> bool:
    """Whether a path is what a writer of ours left that has died."""
    if (mark := _MARK.fullmatch(path.name)) is None or path.is_dir() != path.name.endswith(".new"):
        return False
    if mark[1] == host():
        own = int(mark[2]) == os.getpid()
        died = alone if own else not runs(int(mark[2]))
    else:
        died = alone
    with contextlib.suppress(OSError):
        return died or time.time() - path.lstat().st_mtime > FORGOTTEN
    return False


def _remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, that is ours; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
