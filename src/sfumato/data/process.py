"""Values that the threads of one process share and no other process does; a cache of the latest reads."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

_V = TypeVar("_V")


class OfProcess(Generic[_V]):
    """A value that every process makes for itself, by `make`: open files and locks that a fork would share, and that
    cannot be sent to a process that is spawned."""

    def __init__(self, make: Callable[[], _V]) -> None:
        self._make = make
        self._made: tuple[int, _V] | None = None

    def __call__(self) -> _V:
        made = self._made
        if made is None or made[0] != os.getpid():
            made = self._made = (os.getpid(), self._make())
        return made[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_made": None}


class Recent(Generic[_V]):
    """The values used last, at most `limit` bytes of them beside the `least` newest; from any thread."""

    def __init__(self, limit: int, least: int = 0) -> None:
        self._limit, self._least = limit, least
        self._held: OrderedDict[Hashable, tuple[_V, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> _V | None:
        """The value kept for `key`, which counts as used; None if there is none."""
        with self._lock:
            if key not in self._held:
                return None
            self._held.move_to_end(key)
            return self._held[key][0]

    def put(self, key: Hashable, value: _V, size: int) -> None:
        """Keeps a value of `size` bytes, and drops those used longest ago that there is no room for."""
        with self._lock:
            if key in self._held:
                self._bytes -= self._held.pop(key)[1]
            self._held[key] = value, size
            self._bytes += size
            while len(self._held) > self._least and self._bytes > self._limit:
                self._bytes -= self._held.popitem(last=False)[1][1]
