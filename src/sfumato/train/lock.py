"""One training in a folder: a lock that the system frees when its process ends, however that ends."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sfumato import disk, logs
from sfumato.errors import ResumeError
from sfumato.wording import brief

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_log = logs.EventLogger(__name__)
LOCK_FILE = ".sfumato.lock"
"""Hidden, and a name that nobody else gives: it is removed at the end."""
_TRIES, _PAUSE = 5, 0.05
"""Whoever only looks holds the lock for a moment."""
_MOST_BYTES = 1000
_HELD: set[int] = set()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if need be, for this process alone; folders made for it that stay empty are removed.

    The lock is the system's own (flock), and so is freed by any death; the file says who holds it. On a disk without
    locks that file alone speaks, for processes of this machine, and a warning is logged.

    Raises `ResumeError` if another process, or another thread of this one, holds the folder, and `StorageError` where
    it cannot be written.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _take(folder / LOCK_FILE)
    except OSError as error:
        _remove_empty(missing)
        raise error if isinstance(error, disk.StorageError) else disk.unwritable(folder, error) from error
    except ResumeError:
        _remove_empty(missing)
        raise
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # and not a process that was forked from it
            with suppress(OSError):
                (folder / LOCK_FILE).unlink()  # while it is held: who waits for it finds that it is another's
            _HELD.discard(handle)
            os.close(handle)
            _remove_empty(missing)


def check_free(folder: Path) -> None:
    """Raise a `ResumeError` if `held` would; changes nothing."""
    with suppress(OSError):
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        try:
            _refuse(folder, handle, _lock(handle, shared=True))
        finally:
            os.close(handle)


def _take(path: Path) -> int:
    """The file of the lock, open and locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            tries = _TRIES
            while (locked := _lock(handle)) is False and tries:
                time.sleep(_PAUSE)
                tries -= 1
            _refuse(path.parent, handle, locked)
            if not _is(path, handle):  # its holder removed it since it was opened
                continue
            if locked is None:
                _log.warning(f"the disk of {path.parent} has no locks: see that no other machine trains there")
            _sign(handle)
            _HELD.add(handle)
            return handle
        finally:
            if handle not in _HELD:
                os.close(handle)


def _lock(handle: int, shared: bool = False) -> bool | None:
    """Whether the lock could be had; None where the disk has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _sign(handle: int) -> None:
    """Say who holds the lock; a disk that is too full for it holds it all the same."""
    record = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M")}
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(record).encode())


def _holder(handle: int) -> dict[str, Any]:
    """What the file says of who holds, or held, the lock; {} if that is nothing."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        record = json.loads(os.read(handle, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.keys() == {"host", "pid", "since"} else {}


def _lives(holder: dict[str, Any]) -> bool:
    """Whether a holder is another process of this machine."""
    pid = holder.get("pid")
    return type(pid) is int and pid != os.getpid() and holder["host"] == socket.gethostname() and disk.runs(pid)


def _refuse(folder: Path, handle: int, locked: bool | None) -> None:
    """Raise a `ResumeError` if the lock is another's."""
    holder = _holder(handle)
    if locked is False or (locked is None and _lives(holder)):
        record = {key: brief(str(value)) for key, value in holder.items()}
        who = (
            "process {pid} on {host} trains there since {since}".format(**record)
            if record
            else "a process trains there"
        )
        raise ResumeError(f"{folder} is in use: {who}; wait for its end, or choose another folder with --out")


def _is(path: Path, handle: int) -> bool:
    """Whether the file at `path` is the open one."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _let_go() -> None:
    """A forked process, such as one that reads ahead, must not keep what it shares after its parent has died."""
    for handle in _HELD:
        with suppress(OSError):
            os.close(handle)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
