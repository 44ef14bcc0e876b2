"""`log.jsonl`: one line of JSON for each moment worth keeping."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfumato import files, logs

_log = logs.EventLogger(__name__)


class Log:
    """Appends to a run's log. Lines are whole; those after `step` are dropped when a run goes on from there.

    An error of writing, as on a full disk, is reported once, and ends nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: OSError | None = None

    def write(self, **values: Any) -> None:
        with self._unfailing():
            _append(self.path, (json.dumps(values) + "\n").encode())

    def cut(self, step: int) -> None:
        """Keep only what happened up to `step`."""
        if not self.path.exists():
            return
        with self._unfailing():
            data = self.path.read_bytes()
            kept = b"".join(line + b"\n" for line in data.splitlines() if _step(line) <= step)
            if kept != data:
                files.write_bytes(self.path, kept)

    @contextmanager
    def _unfailing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self.trouble is None:
                _log.warning(f"cannot write {self.path} ({error.strerror or error}); the training goes on without it")
            self.trouble = error


def _append(path: Path, line: bytes) -> None:
    """Add a line to a file, whole or not at all."""
    with open(path, "ab", buffering=0) as file:
        size = file.tell()
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise


def _step(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
