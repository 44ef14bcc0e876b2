"""Where prepared pictures go: to memory, or to a file when they are too many for it."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from sfumato.disk import existing, replacing
from sfumato.errors import InputError, StorageError
from sfumato.wording import amount, count, printable

_Pixels = npt.NDArray[np.uint8]


class Store:
    """Room for up to n pictures of one shape [c, h, w], which the first one sets; a context that leaves no half file.

    They stay in memory if n of them take at most `memory` bytes, else they are written to the file `cache` (.npy),
    which `finish` leaves whole. Writing, rather than filling a map, turns a full disk into an error; a map would end
    the process.
    """

    def __init__(self, n: int, memory: int, cache: str | Path | None) -> None:
        self._n = n
        self._memory = memory
        self._cache = None if cache is None else Path(cache)
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._array: _Pixels | None = None
        self._file: BinaryIO | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, pixels: _Pixels) -> None:
        """Keeps one picture, uint8 [c, h, w]. Raises InputError without room for all; what the disk refuses becomes a
        StorageError at the end of the context."""
        if self._count == 0:
            self._shape = pixels.shape
            self._begin(self._n * pixels.size)
        if self._array is not None:
            self._array[self._count] = pixels
        else:
            self._write(pixels)
        self._count += 1

    def finish(self, channels: int) -> _Pixels:
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
        free = shutil.disk_usage(existing(self._cache.parent)).free
        if free < needed:
            raise StorageError(f"{what}, but only {amount(free)} are free for {self._shown}; make room")
        beside = self._open.enter_context(replacing(self._cache, needed))
        self._file = self._open.enter_context(open(beside, "wb"))
        self._header(self._n)

    def _write(self, pixels: _Pixels) -> None:
        assert self._file is not None
        self._file.write(np.ascontiguousarray(pixels).data)

    def _publish(self) -> Path:
        assert self._file is not None and self._cache is not None
        if self._count < self._n:
            # numpy pads the header so that the first axis may change without moving the data.
            self._file.seek(0)
            self._header(self._count)
        self._open.close()
        return self._cache

    def _header(self, n: int) -> None:
        assert self._file is not None
        fields: dict[str, Any] = {"descr": "|u1", "fortran_order": False, "shape": (n, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, fields)

    @property
    def _shown(self) -> str:
        return printable(str(self._cache))
