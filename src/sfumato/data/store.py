"""Where prepared pictures go: to memory, or to a file when they are too many for it."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from sfumato.errors import InputError, StorageError
from sfumato.wording import amount, count, printable

Pixels = npt.NDArray[np.uint8]


class Store:
    """Room for up to n pictures of one shape [c, h, w], which the first one sets; a context that leaves no half file.

    They stay in memory if n of them take at most `memory` bytes, else they are written to the file `cache` (.npy):
    beside it first, and renamed by `finish`. Writing, rather than filling a map, turns a full disk into an error; a
    map would end the process.
    """

    def __init__(self, n: int, memory: int, cache: str | Path | None) -> None:
        self._n = n
        self._memory = memory
        self._cache = None if cache is None else Path(cache)
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._array: Pixels | None = None
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._file.name).unlink(missing_ok=True)

    def add(self, pixels: Pixels) -> None:
        """Keeps one picture, uint8 [c, h, w]. Raises InputError without room for all, StorageError on a bad disk."""
        if self._count == 0:
            self._shape = pixels.shape
            self._begin(self._n * pixels.size)
        if self._array is not None:
            self._array[self._count] = pixels
        else:
            self._write(pixels)
        self._count += 1

    def finish(self, channels: int) -> Pixels:
        """All pictures added, [n, c, h, w], of each the first `channels` channels."""
        if self._array is not None:
            return np.ascontiguousarray(self._array[: self._count, :channels])
        # A map that copies on writing: the file stays as it is whatever is done to the array.
        return np.load(self._publish(), mmap_mode="c")[:, :channels]

    def _begin(self, needed: int) -> None:
        if needed <= self._memory:
            self._array = np.empty((self._n, *self._shape), dtype=np.uint8)
            return
        what = f"{count(self._n, 'picture')} of {'x'.join(map(str, self._shape))} take {amount(needed)}"
        if self._cache is None:
            room = f"expected pixels within memory, {amount(self._memory)}"
            raise InputError(f"{room}, came more: {what}; give cache, a file to keep them in, or raise memory")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._cache.parent).free
            if free < needed:
                raise StorageError(f"{what}, but only {amount(free)} are free for {self._shown}; make room")
            # Not a context: it stays open from picture to picture, until `finish` or the store's own exit.
            self._file = open(self._cache.with_name(f".{self._cache.name}.{os.getpid()}.part"), "wb")
            self._header(self._n)
        except StorageError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def _write(self, pixels: Pixels) -> None:
        assert self._file is not None
        try:
            self._file.write(np.ascontiguousarray(pixels).data)
        except OSError as error:
            raise self._failed(error) from error

    def _publish(self) -> Path:
        assert self._file is not None and self._cache is not None
        try:
            if self._count < self._n:
                # numpy pads the header so that the first axis may change without moving the data.
                self._file.seek(0)
                self._header(self._count)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._file.name, self._cache)
        except OSError as error:
            raise self._failed(error) from error
        self._file = None
        return self._cache

    def _header(self, n: int) -> None:
        assert self._file is not None
        fields: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (n, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, fields)

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"{self._shown}: cannot be written ({error.strerror}); free space or name another cache")

    @property
    def _shown(self) -> str:
        return printable(str(self._cache))
