"""Where prepared data go: to memory, to a file that is mapped, or nowhere, to be decoded again when they are needed."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import numpy.typing as npt

from sfumato.disk import existing, replacing
from sfumato.errors import InputError, StorageError
from sfumato.wording import amount, count, printable

_Place = Literal["memory", "map", "source"]
StoreMode = Literal["auto", "memory", "map", "source"]


def conditioning_cache(cache: Path) -> Path:
    """The file of conditioning images beside that of data."""
    return cache.with_name(f"{cache.stem}-conditioning{cache.suffix}")


class Store:
    """Room for up to n data of one shape, which the first one sets; a context that leaves no half file.

    They go to the `place` that `mode` names: to "memory"; to the file `cache` (.npy), from which they are mapped and
    which `finish` leaves whole; or nowhere, where the "source" is to be read again. With "auto" it is the first of
    these that has room: memory, if n of them take at most `memory` bytes; the cache, if there is one and its disk has
    so many free. Writing, rather than filling a map, turns a full disk into an error; a map would end the process.
    """

    def __init__(self, n: int, noun: str, mode: StoreMode, memory: int, cache: str | Path | None) -> None:
        self.place: _Place = "source"
        self.note: str | None = None
        self._n, self._noun, self._mode, self._memory = n, noun, mode, memory
        self._cache = None if cache is None else Path(cache)
        self._count = 0
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._array: npt.NDArray[Any] | None = None
        self._file: BinaryIO | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, stored: npt.NDArray[Any]) -> None:
        """Keeps one datum. What the disk refuses becomes a StorageError at the end of the context."""
        if self._count == 0:
            self._shape, self._dtype = stored.shape, stored.dtype
            self._begin(self._n * stored.nbytes)
        if self._array is not None:
            self._array[self._count] = stored
        elif self._file is not None:
            self._file.write(np.ascontiguousarray(stored).data)
        self._count += 1

    def finish(self, channels: int) -> npt.NDArray[Any] | None:
        """All data added, [n, *shape], of each the first `channels` channels if it has any; None if none were kept."""
        if self._array is not None:
            return np.ascontiguousarray(_cut(self._array[: self._count], channels))
        if self._file is None:
            return None
        # A map that copies on writing: writing to the array does not change the file.
        return _cut(np.load(self._publish(self._file), mmap_mode="c"), channels)

    def _begin(self, needed: int) -> None:
        what = f"{count(self._n, self._noun)} of {'x'.join(map(str, self._shape))} take {amount(needed)}"
        self.place = self._chosen(needed, what)
        if self.place == "memory":
            self._array = np.empty((self._n, *self._shape), dtype=self._dtype)
        elif self.place == "map":
            assert self._cache is not None
            if (free := self._free()) < needed:
                raise StorageError(f"{what}, but only {amount(free)} are free for {self._shown}; make room")
            beside = self._open.enter_context(replacing(self._cache, needed))
            self._file = self._open.enter_context(open(beside, "wb"))
            self._header(self._file, self._n)

    def _chosen(self, needed: int, what: str) -> _Place:
        if self._mode == "memory" or self._mode == "map" or self._mode == "source":
            return self._mode
        if needed <= self._memory:
            return "memory"
        if self._cache is not None and self._free() >= needed:
            return "map"
        disk = "" if self._cache is None else f", and the disk has {amount(self._free())} free"
        why = f"{what}, more than memory may ({amount(self._memory)}){disk}"
        self.note = f"each {self._noun} is decoded whenever it is needed, which takes time: {why}"
        return "source"

    def _publish(self, file: BinaryIO) -> Path:
        assert self._cache is not None
        if self._count < self._n:
            # numpy pads the header so that the first axis may change without moving the data.
            file.seek(0)
            self._header(file, self._count)
        self._open.close()
        return self._cache

    def _header(self, file: BinaryIO, n: int) -> None:
        descr = np.lib.format.dtype_to_descr(self._dtype)
        fields: dict[str, Any] = {"descr": descr, "fortran_order": False, "shape": (n, *self._shape)}
        np.lib.format.write_array_header_1_0(file, fields)

    def _free(self) -> int:
        assert self._cache is not None
        return shutil.disk_usage(existing(self._cache.parent)).free

    @property
    def _shown(self) -> str:
        return printable(str(self._cache))


def check_mode(mode: StoreMode, cache: str | Path | None) -> None:
    """Raises InputError for a mode that is none, and for a map without a file."""
    if mode not in ("auto", "memory", "map", "source"):
        raise InputError(f"store: expected auto, memory, map or source, came {mode!r}")
    if mode == "map" and cache is None:
        raise InputError("store: expected cache, a file to keep the data in, for 'map', came none; give it")


def _cut(data: npt.NDArray[Any], channels: int) -> npt.NDArray[Any]:
    """The first channels of data [n, c, ...]; data without them, [n, length], as they are."""
    return data[:, :channels] if data.ndim > 2 else data
